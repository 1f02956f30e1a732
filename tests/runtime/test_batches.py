"""Streams of real models in one batch: each gets the same output as alone, whatever the others send."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tritone_runtime.errors import BadInputError
from tritone_runtime.executors.onnx_runtime import OnnxExecutor
from tritone_runtime.fidelity import snr_db
from tritone_runtime.streams.events import EventLog
from tritone_runtime.streams.scheduler import Limits, Step, StreamScheduler

MODELS = ["small_nanocodec_decode_stream", "small_mimi_decode_stream"]
FRAMES, BOOKS = 12, 4


def streams_of(repository: Path, model: str) -> StreamScheduler:
    runner = OnnxExecutor(repository / model / "1" / "model.onnx")
    return StreamScheduler(runner, "tokens", "audio", Limits(streams=3, idle_s=3600), EventLog(""))


def step(stream: int, tokens: NDArray[np.int64], number: int) -> Step:
    return Step(stream, {"tokens": tokens[None, :, number : number + 1]}, start=number == 0, end=False)


def audio_of(streams: StreamScheduler, one: Step) -> NDArray[np.float32]:
    (answer,) = streams.run([one])
    assert not isinstance(answer, Exception)
    audio: NDArray[np.float32] = answer[0]
    return audio


@pytest.mark.parametrize("model", MODELS)
def test_a_bad_row_leaves_its_batch_and_its_own_stream_as_they_were(model: str, repository: Path) -> None:
    many = np.random.default_rng(0).integers(0, 128, (3, BOOKS, FRAMES))
    alone = [
        [audio_of(streams, step(row, tokens, number)) for number in range(FRAMES)]
        for row, tokens in enumerate(many)
        for streams in [streams_of(repository, model)]
    ]
    together = streams_of(repository, model)
    received = [[audio_of(together, step(row, tokens, 0))] for row, tokens in enumerate(many)]
    for number in range(1, FRAMES):
        bad = Step(1, {"tokens": np.full((1, BOOKS, 1), -1)}, start=False, end=False)
        first, refused, last = together.run([step(0, many[0], number), bad, step(2, many[2], number)])
        assert isinstance(refused, BadInputError)
        assert not isinstance(first, Exception)
        assert not isinstance(last, Exception)
        for row, audio in enumerate((first[0], audio_of(together, step(1, many[1], number)), last[0])):
            received[row].append(audio)
    assert together.counters.batches[3][0] == FRAMES - 1
    for one, other in zip(alone, received, strict=True):
        assert snr_db(np.concatenate(one), np.concatenate(other)) > 115
