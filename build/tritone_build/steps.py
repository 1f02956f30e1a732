r"""One call of a live stream as a model: its network, with the past of many streams at hand.

The past of all streams lies in a few tensors with one row per stream. A step picks the rows of the
streams in its batch and gives back what is new, for the server to write once all has gone well::

    tokens [B, K, T] -----\                       /--> audio [B, T * hop], valid [B]
    slot [B] --------------> [  network, State  ] ---> next_<part>  [B, ...]
    past_<part> [slots, ...] /                    \--> at_<n>       [B, T']   places in rings

Rows of rings are large and nearly all of a ring stays as it is, so ``next`` of a ring holds its new
steps only. Names are ``past_`` and ``next_`` before one stem: both lists sort alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor, nn

from tritone_build.codecs.base import Codec, first_codebooks
from tritone_build.state import Entry, Ring, State

__all__ = ["DecodeStep", "EncodeStep", "Packing", "Step", "packing_of"]


@dataclass(frozen=True)
class Part:
    """One state tensor of a model and the entries of the network's state that lie in it.

    ``places`` names the output that says where a ring's new steps belong.
    """

    name: str
    entries: tuple[Entry, ...]
    places: str | None = None

    @property
    def ring(self) -> Ring | None:
        """Of the tensor, where its entries are rings."""
        ring = self.entries[0].ring
        return None if ring is None else replace(ring, axis=ring.axis + 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Without the axis of streams: all numbers in a row, or one ring per layer."""
        if self.ring is not None:
            return (len(self.entries), *self.entries[0].shape)
        return (sum(prod(entry.shape) for entry in self.entries),)

    @property
    def dtype(self) -> torch.dtype:
        """Of all entries."""
        return self.entries[0].dtype

    def rows(self, past: Tensor, slot: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The entries of the streams in ``slot``."""
        if self.ring is not None:
            rings, first = past.flatten(0, 1), slot * len(self.entries)
            for layer, entry in enumerate(self.entries):
                yield entry.name, rings.index_select(0, first + layer)
            return
        rows = past.index_select(0, slot)
        pieces = torch.split(rows, [prod(entry.shape) for entry in self.entries], dim=1)
        for entry, piece in zip(self.entries, pieces, strict=True):
            yield entry.name, piece.reshape(-1, *entry.shape)

    def joined(self, left: Mapping[str, Tensor]) -> Tensor:
        """What the network left of these entries."""
        values = [left[entry.name] for entry in self.entries]
        if self.ring is not None:
            return torch.stack(values, dim=1)
        return torch.cat([value.flatten(1) for value in values], dim=1)


@dataclass(frozen=True)
class Packing:
    """The state of one network in a few tensors; ``places`` are the outputs that belong to rings."""

    parts: tuple[Part, ...]
    places: Mapping[str, tuple[str, int]]

    @property
    def state_bytes(self) -> int:
        """Memory of one stream."""
        return sum(prod(part.shape) * part.dtype.itemsize for part in self.parts)

    def state(self, network: nn.Module, pasts: Sequence[Tensor], slot: Tensor) -> State:
        """The state of the streams in ``slot``."""
        past = dict(row for part, t in zip(self.parts, pasts, strict=True) for row in part.rows(t, slot))
        return State(network, past)

    def left(self, state: State) -> tuple[Tensor, ...]:
        """``next`` of every part, then the places of rings."""
        places = (state.places[key] for key in self.places.values())
        return (*(part.joined(state.next) for part in self.parts), *places)


def packing_of(entries: Sequence[Entry]) -> Packing:
    """Pack entries: tails in one tensor, counts in one, rings of one shape and count stacked."""
    groups: dict[tuple[str, tuple[int, ...], Ring | None], list[Entry]] = {}
    for entry in entries:
        kind = "counts" if entry.dtype == torch.int64 else "tails"
        if entry.ring is not None:
            kind = entry.name.rpartition(".")[2]
        groups.setdefault((kind, entry.shape if entry.ring else (), entry.ring), []).append(entry)
    rings = list(dict.fromkeys((ring.count, ring.capacity) for _, _, ring in groups if ring is not None))
    places = {f"at_{number}": key for number, key in enumerate(rings)}
    parts = []
    for (kind, _, ring), packed in groups.items():
        if ring is None:
            parts.append(Part(kind, tuple(packed)))
        else:
            number = rings.index((ring.count, ring.capacity))
            parts.append(Part(f"{kind}_{number}", tuple(packed), f"at_{number}"))
    return Packing(tuple(sorted(parts, key=lambda part: part.name)), places)


def _entries_of(network: nn.Module, frame: Tensor) -> list[Entry]:
    with torch.no_grad():
        state = State(network)
        network(frame, state)
    return state.entries


class Step(nn.Module):
    """One call of live streams; ``rule`` says what a row that is not ``valid`` broke."""

    packing: Packing
    rule: str


class DecodeStep(Step):
    """See the module; a row with a token out of range gives NaN and is not valid."""

    def __init__(self, codec: Codec):
        super().__init__()
        g = codec.geometry
        self.geometry, self.quantizer, self.decoder = g, codec.quantizer, codec.decoder
        self.packing = packing_of(_entries_of(codec.decoder, torch.zeros(1, g.latent_dim, 1)))
        self.rule = f"tokens must be in 0..{g.codebook_size - 1}"

    def forward(self, tokens: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """See the module."""
        slot, *pasts = others
        state = self.packing.state(self.decoder, pasts, slot)
        in_range = (tokens >= 0) & (tokens < self.geometry.codebook_size)
        valid = in_range.flatten(1).all(1)
        latent = self.quantizer.dequantize(torch.where(in_range, tokens, 0))
        audio = torch.where(valid[:, None], self.decoder(latent, state), torch.nan)
        return (audio, valid, *self.packing.left(state))


class EncodeStep(Step):
    """The same the other way: audio [B, n * hop] -> tokens [B, K, n]; audio must be finite.

    Where the codec allows fewer codebooks, K is the second input, INT64 [1, 1].
    """

    def __init__(self, codec: Codec):
        super().__init__()
        self.geometry, self.quantizer, self.encoder = codec.geometry, codec.quantizer, codec.encoder
        self.packing = packing_of(
            _entries_of(codec.encoder, torch.zeros(1, 1, codec.geometry.samples_per_frame))
        )
        self.rule = "audio must be finite: no NaN, no infinity"
        if self.takes_count:
            self.rule += f"; num_codebooks must be in 1..{codec.geometry.num_codebooks}"

    @property
    def takes_count(self) -> bool:
        """Whether the caller chooses the number of codebooks."""
        return self.geometry.min_codebooks < self.geometry.num_codebooks

    def forward(self, audio: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """See the module."""
        counts, (slot, *pasts) = others[: self.takes_count], others[self.takes_count :]
        state = self.packing.state(self.encoder, pasts, slot)
        finite = torch.isfinite(audio)
        valid = finite.all(1)
        tokens = self.quantizer.quantize(self.encoder(torch.where(finite, audio, 0.0)[:, None], state))
        for count in counts:
            most = self.geometry.num_codebooks
            valid = valid & ((count >= 1) & (count <= most))[:, 0]
            tokens = first_codebooks(tokens, count.clamp(1, most))
        return (tokens, valid, *self.packing.left(state))
