"""Layouts of models that write one id per codebook and step, each codebook with a delay of its own.

Codebook k of frame t stands in step ``1 + t + delays[k]``, where step 0 holds start ids only. With four
codebooks, three frames, delays 0, 1, 2, 3, S for start, E for end and P for pad::

    step        0   1   2   3   4   5   6
    codebook 0  S  a0  a1  a2   E   P   P
    codebook 1  S   S  b0  b1  b2   E   P
    codebook 2  S   S   S  c0  c1  c2   E
    codebook 3  S   S   S   S  d0  d1  d2

The first end id of any codebook names the first frame that is not there: the others need not come.

Sources: parler-tts 0.2.3 (build_delay_pattern_mask), Zyphra/Zonos (zonos/model.py, 2167faf),
transformers 5.23.0 (models/dia) and boson-multimodal 0.1.1 (model/higgs_audio/utils.py).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tritone_client.errors import TokensError
from tritone_client.inputs.arrays import TokensLike
from tritone_client.layouts.base import Array, FrameAssembler, Layout
from tritone_client.layouts.steps import shaped_steps

__all__ = ["DIA", "HIGGS", "PARLER", "ZONOS", "DelayLayout"]

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class DelayLayout(Layout):
    """A model with a delay pattern: ids [L, K], the K ids of each of L steps.

    Steps that hold only start ids may come first, or be left out. With ``skip``, a frame with an id out of
    range is left out, and so are the last frames if the model stopped before they were whole.

    Attributes:
        delays: steps by which each codebook is late; the least is 0.
        start: id before a codebook's first code.
        end: id after a codebook's last code.
        pad: id after the end.
    """

    delays: tuple[int, ...]
    start: int
    end: int
    pad: int

    def assembler(self, skip: bool = False) -> FrameAssembler:
        """An assembler for one utterance, whose pushes take steps [L, K], or one step [K]."""
        return _DelayAssembler(self, skip)

    def ids(self, tokens: TokensLike) -> Array:
        """Ids INT64 [1 + T + the longest delay, K] of tokens [K, T]; errors as of :meth:`Layout.ids`."""
        checked = self._checked(tokens)
        count = checked.shape[1]
        frames = np.arange(1 + count + max(self.delays))[:, None] - 1 - np.array(self.delays)
        ids = np.select([frames < 0, frames == count], [self.start, self.end], self.pad).astype(np.int64)
        step, book = np.nonzero((frames >= 0) & (frames < count))
        ids[step, book] = checked[book, frames[step, book]]
        return ids


class _DelayAssembler(FrameAssembler):
    """Holds the steps that frames still need: the first of them is step ``1 + self._next_frame``."""

    def __init__(self, layout: DelayLayout, skip: bool):
        books = layout.num_codebooks
        super().__init__(layout, f"ids of {layout.model} are steps [L, {books}], integers", skip)
        self._layout, self._delays = layout, np.array(layout.delays)
        self._held = np.zeros((0, books), np.int64)
        self._next_frame, self._end_frame = 0, _NEVER

    def _shaped(self, ids: Array) -> Array:
        return shaped_steps(ids, self._num_codebooks, self._expected)

    def _take(self, ids: Array) -> Array:
        starts = self._count_starts(ids)
        frames = self._frames(self._next_frame + len(self._held) - starts, len(ids))
        end = self._first_end(ids, frames)
        early = (frames < 0) & (ids != self._layout.start)
        wrong = early | ((frames >= 0) & (frames < end) & self._outside(ids))
        if wrong.any() and not self._skip:
            self._refuse(ids, frames, wrong)
        self._skipped += int(early.sum())
        self._end_frame = end
        self._held = np.concatenate([self._held, ids[starts:]])
        return self._whole()

    def _count_starts(self, ids: Array) -> int:
        """How many of these steps come before the first frame: those whose codebook 0 holds the start id."""
        if self._next_frame or len(self._held):
            return 0
        return int((ids[:, 0] == self._layout.start).cumprod().sum())

    def _frames(self, first: int, steps: int) -> Array:
        """The frame of each id of some steps; negative before a codebook's first code."""
        frames: Array = first + np.arange(steps)[:, None] - self._delays
        return frames

    def _first_end(self, ids: Array, frames: Array) -> int:
        layout = self._layout
        ends = (ids == layout.end) | ((ids == layout.pad) & (layout.pad != layout.start))
        return min([self._end_frame, *map(int, frames[ends & (frames >= 0)])])

    def _outside(self, ids: Array) -> NDArray[np.bool_]:
        outside: NDArray[np.bool_] = (ids < 0) | (ids >= self._layout.codebook_size)
        return outside

    def _refuse(self, ids: Array, frames: Array, wrong: NDArray[np.bool_]) -> None:
        layout = self._layout
        step, book = (int(index) for index in np.argwhere(wrong)[0])
        frame = int(frames[step, book])
        where = f"id {ids[step, book]} in codebook {book}"
        if frame < 0:
            raise TokensError(
                f"{where}, {-frame} step(s) before that codebook's first frame: {layout.model} writes "
                f"{layout.start} there. Give steps from the first one on, with the delays as the model "
                "writes them, or leave such ids out with skip=True"
            )
        raise TokensError(
            f"{where}, frame {frame}: codes of {layout.model} are 0..{layout.codebook_size - 1}, and "
            f"{layout.end} ends them. Leave frames with other ids out with skip=True"
        )

    def _whole(self) -> Array:
        """The frames that are whole now, without those that hold an id out of range."""
        count = min(len(self._held) - int(self._delays.max()), self._end_frame - self._next_frame)
        steps = np.arange(max(count, 0))[:, None] + self._delays
        frames: Array = self._held[steps, np.arange(self._num_codebooks)]
        wrong = self._outside(frames).any(axis=1)
        self._skipped += int(wrong.sum()) * self._num_codebooks
        self._held = self._held[len(steps) :]
        self._next_frame += len(steps)
        self._ended = self._next_frame == self._end_frame
        return frames[~wrong]

    def _unfinished(self) -> tuple[int, int]:
        end = min(self._end_frame, self._next_frame + len(self._held))
        frames = self._frames(self._next_frame, len(self._held))
        return end - self._next_frame, int(((frames >= self._next_frame) & (frames < end)).sum())


PARLER = DelayLayout(
    model="Parler-TTS",
    num_codebooks=9,
    codebook_size=1024,
    delays=tuple(range(9)),
    start=1025,
    end=1024,
    pad=1024,
)
"""Parler-TTS on DAC at 44.1 kHz."""

ZONOS = DelayLayout(
    model="Zonos",
    num_codebooks=9,
    codebook_size=1024,
    delays=tuple(range(9)),
    start=1025,
    end=1024,
    pad=1025,
)
"""Zonos on DAC at 44.1 kHz. Its ``generate`` returns codes without delays; this reads the delayed ones."""

DIA = DelayLayout(
    model="Dia",
    num_codebooks=9,
    codebook_size=1024,
    delays=(0, *range(8, 16)),
    start=1026,
    end=1024,
    pad=1025,
)
"""Dia on DAC at 44.1 kHz; codebook 1 follows codebook 0 eight steps later."""

HIGGS = DelayLayout(
    model="Higgs Audio v2",
    num_codebooks=8,
    codebook_size=1024,
    delays=tuple(range(8)),
    start=1024,
    end=1025,
    pad=1025,
)
"""Higgs Audio v2 on its own tokenizer."""
