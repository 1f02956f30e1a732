"""What all layouts share: whole lists of ids, ids as a model writes them, and the checks of both."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import StreamClosedError, TokensError
from tritone_client.inputs.arrays import ArrayLike, TokensLike, as_array

__all__ = ["Array", "FrameAssembler", "IdsLike", "Layout"]

Array: TypeAlias = NDArray[np.int64]
IdsLike: TypeAlias = ArrayLike | Sequence[int] | Sequence[Sequence[int]] | int
"""Ids as an array of any library that NumPy can view, as nested lists, or one id."""


@dataclass(frozen=True)
class Layout(ABC):
    """How one language model writes the tokens of its codec. ``dataclasses.replace`` changes a value.

    Attributes:
        model: the language model, for messages.
        num_codebooks: rows K of the codec's tokens [K, T].
        codebook_size: tokens are 0..codebook_size - 1.
    """

    model: str
    num_codebooks: int
    codebook_size: int

    def frames(self, ids: IdsLike, skip: bool = False) -> Array:
        """Tokens INT64 [K, T] of all ids of an utterance.

        Args:
            ids: what the model wrote, in the shape that the kind of layout names. Ids after the end id are
                not looked at.
            skip: leave out ids that do not fit, and frames that are not whole, in place of raising an error.

        Raises:
            TokensError: the ids have another shape or are no integers; or, without ``skip``, an id does not
                fit, or codes of the last frame are missing.
        """
        assembler = self.assembler(skip)
        tokens = assembler.push(ids)
        assembler.close()
        return tokens

    @abstractmethod
    def assembler(self, skip: bool = False) -> "FrameAssembler":
        """An assembler for one utterance, which takes ids as the model writes them; ``skip`` as above."""

    @abstractmethod
    def ids(self, tokens: TokensLike) -> Array:
        """The ids that mean ``tokens`` [K, T], such that :meth:`frames` gives the tokens again.

        Start and end ids are only added where a delay pattern or an incomplete stack needs them.

        Raises:
            TokensError: tokens of another shape or type, or out of range.
        """

    def _checked(self, tokens: TokensLike) -> Array:
        """Tokens as INT64 [K, T]; TokensError says what is wrong."""
        expected = f"{self.model} has tokens [{self.num_codebooks}, T], integers"
        given = _integers(tokens, expected)
        if given.ndim != 2 or len(given) != self.num_codebooks:  # noqa: PLR2004
            turned = given.ndim == 2 and given.shape[1] == self.num_codebooks  # noqa: PLR2004
            hint = "; if they are [T, K], pass their transpose" if turned else ""
            raise TokensError(f"{expected}, got {list(given.shape)}{hint}")
        outside = np.argwhere((given < 0) | (given >= self.codebook_size))
        if len(outside):
            book, frame = (int(index) for index in outside[0])
            raise TokensError(
                f"tokens of {self.model} are 0..{self.codebook_size - 1}, got {given[book, frame]} "
                f"in row {book}, frame {frame}"
            )
        return given


class FrameAssembler(ABC):
    """Takes the ids of one utterance as the model writes them, and gives each frame once it is whole."""

    def __init__(self, layout: Layout, expected: str, skip: bool):
        self._num_codebooks, self._expected, self._skip = layout.num_codebooks, expected, skip
        self._skipped = 0
        self._ended = self._closed = False

    @property
    def ended(self) -> bool:
        """Whether the end came and all frames before it were given; later ids are not looked at."""
        return self._ended

    @property
    def skipped(self) -> int:
        """How many ids were left out: those that did not fit, and all others of the same frame."""
        return self._skipped

    def push(self, ids: IdsLike) -> Array:
        """Take the next ids.

        Args:
            ids: one or several ids, or one or several steps of ids, in the shape that the layout names.

        Returns:
            The frames that became whole, tokens INT64 [K, n]; n may be 0.

        Raises:
            TokensError: as of :meth:`Layout.frames`. None of these ids was taken, and the utterance goes on.
            StreamClosedError: the assembler was closed.
        """
        if self._closed:
            raise StreamClosedError("the assembler is closed; make another one for the next utterance")
        given = self._shaped(_integers(ids, self._expected))
        if self._ended:
            return np.zeros((self._num_codebooks, 0), np.int64)
        return np.ascontiguousarray(self._take(given).T)

    def close(self) -> None:
        """End the utterance.

        Raises:
            TokensError: codes of the last frames are missing, and ``skip`` was not chosen. All frames that
                are whole were given before.
        """
        if self._closed:
            return
        self._closed = True
        frames, ids = self._unfinished()
        if ids and not self._skip:
            raise TokensError(
                f"{ids} ids at the end belong to {frames} frame(s) that are not whole; let the model write "
                "the rest, or leave them out with skip=True"
            )
        self._skipped += ids

    @abstractmethod
    def _shaped(self, ids: Array) -> Array:
        """The ids in the shape that the layout reads; TokensError for another shape."""

    @abstractmethod
    def _take(self, ids: Array) -> Array:
        """The frames [n, K] that these ids complete; TokensError before anything is changed."""

    @abstractmethod
    def _unfinished(self) -> tuple[int, int]:
        """How many frames are not whole, and how many of their ids came."""


def _integers(values: IdsLike | TokensLike, expected: str) -> Array:
    given = as_array(values, expected, TokensError)
    if given.size and given.dtype.kind not in "iu":
        raise TokensError(f"{expected}, got {given.dtype}")
    return given.astype(np.int64)
