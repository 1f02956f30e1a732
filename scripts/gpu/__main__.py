"""Time every model of a codec on this machine's GPU, with every runtime, and compare FP16 with FP32.

The runtimes are PyTorch, ONNX Runtime on CUDA, TensorRT and TensorRT-RTX; a line is printed for each that is
not installed. Models are timed at the usual shape of each profile of their engine, streaming steps with 1 to
1,024 streams. Times are medians of CUDA events after a warm-up. No network is needed: codecs whose weights
are not in the repository get random ones, which take as long.

Results: a table and reports/gpu.json.

Examples:
  .venv/bin/python -m scripts.gpu
  .venv/bin/python -m scripts.gpu --codec nanocodec mimi --only vocoder decode_stream
  .venv/bin/python -m scripts.gpu --device cpu --codec nanocodec_mini --most 8    # rehearse without a GPU
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

from scripts.common.cli import add_codec_option, argument_parser
from scripts.common.prepare import MEASURED, PrepareError, default_checkpoint
from scripts.gpu.models import engines_of, graphs_of
from scripts.gpu.runtimes import MissingRuntimeError, OnnxRuntime, Runtime, TensorRt, Torch
from tritone_build.checkpoints.checkpoint import open_checkpoint
from tritone_build.codecs import load_codec
from tritone_build.codecs.base import Codec
from tritone_build.engines.engine import engine_roles
from tritone_build.engines.profiles import profiles_of, shapes_of
from tritone_build.graphs.padded_channels import with_padded_channels
from tritone_build.graphs.role import Role
from tritone_build.graphs.roles import engine_role, roles
from tritone_build.repository.configs import model_name
from tritone_runtime.fidelity import differing_share, snr_db

_BATCHES = (1, 8, 64, 256, 1024)
_WARM_UPS = 5
_REPORT = Path("reports/gpu.json")
_ENGINES = ("tensorrt", "tensorrt_rtx")
_USUAL = ("nanocodec", "nanocodec_mini", "mimi")


@dataclass(frozen=True)
class Timing:
    """A model timed with one runtime.

    ``fidelity`` is the SNR against FP32 in dB, or the share of equal tokens in the first codebook.
    """

    model: str
    runtime: str
    batch: int
    frames: int
    ms: float
    fidelity: float


def main() -> int:
    """Entry point; returns 1 with the reason when there is no GPU or the models cannot be built."""
    options, console = _options(), Console()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("gpu: PyTorch finds no CUDA GPU; --device cpu rehearses without one", file=sys.stderr)
        return 1
    torch.set_default_device(options.device)
    timings: list[Timing] = []
    try:
        for name in options.codec:
            timings += _codec_timings(name, options, console)
    except PrepareError as error:
        print(f"gpu: {error}", file=sys.stderr)
        return 1
    _report(timings, options, console)
    return 0


def _options() -> argparse.Namespace:
    parser = argument_parser("scripts.gpu", __doc__)
    add_codec_option(parser, MEASURED, _USUAL)
    parser.add_argument(
        "--only", nargs="+", metavar="ROLE", help="models, for example vocoder decode_stream (default: all)"
    )
    parser.add_argument("--runs", type=int, default=30, help="timed runs at each shape (%(default)s)")
    parser.add_argument(
        "--most",
        type=int,
        default=_BATCHES[-1],
        help="leave out shapes with more frames than this, summed over the batch (%(default)s)",
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default: %(default)s")
    options = parser.parse_args()
    options.codec = options.codec or _USUAL
    return options


def _codec_timings(name: str, options: argparse.Namespace, console: Console) -> list[Timing]:
    checkpoint = default_checkpoint(name)
    with torch.device("cpu"):
        codec = load_codec(open_checkpoint(checkpoint), name)
        graphs, compiled = graphs_of(codec), engine_roles(roles(codec, "tensorrt"))
    parts = [role for role in compiled if options.only is None or role.name in options.only]
    timings = []
    for role in parts:
        exact = engine_role(with_padded_channels(codec), role.name)  # takes the same state
        runtimes: dict[str, Callable[[], Runtime]] = {
            "torch_fp32": partial(Torch, exact, options.device),
            "torch_fp16": partial(Torch, role, options.device),
            "onnxruntime": partial(OnnxRuntime, graphs / model_name(name, role.name) / "1", options.device),
        }
        if options.device == "cuda":
            runtimes |= {library: partial(_engine, codec, checkpoint, role, library) for library in _ENGINES}
        timings += _role_timings(codec, role, runtimes, options, console)
    return timings


def _engine(codec: Codec, checkpoint: str, role: Role, library: str) -> TensorRt:
    try:
        engines = engines_of(codec, checkpoint, library)
        return TensorRt(engines / model_name(codec.name, role.name) / "1", library)
    except PrepareError as error:
        raise MissingRuntimeError(str(error)) from error


def _role_timings(
    codec: Codec,
    role: Role,
    runtimes: Mapping[str, Callable[[], Runtime]],
    options: argparse.Namespace,
    console: Console,
) -> list[Timing]:
    model, shapes = model_name(codec.name, role.name), list(_shapes(codec, role))
    shapes = [shape for shape in shapes if shape.batch * shape.frames <= options.most]
    exact, timings = runtimes["torch_fp32"](), []
    for name, load in runtimes.items():
        with console.status(f"{model} on {name}"):
            try:
                runtime = load()
                timings += [_timing(model, name, runtime, exact, shape, options) for shape in shapes]
            except (MissingRuntimeError, RuntimeError, ValueError) as error:
                console.print(f"[yellow]{model} on {name}: left out[/]; {str(error).splitlines()[0]}")
    return timings


@dataclass(frozen=True)
class _Shape:
    """An input shape; a batch larger than the engine takes is run in ``repeats`` parts."""

    batch: int
    frames: int
    repeats: int
    inputs: dict[str, Tensor]


def _shapes(codec: Codec, role: Role) -> Iterator[_Shape]:
    profiles = profiles_of(role, codec.geometry)
    if role.packing is None:
        for profile in profiles:
            shapes = shapes_of(role, codec.geometry, profile)
            usual = {name: of[1] for name, of in shapes.items()}
            yield _Shape(profile.batch.usual, profile.frames.usual, 1, _noise(codec, role, usual))
        return
    shapes, largest = shapes_of(role, codec.geometry, profiles[0]), profiles[0].batch.most
    for batch in _BATCHES:
        rows = {name: (min(batch, largest), *of[1][1:]) for name, of in shapes.items()}
        yield _Shape(batch, 1, -(-batch // largest), _noise(codec, role, rows))


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


def _timing(
    model: str, name: str, runtime: Runtime, exact: Runtime, shape: _Shape, options: argparse.Namespace
) -> Timing:
    fp32 = {key: t.float() if t.dtype == torch.float16 else t for key, t in shape.inputs.items()}
    inputs = fp32 if name == "torch_fp32" else shape.inputs
    theirs, ours = (next(iter(run(data).values())) for run, data in ((exact, fp32), (runtime, inputs)))
    fidelity = _fidelity(theirs, ours)
    for _ in range(_WARM_UPS):
        runtime(inputs)
    taken = [_milliseconds(lambda: runtime(inputs), options.device) for _ in range(options.runs)]
    return Timing(model, name, shape.batch, shape.frames, shape.repeats * statistics.median(taken), fidelity)


def _fidelity(theirs: Tensor, ours: Tensor) -> float:
    if theirs.dtype == torch.int64:
        return 1 - differing_share(theirs[:, 0].cpu().numpy(), ours[:, 0].cpu().numpy())
    return snr_db(theirs.cpu().numpy(), ours.float().cpu().numpy())


def _milliseconds(run: Callable[[], object], device: str) -> float:
    if device == "cpu":
        started = time.perf_counter()
        run()
        return 1000 * (time.perf_counter() - started)
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
