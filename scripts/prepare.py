"""Checkpoints and built models for the demo and the measurements, made once and kept."""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tritone_build.codecs import variant
from tritone_build.fixtures import write_fixture

__all__ = ["REPOSITORY", "PrepareError", "build_models", "default_checkpoint", "seeded_checkpoint"]

REPOSITORY = Path("artifacts/model_repository")
_SEEDED = Path("artifacts/checkpoints")
_AT_ONCE = 2


class PrepareError(RuntimeError):
    """The models could not be built; the builder has said why."""


def seeded_checkpoint(codec: str) -> str:
    """Path of a checkpoint with random weights in the published format, written on the first call."""
    path = _SEEDED / f"{codec}-seed0"
    if not path.exists():
        write_fixture(variant(codec).config, path)
    return str(path)


def default_checkpoint(codec: str) -> str:
    """A codec's own weights if they come with the package, else random ones: no hub is asked."""
    published = variant(codec)
    return published.source if published.comes_along else seeded_checkpoint(codec)


def build_models(checkpoints: Sequence[tuple[str, str]], repository: Path = REPOSITORY) -> None:
    """Export (codec, checkpoint) pairs that are not up to date, two at once, each in its own process.

    Raises:
        PrepareError: one of them failed.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        built = pool.map(lambda pair: _build(pair[0], pair[1], repository), checkpoints)
        failed = [codec for (codec, _), code in zip(checkpoints, built, strict=True) if code]
    if failed:
        raise PrepareError(f"could not build {', '.join(failed)}")


def _build(codec: str, checkpoint: str, repository: Path) -> int:
    builder = Path(sys.executable).with_name("tritone-build")
    command = [str(builder), "models", codec, "--checkpoint", checkpoint, "--repository", str(repository)]
    return subprocess.run(command, check=False).returncode
