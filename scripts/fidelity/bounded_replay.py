"""Streams that go on after a bounded replay: how far they are from undisturbed ones."""

import numpy as np

from scripts.common.report import Row
from scripts.fidelity.case import Array, Case, Direction, directions
from tritone_runtime.fidelity import differing_share, snr_db

__all__ = ["after_replay", "replay_rows"]

_REPLAYED_S = (2, 5, 10, 20)
_BEFORE_S, _AFTER_S = 40, 10


def replay_rows(case: Case) -> list[Row]:
    """The seconds after a stream was moved with less of its past than the network looks back."""
    return [row for direction in directions(case) if direction.kept for row in _replay_rows(direction)]


def _replay_rows(direction: Direction) -> list[Row]:
    case, field_s = direction.case, direction.back / direction.case.codec.info.frame_rate_hz
    undisturbed = after_replay(direction, _BEFORE_S)
    rows = []
    for replayed_s in [seconds for seconds in _REPLAYED_S if seconds < field_s]:
        after = after_replay(direction, replayed_s)
        apart = [_apart(*pair) for pair in zip(undisturbed, after, strict=True)]
        unit = "dB" if direction.role == "decode" else "share"
        how = f"with the last {replayed_s} of {_BEFORE_S} s, of a field of {field_s:.0f} s; "
        how += f"first second {apart[0]:.4g}, second {_AFTER_S}: {apart[-1]:.4g} {unit}"
        value = _apart(np.concatenate(undisturbed, -1), np.concatenate(after, -1))
        check = direction.check(f"replayed_{replayed_s}s")
        rows.append(Row(case.name, check, value, unit, "none", True, how))
    return rows


def after_replay(direction: Direction, known_s: int) -> list[Array]:
    """Second by second what follows, of a stream that was shown so much of what came before."""
    frames = direction.case.frames
    with direction.stream() as stream:
        made = [
            stream.push(direction.piece(frames(at), frames(at + 1)))
            for at in range(_BEFORE_S - known_s, _BEFORE_S + _AFTER_S)
        ]
    return made[known_s:]


def _apart(theirs: Array, ours: Array) -> float:
    """Decibels of sound, or the share of tokens that differ."""
    return snr_db(theirs, ours) if theirs.dtype.kind == "f" else differing_share(theirs, ours)
