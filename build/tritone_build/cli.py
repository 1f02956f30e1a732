"""``tritone-build``: builds the models that Triton serves from a codec checkpoint."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.checkpoints.weight_norm import Spelling
from tritone_build.codecs import (
    FAMILIES,
    VARIANTS,
    codec_within,
    family_of,
    load_codec,
    open_published,
    shallow_variants,
)
from tritone_build.codecs.base import Codec
from tritone_build.engines.cli import add_commands
from tritone_build.errors import PrecisionError, TritoneBuildError, UnknownCodecError
from tritone_build.graphs.roles import roles
from tritone_build.options import (
    CUDA_REPOSITORY,
    add_capacity,
    add_checkpoint,
    add_least_db,
    capacity_of,
    chosen_codec,
)
from tritone_build.repository.writing import (
    PRECISIONS,
    Weights,
    configs_of,
    is_current,
    model_names,
    rewrite_configs,
    write_repository,
)
from tritone_runtime.errors import TritoneRuntimeError

__all__ = ["main"]

_EXAMPLES = """\
examples:
  tritone-build codecs                                     list what can be built, and from which checkpoint
  tritone-build models nanocodec                           fetch the published checkpoint and build it
  tritone-build models --checkpoint my-finetune.nemo       the name of the codec follows from its geometry
  tritone-build models moss --weights int8                 faster live streams on a CPU
  tritone-build models orpheus --checkpoint snac_24khz --set noise=position
                                                           SNAC with its noise, under a name of your own
  tritone-build models mimi --target cuda                  for an NVIDIA GPU, in FP16
  tritone-build engines nanocodec --dry-run                print what would be compiled, as trtexec commands
  tritone-build engines nanocodec --compiler tensorrt_rtx  compile it; needs no GPU
  tritone-build inspect my-finetune.nemo                   show what a checkpoint holds
  tritone-build models --checkpoint both.safetensors#codec  one of several codecs in a model
  tritone-build fixture nanocodec noise.nemo --seed 1      random weights in the published format
  tritone-build fixture mimi noise.safetensors --layout kyutai
