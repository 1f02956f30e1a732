"""The commands ``tritone-build engines``, ``configs`` and ``check``, for NVIDIA's Triton container."""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from tritone_build.codecs import VARIANTS, outline_of, variant
from tritone_build.codecs.base import Codec
from tritone_build.engines.capacity import USUAL, Capacity
from tritone_build.engines.compiler import Compiler, find_compiler
from tritone_build.engines.engine import (
    DEFAULT_MEMORY_GB,
    Engine,
    build_engine,
    engine_roles,
    is_built,
    trtexec_of,
)
from tritone_build.engines.verification import LEAST_DB
from tritone_build.graphs.precision import unfit_weights, zeros_text
from tritone_build.graphs.role import Role
from tritone_build.graphs.roles import roles
from tritone_build.options import add_checkpoint, chosen_codec
from tritone_build.repository.configs import model_name
from tritone_build.repository.engine_configs import describe, engine_configs
from tritone_build.repository.writing import is_current, write_configs, write_repository
from tritone_runtime.errors import EngineMisfitError
from tritone_runtime.fit import check_fit, engines_among, machine_here
from tritone_runtime.gpu import Capability, Gpu
from tritone_runtime.manifests import MANIFEST, read_manifest
from tritone_runtime.state_pool import pool_option, state_pool_bytes

__all__ = ["add_commands"]

