"""Limits of a model's live streams: what its config states, and what the operator allows."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

from tritone_runtime.errors import RepositoryError

__all__ = ["MOST_STREAMS", "Limits", "stream_limits"]

MOST_STREAMS = "TRITONE_MAX_STREAMS"
"""The environment variable that lowers the number of live streams of each model."""


@dataclass(frozen=True)
class Limits:
    """Limits of a model's streams.

    Args:
        streams: most live streams.
        idle_s: a stream without requests ends after this time.
        frame_s: duration of a frame; a step that takes longer than its audio lasts is counted as late.
        shared: a file by which several processes share ``streams``; None if one process runs the model.
    """

    streams: int
    idle_s: float
    frame_s: float = inf
    shared: Path | None = None


def stream_limits(parameters: Mapping[str, str], idle_s: float, shared: Path | None = None) -> Limits:
    """The limits that a model's parameters state; the operator may allow fewer streams.

    Raises:
        RepositoryError: the environment variable ``TRITONE_MAX_STREAMS`` is no number of streams.
    """
    configured = int(parameters["max_streams"])
    frame_s = int(parameters["samples_per_frame"]) / int(parameters["sample_rate"])
    return Limits(min(configured, _allowed() or configured), idle_s, frame_s, shared)


def _allowed() -> int:
    """The number in the environment variable; 0 if it is not set."""
    given = os.environ.get(MOST_STREAMS)
    if not given:
        return 0
    if not given.isdecimal() or int(given) == 0:
        raise RepositoryError(
            f"the environment variable {MOST_STREAMS} is a number of live streams, 1 or more, got {given!r}; "
            "correct it or unset it"
        )
    return int(given)
