"""The comparisons find what is wrong, and fail then."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from scripts.bench.timing import REPEATS, interleaved_ms, ratio_row, spread_of
from scripts.common.small_codecs import SMALL
from scripts.fidelity import bounded_replay
from scripts.fidelity.bounded_replay import after_replay, replay_rows
from scripts.fidelity.case import QUICK, Case, Direction
from scripts.fidelity.half_precision import compared
from scripts.fidelity.streams import chunkings
from scripts.peers import references_of
from scripts.peers.streaming import streaming_peers
from tritone_build.checkpoints.checkpoint import open_checkpoint
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_client import Codec
from tritone_client.transport.grpc_transport import Transport
from tritone_runtime.fidelity import snr_db
from tritone_server.launcher import TritonServer
from tritone_server.stream_check import Limit


def direction(role: str, stateful: bool) -> Direction:
    made = Direction.__new__(Direction)
    case = SimpleNamespace(name="nanocodec", limit=Limit(110, 100))
    made.case, made.role = cast(Case, case), role  # type: ignore[assignment]
    made.lookback_frames, made.stateful = 7, stateful
    made.input_hop, made.output_hop = (1, 10) if role == "decode" else (10, 1)
    return made


@pytest.mark.parametrize("role", ["decode", "encode"])
@pytest.mark.parametrize("stateful", [True, False])
def test_every_chunking_covers_the_input(role: str, stateful: bool) -> None:
    for name, sizes in chunkings(direction(role, stateful), 1000):
        assert sizes.sum() >= 1000, name
        assert sizes.min() > 0, name


def test_lost_samples_fail() -> None:
    row = direction("decode", True).row("check", [(np.ones(20), np.ones(19))], "how")
    assert not row.ok
    assert row.how == "19 time steps instead of 20; how"


def test_a_stream_that_gets_a_frame_of_another_fails_and_says_so() -> None:
    first, second = np.random.default_rng(0).standard_normal((2, 40))
    mixed = np.concatenate([first[:20], second[20:30], first[30:]])
    row = direction("decode", True).row("check", [(first, mixed), (second, second)], "how")
    assert not row.ok
    assert "frame 2 is the first wrong one" in row.how
    assert "it is frame 2 of stream 1" in row.how


def test_one_differing_token_fails() -> None:
    tokens = np.zeros((2, 5), np.int64)
    row = direction("encode", True).row(
        "check", [(tokens, tokens), (tokens, tokens + np.eye(2, 5, dtype=int))], ""
    )
    assert (row.check, row.value, row.ok) == ("encode_check", 0.2, False)


def test_a_bounded_replay_differs_and_one_of_the_receptive_field_does_not(
    server: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_replay, "_REPLAYED_S", (1, 60))
    with Codec("small_mimi", server.url) as codec:
        case = Case(codec, Transport(server.url, 60), server, QUICK)
        sound, tokens = replay_rows(case)
        assert (sound.check, tokens.check) == ("replayed_1s", "encode_replayed_1s"), (
            "60 s are longer than the receptive field"
        )
        assert 0 < sound.value < 100
        decoding = Direction(case, "decode")
        assert decoding.lookback_frames < case.frames(4)
        undisturbed, moved = (np.concatenate(after_replay(decoding, seconds)) for seconds in (40, 4))
        assert snr_db(undisturbed, moved) >= case.limit.whole_db


@pytest.mark.parametrize("shape", [(3000,), (2, 3000)], ids=["mono", "stereo"])
def test_growing_noise_fails_in_fp16_however_faint(shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(0)
    sound, noise = draw.standard_normal((2, *shape))
    steady = compared(direction("decode", True), sound, sound + 1e-4 * noise, "")
    assert [(row.check, row.ok) for row in steady] == [("fp16_vs_fp32", True), ("fp16_drift", True)]
    growing = compared(
        direction("decode", True), sound, sound + 1e-5 * np.linspace(1, 9, 3000) * noise, "", "_streamed"
    )
    assert [(row.check, row.ok) for row in growing] == [
        ("fp16_vs_fp32_streamed", True),
        ("fp16_drift_streamed", False),
    ]
    assert not compared(direction("decode", True), sound, sound + 1e-2 * noise, "")[0].ok


def test_one_differing_token_in_fifty_of_the_first_codebook_fails_in_fp16() -> None:
    tokens = np.zeros((8, 100), np.int64)
    for row, ok in ((0, False), (1, True)):
        others = tokens.copy()
        others[row, :2] = 1
        (found,) = compared(direction("encode", True), tokens, others, "")
        assert (found.check, found.ok) == ("encode_fp16_vs_fp32", ok)


def test_equal_audio_fails_if_the_conditions_of_the_check_were_not_met() -> None:
    sound = np.ones(20)
    assert direction("decode", True).row("check", [(sound, sound)], "").ok
    assert not direction("decode", True).row("check", [(sound, sound)], "", proven=False).ok


def test_actions_run_in_turn_and_the_first_round_is_a_warm_up() -> None:
    calls: list[str] = []
    times = interleaved_ms([lambda: calls.append("a"), lambda: calls.append("b")], 2)
    assert calls == ["a", "b"] * 3
    assert [len(side) for side in times] == [2, 2]


def test_slow_actions_get_a_round_per_repeat_and_no_more() -> None:
    calls: list[str] = []
    (times,) = interleaved_ms([lambda: calls.append("a")], 40, seconds=0.0)
    assert len(times) == REPEATS
    assert len(calls) == 1 + REPEATS
    (few,) = interleaved_ms([lambda: calls.append("a")], 2, seconds=0.0)
    assert len(few) == 2


def test_a_ratio_is_the_median_of_the_rounds_and_judged_by_its_worst_repeat() -> None:
    row = ratio_row("codec", "check", [1, 9, 4], [2, 3, 4], 1.0, "how")
    assert (row.value, row.low, row.high, row.ok) == (1, 0.5, 3, False)
    assert ratio_row("codec", "check", [1, 9, 4], [2, 9, 4], 1.0, "how").ok


def test_rounds_are_split_evenly_into_repeats() -> None:
    spread = spread_of([*[1.0] * 4, *[2.0] * 4, *[3.0] * 4, *[4.0] * 4, *[5.0] * 4])
    assert (spread.median, spread.low, spread.high) == (3, 1, 5)


@pytest.mark.parametrize("layout", ["safetensors", "kyutai"])
def test_every_implementation_gets_the_layout_it_reads(layout: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(
        str(write_fixture(SMALL["small_mimi"], tmp_path / "mimi.safetensors", layout=layout))
    )
    references = references_of(checkpoint)
    assert list(references) == ["moshi", "transformers"]
    tokens: Any = torch.arange(64).reshape(1, 8, 8)
    ours, theirs = (reference.decode(tokens).numpy() for reference in references.values())
    assert snr_db(ours, theirs) > 110
    assert list(streaming_peers(checkpoint, 8)) == ["moshi", "rustymimi"]
