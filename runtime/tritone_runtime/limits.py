"""Limits of one request: longer ones would take gigabytes, and delay all other requests."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tritone_runtime.errors import BadInputError

__all__ = ["LONGEST_CALL_S", "LONGEST_STEP_S", "RequestLimits"]

LONGEST_CALL_S, LONGEST_STEP_S = 300.0, 10.0
"""Most seconds of audio in a request, all rows together: for a whole input, and for a step of a stream."""


class RequestLimits:
    """Limits of one model's requests.

    Args:
        parameters: the model's parameters; they state sample rate, frame size, channels and codebooks, if it
            has any, and the most audio in a request, if that is less than usual.
        longest_s: most audio in a request, in seconds.
    """

    _codebooks = range(0)

    def __init__(self, parameters: Mapping[str, str], longest_s: float):
        self._longest_s = min(longest_s, float(parameters.get("longest_call_s", "inf")))
        self._rate_hz = int(parameters.get("sample_rate", "0"))
        self._samples_per_frame = int(parameters.get("samples_per_frame", "1"))
        self._channels = int(parameters.get("num_channels", "0"))
        if "num_codebooks" in parameters:
            most = int(parameters["num_codebooks"])
            self._codebooks = range(int(parameters.get("min_codebooks", most)), most + 1)

    def check(self, arrays: Mapping[str, NDArray[np.generic]], begins: bool = True) -> None:
        """Check arrays [B, ..., T] against the limits.

        Args:
            arrays: inputs by name.
            begins: True for a whole input and the first step of a stream; the scheduler checks later steps.

        Raises:
            BadInputError: there is too much audio, or the model does not take this number of channels or
                codebooks.
        """
        if self._channels and "audio" in arrays:
            self._refuse_channels(arrays["audio"].shape[1:])
        for name, array in arrays.items():
            self._refuse_long(name, array)
        if begins and "tokens" in arrays:
            self._refuse_codebooks(arrays["tokens"].shape[1])

    def _refuse_channels(self, shape: tuple[int, ...]) -> None:
        expected = () if self._channels == 1 else (self._channels,)
        if shape[:-1] != expected or not shape:
            axes = "".join(f"{size}, " for size in expected)
            raise BadInputError(
                f"audio must have {self._channels} channel(s), [{axes}samples] in each row, got {list(shape)}"
            )

    def _refuse_codebooks(self, codebooks: int) -> None:
        if self._codebooks and codebooks not in self._codebooks:
            least, most = self._codebooks[0], self._codebooks[-1]
            raise BadInputError(f"tokens must have {least} to {most} codebooks, got {codebooks}")

    def _refuse_long(self, name: str, array: NDArray[np.generic]) -> None:
        steps = 1 if name == "audio" else self._samples_per_frame
        samples = array.shape[0] * array.shape[-1] * steps
        if samples > self._longest_s * self._rate_hz > 0:
            raise BadInputError(
                f"{name} may have at most {self._longest_s:g} s of audio in a request, over all rows, "
                f"got {samples / self._rate_hz:g} s; send it in pieces or as a stream"
            )
