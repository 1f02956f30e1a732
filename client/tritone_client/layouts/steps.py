"""Layouts of models that write all codes of one frame, or of a stack of frames, in one step.

With a stack of two frames, ids [16] of one step hold codebook 0 of both frames, then codebook 1 of both::

    c0 t0, c0 t1, c1 t0, c1 t1, ... c7 t0, c7 t1

Sources: qwen-tts 0.1.1 (core/models/modeling_qwen3_tts.py), transformers 5.23.0 (models/csm) and
nemo-toolkit 3.0.0 (tts/models/easy_magpietts_inference.py, stack_codes).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import TokensError
from tritone_client.inputs.arrays import TokensLike
from tritone_client.layouts.base import Array, FrameAssembler, Layout

__all__ = ["CSM", "EASY_MAGPIE", "QWEN3_TTS", "StepLayout", "shaped_steps"]


@dataclass(frozen=True)
class StepLayout(Layout):
    """A model that writes ids [L, K * stack]: those of ``stack`` frames in each of L steps.

    With ``skip``, a frame with an id that does not fit is left out.

    Attributes:
        end: id that ends the utterance before its frame.
        end_in: codebooks that must hold the end id: the first one, any one, or all.
        start: id that fills steps before the first frame; None if the model writes no such step.
        pad: id that fills frames after the last one, where batches are padded; None if they are not.
        stack: frames in one step.
    """

    end: int
    end_in: Literal["first", "any", "all"]
    start: int | None = None
    pad: int | None = None
    stack: int = 1

    def assembler(self, skip: bool = False) -> FrameAssembler:
        """An assembler for one utterance, whose pushes take steps [L, K * stack], or one step."""
        return _StepAssembler(self, skip)

    def ids(self, tokens: TokensLike) -> Array:
        """Ids INT64 [L, K * stack] of tokens [K, T], the last stack filled with the end id.

        Raises:
            TokensError: as of :meth:`Layout.ids`; or a frame of tokens would mean the end.
        """
        checked = self._checked(tokens)
        ends = np.flatnonzero(self.ends(checked.T))
        if len(ends):
            raise TokensError(
                f"frame {ends[0]} would mean the end to {self.model}: all its codes are {self.end}"
            )
        missing = -checked.shape[1] % self.stack
        filled = np.pad(checked, ((0, 0), (0, missing)), constant_values=self.end)
        stacks = filled.reshape(self.num_codebooks, -1, self.stack)
        return np.ascontiguousarray(stacks.transpose(1, 0, 2)).reshape(-1, self.num_codebooks * self.stack)

    def ends(self, frames: Array) -> NDArray[np.bool_]:
        """Which of the frames [n, K] mean the end."""
        marked: NDArray[np.bool_] = frames == self.end
        if self.end_in == "first":
            return marked[:, 0]
        reduce = np.logical_and if self.end_in == "all" else np.logical_or
        ends: NDArray[np.bool_] = reduce.reduce(marked, axis=1)
        return ends


class _StepAssembler(FrameAssembler):
    def __init__(self, layout: StepLayout, skip: bool):
        self._width = layout.num_codebooks * layout.stack
        super().__init__(layout, f"ids of {layout.model} are steps [L, {self._width}], integers", skip)
        self._layout = layout
        self._seen = self._pads = 0
        self._begun = False

    def _shaped(self, ids: Array) -> Array:
        return shaped_steps(ids, self._width, self._expected)

    def _take(self, ids: Array) -> Array:
        stacks = ids.reshape(-1, self._num_codebooks, self._layout.stack)
        frames = stacks.transpose(0, 2, 1).reshape(-1, self._num_codebooks)
        ends = np.flatnonzero(self._layout.ends(frames))
        spoken = frames[: ends[0]] if len(ends) else frames
        starts = 0 if self._begun else int(_filled(spoken, self._layout.start).cumprod().sum())
        pads = _filled(spoken, self._layout.pad)
        after_pads = np.where(pads, False, pads.cumsum() + self._pads > 0)
        wrong = (_outside(spoken, self._layout.codebook_size) & ~pads) | after_pads
        wrong[:starts] = False
        if wrong.any() and not self._skip:
            self._refuse(spoken, wrong, after_pads)
        self._ended = bool(len(ends))
        self._begun |= len(spoken) > starts
        self._pads += int(pads.sum())
        self._seen += len(frames)
        self._skipped += int(wrong.sum()) * self._num_codebooks
        return spoken[starts:][~(wrong | pads)[starts:]]

    def _refuse(self, frames: Array, wrong: NDArray[np.bool_], after_pads: NDArray[np.bool_]) -> None:
        layout = self._layout
        index = int(np.flatnonzero(wrong)[0])
        where = f"frame {self._seen + index} of the utterance, counted from 0"
        if after_pads[index]:
            raise TokensError(f"{where} comes after padding ({layout.pad}), which only fills the end")
        outside = (frames[index] < 0) | (frames[index] >= layout.codebook_size)
        book = int(np.flatnonzero(outside)[0])
        raise TokensError(
            f"id {frames[index, book]} in codebook {book}, {where}: codes of {layout.model} are "
            f"0..{layout.codebook_size - 1}. Leave frames with other ids out with skip=True"
        )

    def _unfinished(self) -> tuple[int, int]:
        return 0, 0


def shaped_steps(ids: Array, width: int, expected: str) -> Array:
    """Ids of steps [L, width], or of one step [width], as [L, width]; TokensError for another shape."""
    if not ids.size:
        return ids.reshape(0, width)
    steps = ids[None] if ids.ndim == 1 else ids
    if steps.ndim != 2 or steps.shape[1] != width:  # noqa: PLR2004
        turned = steps.ndim == 2 and len(steps) == width  # noqa: PLR2004
        hint = "; if they are the transpose, turn it" if turned else ""
        batch = "; give one utterance of a batch" if steps.ndim > 2 else ""  # noqa: PLR2004
        raise TokensError(f"{expected}, got {list(ids.shape)}{hint}{batch}")
    return steps


def _filled(frames: Array, value: int | None) -> NDArray[np.bool_]:
    """Which frames [n, K] hold ``value`` only."""
    if value is None:
        return np.zeros(len(frames), np.bool_)
    filled: NDArray[np.bool_] = np.all(frames == value, axis=1)
    return filled


def _outside(frames: Array, size: int) -> NDArray[np.bool_]:
    """Which frames [n, K] hold an id out of range."""
    outside: NDArray[np.bool_] = np.any((frames < 0) | (frames >= size), axis=1)
    return outside


QWEN3_TTS = StepLayout(
    model="Qwen3-TTS", num_codebooks=16, codebook_size=2048, end=2150, end_in="first", pad=-1
)
"""Qwen3-TTS on its 12 Hz tokenizer; the package pads batches with -1."""

CSM = StepLayout(model="CSM", num_codebooks=32, codebook_size=2048, end=0, end_in="all")
"""Sesame's CSM on Mimi with 32 codebooks; a frame of zeros is the end, so it cannot be sound."""

EASY_MAGPIE = StepLayout(
    model="EasyMagpie", num_codebooks=8, codebook_size=1024, end=1025, end_in="any", start=1024, stack=2
)
"""NVIDIA's EasyMagpie on the spectral codec at 25 frames per second, as 8 codebooks; two frames a step."""
