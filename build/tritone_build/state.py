"""The past of a stream, handed to layers by their name.

A causal network run over a whole signal from an empty past *is* the offline network, so there is one
``forward(x, state)`` for both. A layer asks its state for the past it needs and leaves the new one
there; a state without a past pads, and notes what was asked: that list is the stream's state.

Zero means fresh, for every entry: a server starts a stream by clearing its memory, and streams of any
age share a batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["TURN", "Count", "Edge", "Entry", "Ring", "Segment", "State", "Window", "ring_capacity", "whole"]

Edge: TypeAlias = Literal["zeros", "replicate"]

TURN = 1 << 32
"""Counts turn over here: rotary phases and places in a ring repeat after so many steps."""
_ALWAYS = 1 << 24
"""A count that has passed this many steps never falls below it again."""


def ring_capacity(context: int) -> int:
    """Steps kept for a window of ``context`` steps: a power of two, so that it divides ``TURN``."""
    return 1 << (context - 1).bit_length()


@dataclass(frozen=True)
class Entry:
    """One tensor of a stream's state: shape without the batch; ``ring`` where it is one.

    A ring's next value holds the steps of the last call only, which belong at the ring's places.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    ring: "Ring | None" = None


@dataclass(frozen=True)
class Ring:
    """Where a ring turns: its axis, without the batch, its length, and which count says how far."""

    axis: int
    capacity: int
    count: str


@dataclass(frozen=True)
class Count:
    """Steps of the calls before this one, INT64 [B, 1], and the name of who counts."""

    name: str
    before: Tensor


@dataclass(frozen=True)
class Segment:
    """Keys [B, H, D, N], values [B, H, N, D] and bias [B, 1, T, N]: 0 where visible, else -inf."""

    keys: Tensor
    values: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Window:
    """Which steps can be seen: one bias [B or 1, 1, T, N] for the ring, unless fresh, one for this call."""

    count: Count
    capacity: int
    biases: tuple[Tensor, ...]


class State:
    """What the layers of one network remember between two calls.

    ``next`` is what a call leaves, by entry; ``places`` says for rings of one count and capacity where
    their new steps belong, INT64 [B, T]; ``entries`` lists all in the order they were asked for.

    Args:
        network: whose layers will ask; their qualified names name the entries.
        past: what the call before left, rings complete; None for a fresh stream.
    """

    def __init__(self, network: nn.Module, past: Mapping[str, Tensor] | None = None):
        self._names = {module: name for name, module in network.named_modules()}
        self._past = past
        self.next: dict[str, Tensor] = {}
        self.places: dict[tuple[str, int], Tensor] = {}
        self.entries: list[Entry] = []

    def extend(self, layer: nn.Module, x: Tensor, width: int, axis: int = -1, edge: Edge = "zeros") -> Tensor:
        """The last ``width`` steps of the calls before, then ``x``.

        Args:
            layer: that asks.
            x: any shape, time along ``axis``.
            width: steps wanted before the first of x; 0 stores nothing.
            axis: of time.
            edge: what came before the first step of a stream: zeros, or that step repeated.
        """
        if width == 0:
            return x
        if self._past is None and edge == "zeros":
            extended = _pad_before(x, width, axis)
        else:
            extended = torch.cat([self._tail(layer, x, width, axis, edge), x], axis)
        self._leave(layer, "tail", extended.narrow(axis, x.shape[axis], width))
        return extended

    def _tail(self, layer: nn.Module, x: Tensor, width: int, axis: int, edge: Edge) -> Tensor:
        first = x.narrow(axis, 0, 1)
        started = self.count(layer, x.shape[axis], x).before > 0 if edge == "replicate" else None
        if self._past is None:
            return first.expand([width if n == axis % x.ndim else -1 for n in range(x.ndim)])
        tail = self._past[self._name(layer, "tail")]
        if started is None:
            return tail
        return torch.where(started.reshape(-1, *(1,) * (x.ndim - 1)), tail, first)

    def count(self, layer: nn.Module, steps: int, like: Tensor) -> Count:
        """Steps of the calls before, modulo ``TURN``; never small again once it was large.

        Args:
            layer: that asks.
            steps: of this call.
            like: any tensor [B, ...] of this call.
        """
        if self._past is None:
            before = torch.zeros_like(like.flatten(1)[:, :1], dtype=torch.int64)
        else:
            before = self._past[self._name(layer, "count")]
        after = before + steps
        self._leave(layer, "count", torch.where(after >= TURN + _ALWAYS, after - TURN, after))
        return Count(self._name(layer, "count"), before)

    def window(self, layer: nn.Module, steps: int, context: int, like: Tensor) -> Window:
        """What the steps of this call may see: at most ``context`` steps each, their own included.

        Args:
            layer: that asks, on behalf of all attention under it.
            steps: of this call.
            context: steps a step can see.
            like: any tensor [B, ...] of this call.
        """
        count, capacity, step = self.count(layer, steps, like), ring_capacity(context), torch.arange(steps)
        self.places[count.name, capacity] = torch.remainder(count.before + step, capacity)
        age = step[:, None] - step
        biases = [_bias((age >= 0) & (age < context))[None, None]]
        if self._past is not None:
            # The step in place n of the ring is this many before the first of this call.
            age = torch.remainder(count.before - 1 - torch.arange(capacity), capacity) + 1
            seen = (age <= count.before)[:, None, None] & (step[:, None] + age[:, None, None] < context)
            biases.insert(0, _bias(seen))
        return Window(count, capacity, tuple(biases))

    def look_back(self, layer: nn.Module, keys: Tensor, values: Tensor, window: Window) -> list[Segment]:
        """Keys and values of the steps in the window, those of this call last.

        Args:
            layer: that asks.
            keys: [B, H, D, T] of this call.
            values: [B, H, T, D] of this call.
            window: of :meth:`window`.
        """
        self._leave(layer, "keys", keys, Ring(2, window.capacity, window.count.name))
        self._leave(layer, "values", values, Ring(1, window.capacity, window.count.name))
        pairs = [(keys, values)]
        if self._past is not None:
            past_keys, past_values = (self._past[self._name(layer, kind)] for kind in ("keys", "values"))
            pairs.insert(0, (past_keys, past_values))
        return [Segment(*pair, bias) for pair, bias in zip(pairs, window.biases, strict=True)]

    def _name(self, layer: nn.Module, kind: str) -> str:
        return f"{self._names[layer]}.{kind}"

    def _leave(self, layer: nn.Module, kind: str, value: Tensor, ring: Ring | None = None) -> None:
        name, shape = self._name(layer, kind), list(value.shape[1:])
        if name in self.next:
            raise ValueError(f"{name}: a layer may ask once per call")
        if ring is not None:
            shape[ring.axis] = ring.capacity
        self.next[name] = value
        self.entries.append(Entry(name, tuple(shape), value.dtype, ring))


def whole(network: nn.Module, x: Tensor) -> Tensor:
    """A network over a signal from start to end."""
    y: Tensor = network(x, State(network))
    return y


def _pad_before(x: Tensor, width: int, axis: int) -> Tensor:
    after = x.ndim - 1 - axis % x.ndim
    return functional.pad(x, (0, 0) * after + (width, 0))


def _bias(visible: Tensor) -> Tensor:
    return torch.where(visible, 0.0, -torch.inf)