"""
_REPOSITORIES = {"cpu": Path("artifacts/model_repository"), "cuda": CUDA_REPOSITORY}
_SPELLINGS = {
    "parametrizations": Spelling.PARAMETRIZED,
    "weight_g": Spelling.HOOKED,
    "folded": Spelling.PLAIN,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, or 1 after printing the error."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (TritoneBuildError, TritoneRuntimeError, OSError) as error:
        print(f"tritone-build: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tritone-build",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    commands.add_parser("codecs", help="list the published codecs").set_defaults(run=_codecs)

    _add_models(commands)
    add_commands(commands)

    inspect = commands.add_parser("inspect", help="show what a checkpoint holds")
    inspect.set_defaults(run=_inspect)
    inspect.add_argument("checkpoint", help="file, folder or hub id; append #prefix for the part of a model")
    inspect.add_argument("--tensors", action="store_true", help="list every tensor")

    fixture = commands.add_parser("fixture", help="write seeded random weights in a published format")
    fixture.set_defaults(run=_fixture)
    fixture.add_argument("codec", help="a published codec, or one with fewer layers such as moss_shallow")
    fixture.add_argument("output", type=Path, help="file to write; a folder for safetensors")
    fixture.add_argument("--seed", type=int, default=0, help="%(default)s")
    layouts = {layout: None for family in FAMILIES for layout in family.LAYOUTS}
    fixture.add_argument(
        "--layout", choices=tuple(layouts), help="default: the codec's first published layout"
    )
    fixture.add_argument(
        "--weight-norm",
        choices=tuple(_SPELLINGS),
        help="how normalized weights are stored; default: as in that layout",
    )
    return parser


def _add_models(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    models = commands.add_parser("models", help="export a codec's ONNX models into a model repository")
    models.set_defaults(run=_models)
    add_checkpoint(models)
    models.add_argument(
        "--repository",
        type=Path,
        help=f"folder to write to (default: {_REPOSITORIES['cpu']}; for cuda {_REPOSITORIES['cuda']})",
    )
    models.add_argument(
        "--target",
        choices=tuple(_REPOSITORIES),
        default="cpu",
        help="cuda: programs of PyTorch for an NVIDIA GPU, whose live streams stay on it (%(default)s)",
    )
    models.add_argument(
        "--weights",
        choices=("fp32", "fp16", "int8"),
        help="for cpu fp32 or int8: steps of live streams take a third of the time in transformers, less "
        "exact; for cuda fp16 or fp32 (default: fp32 for cpu, fp16 for cuda)",
    )
    add_capacity(models)
    add_least_db(models)
    models.add_argument(
        "--dry-run", action="store_true", help="check the checkpoint and print what would be written"
    )


def _codecs(_: argparse.Namespace) -> None:
    table = Table("codec", "published checkpoint")
    for each in VARIANTS.values():
        table.add_row(each.name, "in this package" if each.comes_along else each.source)
    Console().print(table)


def _models(options: argparse.Namespace) -> None:
    console = Console(stderr=True)
    weights, repository = _weights(options), options.repository or _REPOSITORIES[options.target]
    codec = chosen_codec(options)
    if not options.force and is_current(repository, codec, options.target, weights):
        if options.target == "cuda":  # its configs hold the number of streams that is asked for now
            _limit_streams(codec, repository, options)
        console.print(f"{codec.name}: models in {repository} are up to date")
        return
    if options.dry_run:
        for name in model_names(codec).values():
            console.print(f"would write {repository / name}")
        return
    started = time.monotonic()
    with console.status("exporting") as status:

        def progress(model: str) -> None:
            line = model if ":" in model else f"exporting {model}"
            status.update(line)
            if not console.is_terminal:
                console.print(f"{line} ...")

        write_repository(
            codec, repository, progress, options.target, weights, capacity_of(options), options.least_db
        )
    console.print(f"{codec.name}: models written to {repository} in {time.monotonic() - started:.0f} s")


def _limit_streams(codec: Codec, repository: Path, options: argparse.Namespace) -> None:
    configs = configs_of(codec, roles(codec, "cuda"), "cuda", capacity_of(options))
    rewrite_configs(configs, repository)


def _weights(options: argparse.Namespace) -> Weights:
    possible = PRECISIONS[options.target]
    if options.weights is None:
        return possible[0]
    if options.weights not in possible:
        raise PrecisionError(
            f"models for {options.target} have weights in {' or '.join(possible)}, got {options.weights}"
        )
    return options.weights  # type: ignore[no-any-return]


def _inspect(options: argparse.Namespace) -> None:
    console = Console()
    checkpoint = open_published(options.checkpoint)
    elements = sum(tensor.numel() for tensor in checkpoint.tensors.values())
    console.print(f"{checkpoint.source}: {checkpoint.layout}, SHA-256 {checkpoint.sha256}")
    console.print(f"{len(checkpoint.tensors)} tensors, {elements:,} elements")
    parts = Table("part", "tensors", "elements")
    for part in sorted({name.partition(".")[0] for name in checkpoint.tensors}):
        of_part = [
            tensor.numel() for name, tensor in checkpoint.tensors.items() if name.partition(".")[0] == part
        ]
        parts.add_row(part, str(len(of_part)), f"{sum(of_part):,}")
    console.print(parts)
    if options.tensors:
        for name, tensor in checkpoint.tensors.items():
            console.print(f"{name} {list(tensor.shape)} {tensor.dtype}", highlight=False)
    checkpoint = codec_within(checkpoint)
    if checkpoint.prefix:
        console.print(
            f"the codec in it: {len(checkpoint.tensors)} tensors, whose names begin with {checkpoint.prefix}."
        )
    published = family_of(checkpoint).variant_of(checkpoint)
    codec = load_codec(checkpoint, published or "unpublished")
    console.print(f"a complete checkpoint of {published or 'an unpublished geometry'}; every tensor fits")
    facts = Table("geometry", "")
    for key, value in vars(codec.geometry).items():
        facts.add_row(key, str(value))
    console.print(facts)


def _fixture(options: argparse.Namespace) -> None:
    known = VARIANTS | shallow_variants()
    if options.codec not in known:
        raise UnknownCodecError(options.codec, list(known))
    config = known[options.codec].config
    spelling = _SPELLINGS.get(options.weight_norm)
    written = write_fixture(config, options.output, options.seed, options.layout, spelling)
    print(f"{written}: random weights, seed {options.seed}; they decode to noise")
