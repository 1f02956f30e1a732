"""Guessing the ids of live streams: whoever knows one could speak into it."""

from collections import Counter
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2_grpc

from scripts.common.report import Row
from scripts.faults.load_generator import UtteranceSet
from tritone_client.transport.wire import Place, answer_of, request_of
from tritone_server.direct import channel_to
from tritone_server.launcher import TritonServer

__all__ = ["ids_row"]

_GUESSES, _WITHIN_S, _SEED = 1_000, 60.0, 0
_ID_BITS, _LIVE = 63, 64
"""What the client draws from the system's randomness, and streams of a model."""


def ids_row(server: TritonServer, codec: str, spoken: UtteranceSet) -> Row:
    """Half of the guesses are random, half lie beside an id that is live; its stream goes on between them."""
    random = np.random.default_rng(_SEED)
    own = int(random.integers(2**60, 2**62))
    near = [own + step for step in range(-_GUESSES // 4, _GUESSES // 4 + 1) if step]
    guesses = [*near, *map(int, random.integers(1, 2**62, _GUESSES - len(near)))]
    frames = [spoken.tokens[:, at : at + 1] for at in range(spoken.tokens.shape[1])]
    met: Counter[str] = Counter()
    with channel_to(server.url) as channel:
        stream = _Stream(channel, f"{codec}_decode_stream")
        heard = []
        for number, frame in enumerate(frames):
            last = number == len(frames) - 1
            heard.append(stream.said(frame, Place(own, number == 0, last)))
            for guess in [] if last else guesses[number :: len(frames) - 1]:
                met[stream.refusal(frame, Place(guess))] += 1
    comparison = spoken.compared(0, np.concatenate(heard))
    how = (
        f"{', '.join(f'{status} {count}' for status, count in met.items())}; half of them beside a live id, "
    )
    how += f"whose stream: {comparison}; ids are {_ID_BITS} bits of the system's "
    how += f"randomness: with {_LIVE} streams live, a guess hits with probability {_LIVE / 2**_ID_BITS:.0e}"
    ok = set(met) == {"INVALID_ARGUMENT"} and comparison.ok
    return Row(codec, "attack_ids", met["OK"], "guessed", f"0 of {met.total()}", ok, how)


class _Stream:
    """Requests into streams of one model."""

    def __init__(self, channel: Any, model: str):
        self._infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        self._model = model

    def said(self, frame: NDArray[np.int64], place: Place) -> NDArray[Any]:
        """The answer to one frame."""
        request = request_of(self._model, {"tokens": frame[None]}, "audio", place)
        return answer_of(self._infer(request, timeout=_WITHIN_S), request)

    def refusal(self, frame: NDArray[np.int64], place: Place) -> str:
        """The status of one that should not be answered, OK if it was."""
        try:
            self.said(frame, place)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"
