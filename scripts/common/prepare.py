"""Checkpoints and built models for the demo and the measurements, made once and kept."""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tritone_build.checkpoints.checkpoint import Checkpoint, open_checkpoint
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.codecs import VARIANTS, shallow_variants

__all__ = [
    "DEFAULT_CODECS",
    "ENGINES",
    "MEASURED",
    "REPOSITORY",
    "PrepareError",
    "build_engines",
    "build_models",
    "checkpoint_behind",
    "default_checkpoint",
    "remember_checkpoints",
    "seeded_checkpoint",
]

REPOSITORY, ENGINES = Path("artifacts/model_repository"), Path("artifacts/engine_repository")
MEASURED = VARIANTS | shallow_variants()
"""What can be measured."""
DEFAULT_CODECS = [name for name in MEASURED if f"{name}_shallow" not in MEASURED]
"""What is measured unless told: what fits a small machine."""
_SEEDED = Path("artifacts/checkpoints")
_AT_ONCE = 2
_built_from: dict[str, list[str]] = {}
"""Checkpoints that this process knows each codec's models to be built from."""


class PrepareError(RuntimeError):
    """The models could not be built; the builder has said why."""


def seeded_checkpoint(codec: str) -> str:
    """Path of a checkpoint with random weights in the published format, written on the first call."""
    path = _SEEDED / f"{codec}-seed0"
    if not path.exists():
        write_fixture(MEASURED[codec].config, path)
    return str(path)


def default_checkpoint(codec: str) -> str:
    """A codec's own weights if they come with the package, else random ones: no hub is asked."""
    published = MEASURED[codec]
    return published.source if published.comes_along else seeded_checkpoint(codec)


def checkpoint_behind(codec: str, sha256: str) -> Checkpoint:
    """The checkpoint with this hash: one that this process knows models to be built from, or the default.

    Raises:
        PrepareError: neither is it.
    """
    sources = _built_from.get(codec, []) + ([default_checkpoint(codec)] if codec in MEASURED else [])
    for source in dict.fromkeys(sources):
        checkpoint = open_checkpoint(source)
        if checkpoint.sha256 == sha256:
            return checkpoint
    raise PrepareError(
        f"the models of {codec} come from a checkpoint with SHA-256 {sha256 or 'unknown'}; "
        f"only {', '.join(sources) or 'none'} of {codec} is here: build the models again"
    )


def remember_checkpoints(checkpoints: Iterable[tuple[str, str]]) -> None:
    """Note the (codec, checkpoint) pairs behind models that are up to date, for :func:`checkpoint_behind`."""
    for codec, source in checkpoints:
        _built_from.setdefault(codec, []).append(source)


def build_models(
    checkpoints: Sequence[tuple[str, str]], repository: Path = REPOSITORY, weights: str = "fp32"
) -> None:
    """Export (codec, checkpoint) pairs that are not up to date, two at once, each in its own process.

    Raises:
        PrepareError: one of them failed.
    """
    _build_all(["models", "--weights", weights], checkpoints, repository)
    remember_checkpoints(checkpoints)


def build_engines(
    checkpoints: Sequence[tuple[str, str]],
    repository: Path = ENGINES,
    compiler: str = "tensorrt_rtx",
) -> None:
    """Compile them, by default with TensorRT-RTX, which needs no GPU."""
    _build_all(["engines", "--compiler", compiler], checkpoints, repository)


def _build_all(how: Sequence[str], checkpoints: Sequence[tuple[str, str]], repository: Path) -> None:
    def build(pair: tuple[str, str]) -> int:
        codec, checkpoint = pair
        builder = str(Path(sys.executable).with_name("tritone-build"))
        command = [builder, *how, codec]
        command += ["--checkpoint", checkpoint, "--repository", str(repository)]
        return subprocess.run(command, check=False).returncode

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        built = pool.map(build, checkpoints)
        failed = [codec for (codec, _), code in zip(checkpoints, built, strict=True) if code]
    if failed:
        raise PrepareError(f"could not build {', '.join(failed)}")
