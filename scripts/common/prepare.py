"""Checkpoints and built models for the demo and the measurements; made once, then reused."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

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
"""Every codec that can be measured, by name."""
DEFAULT_CODECS = [name for name in MEASURED if f"{name}_shallow" not in MEASURED]
"""Codecs measured by default; a shallow variant replaces a codec that does not fit a small machine."""
_SEEDED = Path("artifacts/checkpoints")
_BUILD_PROCESSES = 2
_built_from: dict[str, list[str]] = {}
"""By codec, the checkpoints that this process has built models from or found built."""


class PrepareError(RuntimeError):
    """The models could not be built; the builder has printed the reason."""


def seeded_checkpoint(codec: str, config: Mapping[str, Any] | None = None) -> str:
    """Path of a checkpoint with random weights in the published format, written on the first call.

    Args:
        codec: name of the codec.
        config: its configuration, if it is not among ``MEASURED``.
    """
    path = _SEEDED / f"{codec}-seed0"
    if not path.exists():
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        write_fixture(MEASURED[codec].config if config is None else config, partial)
        partial.rename(path)  # an interrupted one must not count
    return str(path)


def default_checkpoint(codec: str) -> str:
    """The codec's own weights if the package contains them, else random ones; no hub is contacted."""
    published = MEASURED[codec]
    return published.source if published.comes_along else seeded_checkpoint(codec)


def checkpoint_behind(codec: str, sha256: str) -> Checkpoint:
    """The checkpoint with this SHA-256, among those that models were built from and the default one.

    Raises:
        PrepareError: none of them has this hash.
    """
    sources = _built_from.get(codec, []) + ([default_checkpoint(codec)] if codec in MEASURED else [])
    for source in dict.fromkeys(sources):
        checkpoint = open_checkpoint(source)
        if checkpoint.sha256 == sha256:
            return checkpoint
    raise PrepareError(
        f"the models of {codec} were built from a checkpoint with SHA-256 {sha256 or 'unknown'}, "
        f"which is not among the checkpoints here ({', '.join(sources) or 'none'}): build the models again"
    )


def remember_checkpoints(checkpoints: Iterable[tuple[str, str]]) -> None:
    """Record (codec, checkpoint) pairs of models that are up to date, for :func:`checkpoint_behind`."""
    for codec, source in checkpoints:
        _built_from.setdefault(codec, []).append(source)


def build_models(
    checkpoints: Sequence[tuple[str, str]], repository: Path = REPOSITORY, weights: str = "fp32"
) -> None:
    """Export the models of (codec, checkpoint) pairs that are not up to date, two processes at a time.

    Args:
        checkpoints: pairs of codec and checkpoint.
        repository: where the models are written.
        weights: precision of the weights, ``fp32`` or ``int8``.

    Raises:
        PrepareError: an export failed.
    """
    _build_all(["models", "--weights", weights], checkpoints, repository)
    remember_checkpoints(checkpoints)


def build_engines(
    checkpoints: Sequence[tuple[str, str]],
    repository: Path = ENGINES,
    compiler: str = "tensorrt_rtx",
) -> None:
    """Compile the engines of (codec, checkpoint) pairs, by default with TensorRT-RTX, which needs no GPU.

    Raises:
        PrepareError: a build failed.
    """
    _build_all(["engines", "--compiler", compiler], checkpoints, repository)


def _build_all(subcommand: Sequence[str], checkpoints: Sequence[tuple[str, str]], repository: Path) -> None:
    def build(pair: tuple[str, str]) -> int:
        codec, checkpoint = pair
        command = [sys.executable, "-m", "tritone_build", *subcommand, codec]
        command += ["--checkpoint", checkpoint, "--repository", str(repository)]
        return subprocess.run(command, check=False).returncode

    with ThreadPoolExecutor(_BUILD_PROCESSES) as pool:
        built = pool.map(build, checkpoints)
        failed = [codec for (codec, _), code in zip(checkpoints, built, strict=True) if code]
    if failed:
        raise PrepareError(f"could not build {', '.join(failed)}; the builder's output above says why")
