r"""The step of live streams as a model: one call of the network for the streams of a batch.

The state of all streams lies in a few tensors with one row per stream. A step reads the rows of the streams
in its batch and returns the new state, which the server writes after the run has succeeded::

    tokens [B, K, T] -----\                       /--> audio [B, T * hop], valid [B]
    slot [B] --------------> [  network, State  ] ---> next_<part>  [B, ...]
    past_<part> [slots, ...] /                    \--> at_<n>       [B, T']   places in rings

A ring is large and nearly all of it stays as it is, so ``next`` of a ring holds only its new steps. The
names are ``past_`` and ``next_`` before the same stem, so both lists sort alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tritone_build.codecs.base import Codec
from tritone_build.codecs.stateless import quantized
from tritone_build.layers.wide import widened
from tritone_build.state import Entry, Ring, State

__all__ = ["DecodeStep", "EncodeStep", "ImplicitStateStep", "Packing", "Step", "packing_of"]


@dataclass(frozen=True)
class Part:
    """One state tensor of a model, and the entries of the network's state that are packed into it.

    ``places`` names the output that says where the new steps of a ring go.
    """

    name: str
    entries: tuple[Entry, ...]
    places: str | None = None

    @property
    def ring(self) -> Ring | None:
        """The ring of the packed tensor, or None if its entries are no rings."""
        ring = self.entries[0].ring
        return None if ring is None else replace(ring, axis=ring.axis + 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape without the axis of streams: all entries flattened into one row, or one ring per layer."""
        if self.ring is not None:
            return (len(self.entries), *self.entries[0].shape)
        return (sum(prod(entry.shape) for entry in self.entries),)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of all entries."""
        return self.entries[0].dtype

    def unpacked(self, past: Tensor, slot: Tensor | None) -> Iterator[tuple[str, Tensor]]:
        """Yield the entries of the streams in ``slot``; with None, those of all rows in order."""
        if self.ring is not None:
            rings = past.flatten(0, 1)
            for layer, entry in enumerate(self.entries):
                if slot is None:
                    yield entry.name, past.select(1, layer)
                else:
                    yield entry.name, rings.index_select(0, slot * len(self.entries) + layer)
            return
        rows = past if slot is None else past.index_select(0, slot)
        pieces = torch.split(rows, [prod(entry.shape) for entry in self.entries], dim=1)
        for entry, piece in zip(self.entries, pieces, strict=True):
            yield entry.name, piece.reshape(-1, *entry.shape)

    def packed(self, entries: Mapping[str, Tensor]) -> Tensor:
        """Pack the new values of the entries into one tensor."""
        values = [entries[entry.name] for entry in self.entries]
        if self.ring is not None:
            return torch.stack(values, dim=1)
        return torch.cat([value.flatten(1) for value in values], dim=1)

    def with_new_steps(self, past: Tensor, new: Tensor, places: Tensor) -> Tensor:
        """Put new steps into rings [B, layers, ...] at ``places`` INT64 [B, T]; the last wins.

        A product with zeros and ones would need more than half as much memory again.
        """
        assert self.ring is not None
        axis, steps = self.ring.axis + 1, places.shape[1]
        # A scatter has no order: steps that share a place must all have the values of the last of them.
        last = steps - 1
        latest = last - torch.remainder(last - torch.arange(steps), self.ring.capacity)
        new = new.index_select(axis, latest)
        index = places.reshape([-1 if n == 0 else steps if n == axis else 1 for n in range(new.ndim)])
        return past.scatter(axis, index.expand(new.shape), new)


@dataclass(frozen=True)
class Packing:
    """The state of one network in a few tensors; ``places`` maps outputs to (count, capacity) of rings."""

    parts: tuple[Part, ...]
    places: Mapping[str, tuple[str, int]]

    @property
    def state_bytes(self) -> int:
        """Size of the state of one stream."""
        return sum(prod(part.shape) * part.dtype.itemsize for part in self.parts)

    def state(self, network: nn.Module, pasts: Sequence[Tensor], slot: Tensor | None) -> State:
        """Unpack the state of the streams in ``slot``; with None, of all rows in order."""
        past = dict(row for part, t in zip(self.parts, pasts, strict=True) for row in part.unpacked(t, slot))
        return State(network, past)

    def next_by_slot(self, state: State) -> tuple[Tensor, ...]:
        """Return the new values of every part, then the places of the rings' new steps."""
        places = (state.places[key] for key in self.places.values())
        return (*(part.packed(state.next) for part in self.parts), *places)

    def next_by_row(self, state: State, pasts: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the new state of every part, with complete rings."""
        whole = []
        for part, past in zip(self.parts, pasts, strict=True):
            new = part.packed(state.next)
            places = None if part.places is None else state.places[self.places[part.places]]
            whole.append(new if places is None else part.with_new_steps(past, new, places))
        return tuple(whole)


def packing_of(entries: Sequence[Entry]) -> Packing:
    """Pack entries: all tails in one tensor, all counts in one, rings of equal shape and count stacked."""
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


def _entries_and_flop(network: nn.Module, frame: Tensor) -> tuple[list[Entry], int]:
    """The entries of the network's state, and the floating-point operations of one frame."""
    state = State(network)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(frame, state)
    return state.entries, counter.get_total_flops()


class Step(nn.Module):
    """A step of live streams whose state lies in numbered rows (slots).

    Rows that break ``rule`` are marked in the output ``valid``. The ``num_options`` inputs after the data are
    shared by all rows. ``flop_per_weight_byte`` says how much a row computes with each byte of weights (FP32)
    that it reads.
    """

    num_options = 0

    def __init__(self, codec: Codec, network: nn.Module, frame: Tensor, rule: str):
        super().__init__()
        self.geometry, self.quantizer, self.dtype = codec.geometry, codec.quantizer, codec.dtype
        self.network, self.rule = network, rule
        entries, flop = _entries_and_flop(network, frame.to(codec.dtype))
        self.packing = packing_of(entries)
        weights = max(1, sum(weight.numel() for weight in network.parameters()))
        self.flop_per_weight_byte = flop / (weights * torch.float32.itemsize)

    def run_network(self, data: Tensor, options: Sequence[Tensor], state: State) -> tuple[Tensor, Tensor]:
        """Return the output for the data, and BOOL [B]: the rows that keep the rule."""
        raise NotImplementedError

    def forward(self, data: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """See the module."""
        options, (slot, *pasts) = others[: self.num_options], others[self.num_options :]
        state = self.packing.state(self.network, pasts, slot)
        return (*self.run_network(data, options, state), *self.packing.next_by_slot(state))


class DecodeStep(Step):
    """Tokens [B, K, T] -> audio [B, T * hop], or [B, C, T * hop]; NaN in the rows with a token out of range.

    C is the number of channels if there is more than one. A decoder that looks ahead is late; frames of -1
    after the last one of a stream make it answer for the frames before.
    """

    def __init__(self, codec: Codec):
        g = codec.geometry
        rule = f"tokens must be in 0..{g.codebook_size - 1}"
        if g.delay_samples:
            rule += ", or -1 in all of a frame after the stream's last one"
        super().__init__(codec, codec.decoder, torch.zeros(1, g.latent_dim, 1), rule)
        self.late = g.delay_samples > 0

    def run_network(self, data: Tensor, options: Sequence[Tensor], state: State) -> tuple[Tensor, Tensor]:
        """See the class."""
        in_range = (data >= 0) & (data < self.geometry.codebook_size)
        valid = in_range.flatten(1).all(1)
        if self.late:
            over = (data == -1).all(1)
            valid = (in_range | over[:, None]).flatten(1).all(1) & state.timeline.end_where(over)
        latent = self.quantizer.dequantize(torch.where(in_range, data, 0))
        audio = widened(self.network(latent.to(self.dtype), state))
        if self.late:
            valid = valid & ~state.timeline.goes_on
        return torch.where(valid.reshape(-1, *(1,) * (audio.ndim - 1)), audio, torch.nan), valid


class EncodeStep(Step):
    """Audio [B, n * hop], or [B, C, n * hop], -> tokens [B, K, n]; -1 in the rows with NaN or infinity.

    C is the number of channels if there is more than one. If the codec allows fewer codebooks, K is an
    option, INT64 [1, 1]; without it, or with ``choice`` False, all codebooks are returned. An encoder that
    looks ahead is late; frames of NaN after the last one of a stream make it answer for the frames before.
    """

    def __init__(self, codec: Codec, choice: bool = True):
        g = codec.geometry
        choice = choice and g.min_codebooks < g.num_codebooks
        rule = "audio must be finite: no NaN, no infinity"
        if g.encode_delay_frames:
            rule += ", but for frames of NaN after the stream's last one"
        if choice:
            rule += f"; num_codebooks must be in 1..{g.num_codebooks}"
        super().__init__(
            codec, codec.encoder, torch.zeros(1, g.num_channels, g.encode_samples_per_frame), rule
        )
        self.num_options = int(choice)
        self.late, self.hop = g.encode_delay_frames > 0, g.encode_samples_per_frame

    def run_network(self, data: Tensor, options: Sequence[Tensor], state: State) -> tuple[Tensor, Tensor]:
        """See the class."""
        finite, most = torch.isfinite(data), self.geometry.num_codebooks
        valid = finite.flatten(1).all(1)
        if self.late:
            frames = finite.reshape(data.shape[0], -1, data.shape[-1] // self.hop, self.hop)
            over = ~frames.any(3).any(1)
            valid = (frames.all(3).all(1) | over).all(1) & state.timeline.end_where(over)
        audio = torch.where(finite, data, 0.0)
        if self.geometry.num_channels == 1:
            audio = audio[:, None]
        latent = self.network(audio.to(self.dtype), state)
        if self.late:
            valid = valid & ~state.timeline.goes_on
        asked = None
        for count in options:
            valid, asked = valid & ((count >= 1) & (count <= most))[:, 0], count.clamp(1, most)
        tokens = quantized(self.quantizer, widened(latent), asked)
        return torch.where(valid[:, None, None], tokens, -1), valid


class ImplicitStateStep(nn.Module):
    r"""A step in which each row of the batch brings its whole state and takes away its whole next state.

    It is for servers that carry state as tensors (Triton's implicit state). It has no options::

        tokens [B, K, T] ----> [  network, State  ] ---> audio [B, T * hop]
        past_<part> [B, ...] /                      \--> next_<part> [B, ...]
    """

    def __init__(self, step: Step):
        super().__init__()
        self.step = step

    def forward(self, data: Tensor, *pasts: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        packing = self.step.packing
        state = packing.state(self.step.network, pasts, None)
        output, _ = self.step.run_network(data, (), state)
        return (output, *packing.next_by_row(state, pasts))
