"""Layouts of models that write one id after the other, with an id range of its own for each place of a frame.

Such a model writes ``first_id + codebook_size * place + code``, so an id says for which place it is meant::

    Orpheus    place    0     1     2     3     4     5     6     depth first through SNAC's tree
               codebook 0     1     2     2     1     2     2
    KaniTTS    place    0     1     2     3
               codebook 0     1     2     3

Sources: orpheus-speech 0.1.0 (orpheus_tts/decoder.py) and kani-tts (examples/basic/audio/player.py, 5ba36d3).
"""

from dataclasses import dataclass

import numpy as np

from tritone_client.errors import TokensError
from tritone_client.inputs.arrays import TokensLike
from tritone_client.layouts.base import Array, FrameAssembler, Layout

__all__ = ["KANITTS", "ORPHEUS", "FlatLayout"]


@dataclass(frozen=True)
class FlatLayout(Layout):
    """A model that writes ids [N] in sequence, K for each frame.

    With ``skip``, an id in the wrong place drops its frame, and the next frame begins at the next id of
    place 0; an id that is no audio is left out by itself.

    Attributes:
        first_id: id of code 0 at place 0.
        places: for each row of the tokens, the place within the frame where the model writes it.
        start: id that may stand before the first frame.
        end: id that ends the utterance.
        pad: id that fills a batch; it may stand before the first frame.
    """

    first_id: int
    places: tuple[int, ...]
    start: int
    end: int
    pad: int

    def assembler(self, skip: bool = False) -> FrameAssembler:
        """An assembler for one utterance, whose pushes take ids [N], or one id."""
        return _FlatAssembler(self, skip)

    def ids(self, tokens: TokensLike) -> Array:
        """Ids INT64 [K * T] of tokens [K, T], without start and end; errors as of :meth:`Layout.ids`."""
        checked = self._checked(tokens)
        rows = checked[np.argsort(self.places)]
        offsets = self.first_id + self.codebook_size * np.arange(self.num_codebooks)
        return np.ascontiguousarray((rows + offsets[:, None]).T).ravel()


class _FlatAssembler(FrameAssembler):
    def __init__(self, layout: FlatLayout, skip: bool):
        super().__init__(layout, f"ids of {layout.model} are [N], integers", skip)
        self._layout = layout
        self._held: list[int] = []
        self._seen = 0
        self._begun = False

    def _shaped(self, ids: Array) -> Array:
        if ids.ndim > 1 and ids.size != ids.shape[-1]:
            raise TokensError(
                f"{self._expected}, got {list(ids.shape)}; make an assembler for each utterance"
            )
        return ids.ravel()

    def _take(self, ids: Array) -> Array:
        if not self._skip:
            self._refuse_misplaced(ids.tolist())
        frames = [frame for each in ids.tolist() for frame in self._next(each)]
        return np.array(frames, np.int64).reshape(-1, self._num_codebooks)

    def _refuse_misplaced(self, ids: list[int]) -> None:
        """TokensError for the first id that is not the next one of its frame."""
        layout, place, begun = self._layout, len(self._held), self._begun
        for index, each in enumerate(ids):
            if each == layout.end:
                return
            if not begun and each in (layout.start, layout.pad):
                continue
            lowest = layout.first_id + layout.codebook_size * place
            if not lowest <= each < lowest + layout.codebook_size:
                raise TokensError(
                    f"id {each}, number {self._seen + index} of the utterance, counted from 0: place {place} "
                    f"of a frame of {layout.model} takes ids {lowest}..{lowest + layout.codebook_size - 1}. "
                    f"Give what the model wrote after its start id {layout.start}, or leave other ids out "
                    "with skip=True"
                )
            begun, place = True, (place + 1) % layout.num_codebooks

    def _next(self, each: int) -> list[list[int]]:
        """The frame that this id completes, if it does."""
        layout = self._layout
        self._seen += 1
        self._ended |= each == layout.end
        if self._ended or (not self._begun and each in (layout.start, layout.pad)):
            return []
        place, code = divmod(each - layout.first_id, layout.codebook_size)
        if place != len(self._held) and 0 <= place < layout.num_codebooks:
            self._skipped += len(self._held)
            self._held = []
        if place != len(self._held):
            self._skipped += 1
            return []
        self._begun = True
        self._held.append(code)
        if len(self._held) < layout.num_codebooks:
            return []
        frame, self._held = [self._held[place] for place in layout.places], []
        return [frame]

    def _unfinished(self) -> tuple[int, int]:
        return min(len(self._held), 1), len(self._held)


ORPHEUS = FlatLayout(
    model="Orpheus",
    num_codebooks=7,
    codebook_size=4096,
    first_id=128266,
    places=(0, 1, 4, 2, 3, 5, 6),
    start=128257,
    end=128258,
    pad=128263,
)
"""Orpheus on SNAC at 24 kHz, seven ids per frame. The text token ``<custom_token_N>`` is id 128256 + N."""

KANITTS = FlatLayout(
    model="KaniTTS",
    num_codebooks=4,
    codebook_size=4032,
    first_id=64410,
    places=(0, 1, 2, 3),
    start=64401,
    end=64402,
    pad=64407,
)
"""KaniTTS on NanoCodec with 0.6 kbit/s, four ids per frame."""
