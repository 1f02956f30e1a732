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
from tritone_build.engines.capacity import Capacity
from tritone_build.engines.compiler import Compiler, find_compiler
from tritone_build.engines.engine import (
    DEFAULT_MEMORY_GB,
    Engine,
    build_engine,
    engine_roles,
    is_built,
    trtexec_of,
)
from tritone_build.engines.slot_engines import build_slot_engines
from tritone_build.errors import EngineError
from tritone_build.graphs.precision import unfit_weights, zeros_text
from tritone_build.graphs.role import Role
from tritone_build.graphs.roles import roles
from tritone_build.options import (
    CUDA_REPOSITORY,
    add_capacity,
    add_checkpoint,
    add_least_db,
    capacity_of,
    chosen_codec,
)
from tritone_build.repository.configs import model_name
from tritone_build.repository.engine_configs import engine_configs
from tritone_build.repository.writing import is_current, rewrite_configs, write_repository
from tritone_runtime.errors import EngineMisfitError
from tritone_runtime.fit import check_device, check_fit, engines_among, machine_here
from tritone_runtime.gpu import Capability
from tritone_runtime.manifests import MANIFEST, PROGRAM_FILE, read_manifest
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
    engines.add_argument(
        "--target",
        choices=("tensorrt", "cuda"),
        default="tensorrt",
        help="tensorrt: for NVIDIA's Triton backend; cuda: steps of live streams for ours, beside what "
        "'models --target cuda' built (%(default)s)",
    )
    engines.add_argument(
        "--repository", type=Path, help=f"default: {_REPOSITORY}; for cuda {CUDA_REPOSITORY}"
    )
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
    add_least_db(engines)
    engines.add_argument(
        "--only", nargs="+", metavar="role", help="build only these engines, such as vocoder"
    )
    engines.add_argument(
        "--dry-run", action="store_true", help="print the trtexec commands of what would be built"
    )
    _add_capacity(engines)


def _add_capacity(command: argparse.ArgumentParser) -> None:
    add_capacity(command)
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


def _configs(options: argparse.Namespace) -> None:
    for name in options.codec or VARIANTS:
        with torch.device("meta"):
            codec = outline_of(variant(name))
            _write_configs(codec, roles(codec, "tensorrt"), options, capacity_of(options))


def _write_configs(
    codec: Codec, parts: Sequence[Role], options: argparse.Namespace, capacity: Capacity
) -> None:
    configs = engine_configs(codec, parts, capacity)
    for config in configs.values():
        if config.HasField("optimization"):
            config.optimization.cuda.graphs = options.cuda_graphs
    rewrite_configs(configs, options.repository)


def _check(options: argparse.Namespace) -> None:
    named = tuple(f"{codec}_" for codec in options.codec) or ("",)
    models = sorted(path.parent.name for path in options.repository.glob("*/config.pbtxt"))
    engines = engines_among(options.repository, [model for model in models if model.startswith(named)])
    programs = [model for model in models if model.startswith(named) and _is_program(options, model)]
    if programs:
        _check_programs(options, programs)
        return
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


def _is_program(options: argparse.Namespace, model: str) -> bool:
    path: Path = options.repository / model / "1" / PROGRAM_FILE
    return path.exists()


def _check_programs(options: argparse.Namespace, programs: Sequence[str]) -> None:
    """Check what ``models --target cuda`` built; the server needs no options for it."""
    check_device(options.repository, programs, "cuda")
    if options.flags:
        return
    print(f"{len(programs)} programs for this machine's GPU: {', '.join(programs)}")
    for program in programs:
        print(f"  {program}: {_fidelity_text(read_manifest(options.repository / program / '1'))}")


def _fidelity_text(engine: Mapping[str, Any]) -> str:
    found = engine.get("fidelity", {})
    words = {
        "snr_db": "FP16 is {:.1f} dB from FP32 on speech",
        "equal_tokens": "in FP16 {:.1%} of its first tokens are those of FP32 on speech",
        "engine_snr_db": "the engine {:.1f} dB at its worst shape",
        "engine_equal_tokens": "the engine {:.1%} at its worst shape",
    }
    told = [text.format(found[figure]) for figure, text in words.items() if figure in found]
    return ", ".join(told) or "not compared with FP32"


def _slot_engines(options: argparse.Namespace) -> None:
    console = Console(stderr=True)
    codec = chosen_codec(options)
    if not is_current(options.repository, codec, "cuda", "fp16"):
        raise EngineError(
            f"{codec.name} in {options.repository} is missing, out of date or not in FP16; build it with "
            f"'tritone-build models {codec.name} --target cuda'"
        )
    compiler = find_compiler(options.compiler, options.capability)
    capacity = capacity_of(options, compiler.gpu)
    limits = (options.memory_gb, options.least_db)
    built = list(build_slot_engines(codec, options.repository, compiler, capacity, console.print, *limits))
    if built:
        console.print(_table(built))


def _engines(options: argparse.Namespace) -> None:
    options.repository = options.repository or (CUDA_REPOSITORY if options.target == "cuda" else _REPOSITORY)
    if options.target == "cuda":
        _slot_engines(options)
        return
    console = Console(stderr=True)
    codec = chosen_codec(options)
    models = roles(codec, "tensorrt")
    parts = [role for role in engine_roles(models) if _wanted(role, options.only)]
    if options.dry_run:
        for role in parts:
            print(trtexec_of(codec, role, options.repository, options.memory_gb, capacity_of(options)))
        return
    compiler = find_compiler(options.compiler, options.capability)
    capacity = capacity_of(options, compiler.gpu)
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
