"""Graphs and engines for measurements on a GPU; made once, then reused, without a network."""

import shutil
from pathlib import Path

from scripts.common.prepare import ENGINES, build_engines
from tritone_build.codecs.base import Codec
from tritone_build.repository.writing import is_current, model_names, write_repository

__all__ = ["engines_of", "graphs_of"]


def graphs_of(codec: Codec) -> Path:
    """A repository with the graphs from which a codec's engines are compiled."""
    if not is_current(ENGINES, codec, "tensorrt"):
        write_repository(codec, ENGINES, lambda name: print(f"exporting {name} ...", flush=True), "tensorrt")
    return ENGINES


def engines_of(codec: Codec, checkpoint: str, library: str) -> Path:
    """A repository with a codec's engines, compiled by ``tensorrt`` or ``tensorrt_rtx``.

    Each compiler runs in a process of its own, since both cannot be loaded in one.

    Raises:
        PrepareError: the compiler is not installed or failed; it has printed the reason.
    """
    repository = Path("artifacts") / f"{library}_engines"
    if not is_current(repository, codec, "tensorrt"):
        for model in model_names(codec).values():
            shutil.copytree(ENGINES / model, repository / model, dirs_exist_ok=True)
    build_engines([(codec.name, checkpoint)], repository, library)
    return repository
