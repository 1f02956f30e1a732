"""The most that one request may bring: longer ones take gigabytes, and hold up everybody else's."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tritone_runtime.errors import BadInputError

__all__ = ["LONGEST_CALL_S", "LONGEST_STEP_S", "RequestLimits"]

LONGEST_CALL_S, LONGEST_STEP_S = 300.0, 10.0
"""Seconds of sound in a request, all rows together: of a whole input, and of a stream's step."""


class RequestLimits:
    """Limits of one model's requests.

    Args:
        parameters: of the model, which say its rates and codebooks where it has any.
        longest_s: most sound in a request, in seconds.
    """

    _codebooks = range(0)

    def __init__(self, parameters: Mapping[str, str], longest_s: float):
        self._longest_s = longest_s
        self._rate_hz = int(parameters.get("sample_rate", "0"))
        self._samples_per_frame = int(parameters.get("samples_per_frame", "1"))
        if "num_codebooks" in parameters:
            most = int(parameters["num_codebooks"])
            self._codebooks = range(int(parameters.get("min_codebooks", most)), most + 1)

    def check(self, arrays: Mapping[str, NDArray[np.generic]], begins: bool = True) -> None:
        """Hold arrays [B, ..., T] against the limits.

        Args:
            arrays: inputs by name.
            begins: a whole input, or the first step of a stream; the scheduler compares the steps after it.

        Raises:
            BadInputError: too much sound, or a number of codebooks that the model does not take.
        """
        for name, array in arrays.items():
            self._refuse_long(name, array)
        if begins and "tokens" in arrays:
            self._refuse_codebooks(arrays["tokens"].shape[1])

    def _refuse_codebooks(self, codebooks: int) -> None:
        if self._codebooks and codebooks not in self._codebooks:
            least, most = self._codebooks[0], self._codebooks[-1]
            raise BadInputError(f"tokens must have {least} to {most} codebooks, got {codebooks}")

    def _refuse_long(self, name: str, array: NDArray[np.generic]) -> None:
        steps = 1 if name == "audio" else self._samples_per_frame
        samples = array.shape[0] * array.shape[-1] * steps
        if samples > self._longest_s * self._rate_hz > 0:
            raise BadInputError(
                f"{name} may have at most {self._longest_s:g} s of sound in a request, all rows together, "
                f"got {samples / self._rate_hz:g} s"
            )
