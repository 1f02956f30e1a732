"""Guessing the ids of live streams: a client that knows an id could send frames into the stream."""

from collections import Counter
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2_grpc

from scripts.common.report import Row
from scripts.faults.load_generator import UtteranceSet
from tritone_client.transport.interface import Place, Request
from tritone_client.transport.wire import message_of, tensor_of
from tritone_server.direct import channel_to
from tritone_server.launcher import TritonServer

__all__ = ["guessed_ids_row"]

_GUESSES, _TIMEOUT_S, _SEED = 1_000, 60.0, 0
_ID_BITS, _LIVE = 63, 64
"""Random bits in a stream id of our client, and live streams of a model."""


def guessed_ids_row(server: TritonServer, codec: str, utterances: UtteranceSet) -> Row:
    """Send frames under guessed ids while a stream is live: half random ids, half close to the live one.

    Every guess must be refused, and the live stream must be right to its last sample.
    """
    random = np.random.default_rng(_SEED)
    own = int(random.integers(2**60, 2**62))
    near = [own + step for step in range(-_GUESSES // 4, _GUESSES // 4 + 1) if step]
    guesses = [*near, *map(int, random.integers(1, 2**62, _GUESSES - len(near)))]
    frames = [utterances.tokens[:, at : at + 1] for at in range(utterances.tokens.shape[1])]
    statuses: Counter[str] = Counter()
    with channel_to(server.url) as channel:
        stream = _Stream(channel, f"{codec}_decode_stream")
        audio = []
        for number, frame in enumerate(frames):
            last = number == len(frames) - 1
            audio.append(stream.answer(frame, Place(own, number == 0, last)))
            for guess in [] if last else guesses[number :: len(frames) - 1]:
                statuses[stream.status(frame, Place(guess))] += 1
    comparison = utterances.compared(0, np.concatenate(audio, axis=-1))
    counts = ", ".join(f"{status} {count}" for status, count in statuses.items())
    how = f"{counts}; half of them beside a live id, "
    how += f"whose stream: {comparison}; ids are {_ID_BITS} bits of the system's "
    how += f"randomness: with {_LIVE} streams live, a guess hits with probability {_LIVE / 2**_ID_BITS:.0e}"
    ok = set(statuses) == {"INVALID_ARGUMENT"} and comparison.ok
    return Row(codec, "attack_ids", statuses["OK"], "guessed", f"0 of {statuses.total()}", ok, how)


class _Stream:
    """Sends single requests to the streams of a model."""

    def __init__(self, channel: Any, model: str):
        self._infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        self._model = model

    def answer(self, frame: NDArray[np.int64], place: Place) -> NDArray[Any]:
        """The answer to one frame."""
        request = message_of(Request(self._model, {"tokens": frame[None]}, "audio", place))
        audio: NDArray[Any] = tensor_of(self._infer(request, timeout=_TIMEOUT_S), request)[0]
        return audio

    def status(self, frame: NDArray[np.int64], place: Place) -> str:
        """The gRPC status of one frame's answer."""
        try:
            self.answer(frame, place)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"
