"""Streams that failed over with a bounded replay: how far they are from undisturbed streams."""

import numpy as np

from scripts.common.report import Row
from scripts.fidelity.case import Array, Case, Direction, directions
from tritone_runtime.fidelity import differing_share, snr_db

__all__ = ["after_replay", "replay_rows"]

_REPLAYED_S = (2, 5, 10, 20)
_BEFORE_S, _AFTER_S = 40, 10


def replay_rows(case: Case) -> list[Row]:
    """The seconds after a failover whose replay is shorter than the network's receptive field."""
    return [row for direction in directions(case) if direction.stateful for row in _replay_rows(direction)]


def _replay_rows(direction: Direction) -> list[Row]:
    case, field_s = direction.case, direction.lookback_frames / direction.case.codec.info.frame_rate_hz
    undisturbed = after_replay(direction, _BEFORE_S)
    rows = []
    for replayed_s in [seconds for seconds in _REPLAYED_S if seconds < field_s]:
        after = after_replay(direction, replayed_s)
        distances = [_distance(*pair) for pair in zip(undisturbed, after, strict=True)]
        unit = "dB" if direction.role == "decode" else "share"
        how = f"with the last {replayed_s} of {_BEFORE_S} s, of a receptive field of {field_s:.0f} s; "
        how += f"first second {distances[0]:.4g}, second {_AFTER_S}: {distances[-1]:.4g} {unit}"
        value = _distance(np.concatenate(undisturbed, -1), np.concatenate(after, -1))
        check = direction.check_name(f"replayed_{replayed_s}s")
        rows.append(Row(case.name, check, value, unit, "none", True, how))
    return rows


def after_replay(direction: Direction, known_s: int) -> list[Array]:
    """The ten seconds of output after the replay of the last ``known_s`` seconds, one array per second."""
    frames = direction.case.frames
    with direction.stream() as stream:
        output = [
            stream.push(direction.input_frames(frames(at), frames(at + 1)))
            for at in range(_BEFORE_S - known_s, _BEFORE_S + _AFTER_S)
        ]
    return output[known_s:]


def _distance(theirs: Array, ours: Array) -> float:
    """SNR in dB of audio, or the share of tokens that differ."""
    return snr_db(theirs, ours) if theirs.dtype.kind == "f" else differing_share(theirs, ours)
