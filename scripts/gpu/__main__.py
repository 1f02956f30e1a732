"""Time every model of a codec on this machine's GPU with all that can run it, and hold FP16 against FP32.

Needs no network: codecs whose weights do not come along get random ones, which take as long. TensorRT,
TensorRT-RTX, ONNX Runtime on CUDA and PyTorch are each used where they are; what is missing is said and left
out. Models are timed at the usual shape of each profile of their engine, steps of streams with 1 to 1,024
streams, as medians of CUDA's own events after a warm-up.

Examples:
  .venv/bin/python -m scripts.gpu
  .venv/bin/python -m scripts.gpu --codec nanocodec mimi --only vocoder decode_stream
  .venv/bin/python -m scripts.gpu --device cpu --codec nanocodec_mini --most 8    # without a GPU
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from scripts.common.prepare import MEASURED, PrepareError, default_checkpoint
from scripts.gpu.models import engines_of, graphs_of
from scripts.gpu.runtimes import MissingRuntimeError, OnnxRuntime, Runtime, TensorRt, Torch
from tritone_build.checkpoints.checkpoint import open_checkpoint
from tritone_build.codecs import load_codec
from tritone_build.codecs.base import Codec
from tritone_build.engines.engine import engine_roles
from tritone_build.engines.profiles import profiles_of, shapes_of
from tritone_build.graphs.role import Role
from tritone_build.graphs.roles import engine_role, roles
from tritone_build.repository.configs import model_name
from tritone_runtime.fidelity import differing_share, snr_db

_BATCHES = (1, 8, 64, 256, 1024)
_WARM_UPS = 5
_REPORT = Path("reports/gpu.json")
_ENGINES = ("tensorrt", "tensorrt_rtx")


@dataclass(frozen=True)
class Timing:
    """``fidelity`` is dB of sound, or the share of equal tokens in the first codebook, against FP32."""

    model: str
    runtime: str
    batch: int
    frames: int
    ms: float
    fidelity: float


def main() -> int:
    """Entry point; 1 with the reason when there is no such device."""
    options, console = _options(), Console()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("gpu_bench: PyTorch finds no CUDA GPU; --device cpu rehearses without one", file=sys.stderr)
        return 1
    torch.set_default_device(options.device)
    timings: list[Timing] = []
    try:
        for name in options.codec:
            timings += _codec_timings(name, options, console)
    except PrepareError as error:
        print(f"gpu_bench: {error}", file=sys.stderr)
        return 1
    _report(timings, options, console)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    few = ["nanocodec", "nanocodec_mini", "mimi"]
    parser.add_argument("--codec", choices=list(MEASURED), nargs="+", default=few, help="%(default)s")
    parser.add_argument("--only", nargs="+", metavar="role", help="say vocoder decode_stream (default: all)")
    parser.add_argument("--runs", type=int, default=30, help="timed ones at each point (%(default)s)")
    parser.add_argument(
        "--most", type=int, default=_BATCHES[-1], help="frames in a batch, all rows together (%(default)s)"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="%(default)s")
    return parser.parse_args()


def _codec_timings(name: str, options: argparse.Namespace, console: Console) -> list[Timing]:
    checkpoint = default_checkpoint(name)
    with torch.device("cpu"):
        codec = load_codec(open_checkpoint(checkpoint), name)
        graphs, made = graphs_of(codec), engine_roles(roles(codec, "tensorrt"))
    parts = [role for role in made if options.only is None or role.name in options.only]
    found = []
    for role in parts:
        exact = engine_role(codec, role.name)
        ways: dict[str, Callable[[], Runtime]] = {
            "torch_fp32": partial(Torch, exact, options.device),
            "torch_fp16": partial(Torch, role, options.device),
            "onnxruntime": partial(OnnxRuntime, graphs / model_name(name, role.name) / "1", options.device),
        }
        if options.device == "cuda":
            ways |= {library: partial(_engine, codec, checkpoint, role, library) for library in _ENGINES}
        found += _role_timings(codec, role, ways, options, console)
    return found


def _engine(codec: Codec, checkpoint: str, role: Role, library: str) -> TensorRt:
    try:
        engines = engines_of(codec, checkpoint, library)
        return TensorRt(engines / model_name(codec.name, role.name) / "1", library)
    except PrepareError as error:
        raise MissingRuntimeError(str(error)) from error


def _role_timings(
    codec: Codec,
    role: Role,
    ways: Mapping[str, Callable[[], Runtime]],
    options: argparse.Namespace,
    console: Console,
) -> list[Timing]:
    model, points = model_name(codec.name, role.name), list(_points(codec, role))
    points = [point for point in points if point.batch * point.frames <= options.most]
    exact, found = ways["torch_fp32"](), []
    for name, way in ways.items():
        with console.status(f"{model} on {name}"):
            try:
                runtime = way()
                found += [_timed(model, name, runtime, exact, point, options) for point in points]
            except (MissingRuntimeError, RuntimeError, ValueError) as error:
                console.print(f"[yellow]{model} on {name}: left out[/]; {str(error).splitlines()[0]}")
    return found


@dataclass(frozen=True)
class _Point:
    """``repeats`` runs stand for a batch that an engine takes in several."""

    batch: int
    frames: int
    repeats: int
    given: dict[str, Tensor]


def _points(codec: Codec, role: Role) -> Iterator[_Point]:
    profiles = profiles_of(role, codec.geometry)
    if role.packing is None:
        for profile in profiles:
            shapes = shapes_of(role, codec.geometry, profile)
            usual = {name: of[1] for name, of in shapes.items()}
            yield _Point(profile.batch.usual, profile.frames.usual, 1, _noise(codec, role, usual))
        return
    shapes, largest = shapes_of(role, codec.geometry, profiles[0]), profiles[0].batch.most
    for batch in _BATCHES:
        rows = {name: (min(batch, largest), *of[1][1:]) for name, of in shapes.items()}
        yield _Point(batch, 1, -(-batch // largest), _noise(codec, role, rows))


def _noise(codec: Codec, role: Role, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    torch.manual_seed(0)
    given: dict[str, Tensor] = {}
    for (name, shape), example in zip(shapes.items(), role.example, strict=True):
        if name.startswith("past_"):
            given[name] = torch.zeros(shape, dtype=example.dtype)
        elif name.endswith("_len"):
            given[name] = torch.full(shape, next(iter(given.values())).shape[-1])
        elif name == "tokens":
            given[name] = torch.randint(codec.geometry.codebook_size, shape)
        else:
            given[name] = (0.1 if name == "audio" else 1.0) * torch.randn(shape)
    return given


def _timed(
    model: str, name: str, runtime: Runtime, exact: Runtime, point: _Point, options: argparse.Namespace
) -> Timing:
    wide = {key: t.float() if t.dtype == torch.float16 else t for key, t in point.given.items()}
    given = wide if name == "torch_fp32" else point.given
    theirs, ours = (next(iter(run(data).values())) for run, data in ((exact, wide), (runtime, given)))
    fidelity = _fidelity(theirs, ours)
    for _ in range(_WARM_UPS):
        runtime(given)
    taken = [_milliseconds(lambda: runtime(given), options.device) for _ in range(options.runs)]
    return Timing(model, name, point.batch, point.frames, point.repeats * statistics.median(taken), fidelity)


def _fidelity(theirs: Tensor, ours: Tensor) -> float:
    if theirs.dtype == torch.int64:
        return 1 - differing_share(theirs[:, 0].cpu().numpy(), ours[:, 0].cpu().numpy())
    return snr_db(theirs.cpu().numpy(), ours.float().cpu().numpy())


def _milliseconds(run: Callable[[], object], device: str) -> float:
    if device == "cpu":
        begun = time.perf_counter()
        run()
        return 1000 * (time.perf_counter() - begun)
    begin, end = torch.Event("cuda", enable_timing=True), torch.Event("cuda", enable_timing=True)
    begin.record()
    run()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))


def _report(timings: list[Timing], options: argparse.Namespace, console: Console) -> None:
    device = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or "CPU"
    table = Table("model", "runtime", "batch", "frames", "ms", "against FP32", title=device)
    for each in timings:
        ratio = f"{each.fidelity:.1%}" if "_encode" in each.model else f"{each.fidelity:.1f} dB"
        table.add_row(each.model, each.runtime, str(each.batch), str(each.frames), f"{each.ms:.3f}", ratio)
    (console if console.is_terminal else Console(width=120)).print(table)
    rows = [asdict(replace(each, fidelity=min(each.fidelity, 999.0))) for each in timings]
    _REPORT.parent.mkdir(exist_ok=True)
    _REPORT.write_text(
        json.dumps({"device": device, "torch": torch.__version__, "rows": rows}, indent=2) + "\n"
    )
    console.print(f"written to {_REPORT}")


if __name__ == "__main__":
    sys.exit(main())