_REPOSITORY, _BACKENDS = Path("artifacts/engine_repository"), Path("/opt/tritonserver/backends")


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the three commands to the command line."""
    _add_engines(commands)
    configs = commands.add_parser(
        "configs", help="write the server's configs of published codecs, without weights"
    )
    configs.set_defaults(run=_configs)
    configs.add_argument("codec", nargs="*", help="default: all published codecs")
    configs.add_argument("--repository", type=Path, default=_REPOSITORY, help="%(default)s")
    _add_capacity(configs)
    _add_check(commands)


def _add_engines(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    engines = commands.add_parser("engines", help="compile a codec's models with TensorRT, in FP16")
    engines.set_defaults(run=_engines)
    add_checkpoint(engines)
    engines.add_argument("--repository", type=Path, default=_REPOSITORY, help="%(default)s")
    engines.add_argument(
        "--compiler",
        choices=("auto", "tensorrt", "tensorrt_rtx"),
        default="auto",
        help="tensorrt builds for the GPU of this machine, tensorrt_rtx needs no GPU (%(default)s)",
    )
    engines.add_argument(
        "--capability",
        type=_capability,
        action="append",
        default=[],
        metavar="8.9",
        help="compute capability to build for, repeatable; tensorrt_rtx only (default: all supported)",
    )
    engines.add_argument(
        "--memory-gb",
        type=float,
        default=DEFAULT_MEMORY_GB,
        help="limit of TensorRT's workspace (%(default)s)",
    )
    engines.add_argument(
        "--least-db",
        type=float,
        default=LEAST_DB,
        metavar="DB",
        help="refuse an engine whose audio in FP16 has less SNR against FP32, on speech (%(default)s)",
    )
    engines.add_argument(
        "--only", nargs="+", metavar="role", help="build only these engines, such as vocoder"
    )
    engines.add_argument(
        "--dry-run", action="store_true", help="print the trtexec commands of what would be built"
    )
    _add_capacity(engines)


def _add_capacity(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--max-streams",
        type=_count,
        help="most live streams of each model (default: as many as half of the GPU's memory holds, up to "
        "1024)",
    )
    command.add_argument(
        "--gpu-memory",
        type=_gigabytes,
        metavar="GB",
        help="memory of the GPU that will serve (default for engines: that of this GPU; otherwise 24)",
    )
    command.add_argument(
        "--cuda-graphs", action="store_true", help="let the server replay CUDA graphs (default: off)"
    )


def _add_check(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    check = commands.add_parser("check", help="check that the engines fit this server and its GPU")
    check.set_defaults(run=_check)
    check.add_argument("codec", nargs="*", help="default: all in the repository")
    check.add_argument("--repository", type=Path, default=_REPOSITORY, help="%(default)s")
    check.add_argument(
        "--flags",
        action="store_true",
        help="print only the options that the server needs for these engines, for a script",
    )
    check.add_argument(
        "--backends", type=Path, default=_BACKENDS, help="the server's folder of backends (%(default)s)"
    )


def _capability(text: str) -> Capability:
    found = re.fullmatch(r"(\d+)\.(\d)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a compute capability, such as 8.9")
    return int(found[1]), int(found[2])


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of streams, 1 or more")
    return int(text)


def _gigabytes(text: str) -> int:
    """Bytes of a size in GB, each 2**30 bytes, as cards are sold."""
    try:
        size = round(float(text) * 2**30)
    except (ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size in GB, such as 24")
    return size


def _capacity(options: argparse.Namespace, gpu: Gpu | None = None) -> Capacity:
    memory = options.gpu_memory or (gpu.memory_bytes if gpu else USUAL.memory_bytes)
    return Capacity(memory, options.max_streams)


def _configs(options: argparse.Namespace) -> None:
    for name in options.codec or VARIANTS:
        with torch.device("meta"):
            codec = outline_of(variant(name))
            _write_configs(codec, roles(codec, "tensorrt"), options, _capacity(options))


def _write_configs(
    codec: Codec, parts: Sequence[Role], options: argparse.Namespace, capacity: Capacity
) -> None:
    configs = engine_configs(codec, parts, capacity)
    for config in configs.values():
        if config.HasField("optimization"):
            config.optimization.cuda.graphs = options.cuda_graphs
    write_configs(configs, options.repository)
    describe(configs, options.repository)


def _check(options: argparse.Namespace) -> None:
    named = tuple(f"{codec}_" for codec in options.codec) or ("",)
    models = sorted(path.parent.name for path in options.repository.glob("*/config.pbtxt"))
    engines = engines_among(options.repository, [model for model in models if model.startswith(named)])
    if not engines:
        raise EngineMisfitError(
            f"no engines in {options.repository}; compile them with 'tritone-build engines'"
        )
    check_fit(options.repository, engines, machine_here(options.backends))
    pool = state_pool_bytes(options.repository, engines)
    if options.flags:
        print(" ".join(f"--{name}={value}" for name, value in pool_option(pool).items()))
        return
    print(f"{len(engines)} engines fit this machine: {', '.join(engines)}")
    for engine in engines:
        print(f"  {engine}: {_fidelity_text(read_manifest(options.repository / engine / '1')['engine'])}")
    if pool:
        print(f"the state of their streams takes {pool / 1e9:.1f} GB of its memory")


def _fidelity_text(engine: Mapping[str, Any]) -> str:
    found = engine.get("fidelity", {})
    if "snr_db" in found:
        return f"FP16 is {found['snr_db']:g} dB from FP32 on speech"
    if "equal_tokens" in found:
        return f"{found['equal_tokens']:.1%} of its first tokens are those of FP32 on speech"
    return "not compared with FP32"


def _engines(options: argparse.Namespace) -> None:
    console = Console(stderr=True)
    codec = chosen_codec(options)
    models = roles(codec, "tensorrt")
    parts = [role for role in engine_roles(models) if _wanted(role, options.only)]
    if options.dry_run:
        for role in parts:
            print(trtexec_of(codec, role, options.repository, options.memory_gb, _capacity(options)))
        return
    compiler = find_compiler(options.compiler, options.capability)
    capacity = _capacity(options, compiler.gpu)
    capacity.streams(codec.name, models)
    if options.force or not is_current(options.repository, codec, "tensorrt"):
        write_repository(
            codec, options.repository, lambda name: console.print(f"exporting {name} ..."), "tensorrt"
        )
    _write_configs(codec, models, options, capacity)
    console.print(f"{compiler.name} {compiler.version}, {_targets_text(compiler)}")
    built = [
        engine for role in parts if (engine := _built(codec, role, compiler, capacity, options, console))
    ]
    if built:
        console.print(_table(built))


def _wanted(role: Role, only: list[str] | None) -> bool:
    return only is None or role.name in only


def _targets_text(compiler: Compiler) -> str:
    targets = ", ".join(f"{major}.{minor}" for major, minor in compiler.capabilities)
    return f"for compute capability {targets}" if targets else "for every supported GPU"


def _built(
    codec: Codec,
    role: Role,
    compiler: Compiler,
    capacity: Capacity,
    options: argparse.Namespace,
    console: Console,
) -> Engine | None:
    model = model_name(codec.name, role.name)
    if not options.force and is_built(codec, role, options.repository, compiler, capacity):
        console.print(f"{model}: up to date")
        return None
    if zeros := zeros_text(unfit_weights(codec, role.name)):
        console.print(f"[yellow]{model}:[/] {zeros}; its {MANIFEST} lists the weights", soft_wrap=True)
    with console.status(f"compiling {model}"):
        engine = build_engine(
            codec, role, options.repository, compiler, options.memory_gb, capacity, options.least_db
        )
    console.print(f"{model}: {engine.seconds:.1f} s")
    return engine


def _table(engines: list[Engine]) -> Table:
    table = Table("engine", "profiles: frames x batch", "seconds", "MB", "weights in FP16")
    for engine in engines:
        profiles = "; ".join(
            f"{p.frames.least}-{p.frames.most} x {p.batch.least}-{p.batch.most}" for p in engine.profiles
        )
        table.add_row(
            engine.model,
            profiles,
            f"{engine.seconds:.1f}",
            f"{engine.size_bytes / 1e6:.1f}",
            f"{engine.inspection.fp16_share:.0%}",
        )
    return table
