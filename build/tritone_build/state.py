"""The state of a stream: the past that each layer needs, by the layer's name.

A causal network that runs over a whole signal from an empty state *is* the offline network, so one
``forward(x, state)`` serves both. A layer asks the state for the past it needs and leaves the new past
there. A fresh state pads instead. Every request is recorded; this record defines the state tensors.

Zero means fresh, for every entry: a server starts a stream by clearing its memory, and streams of any
age share a batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import lcm
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from tritone_build.timeline import Timeline, padded

__all__ = ["TURN", "Count", "Edge", "Entry", "Ring", "Segment", "State", "Window", "ring_capacity", "whole"]

Edge: TypeAlias = Literal["zeros", "replicate"]

TURN = 1 << 32
"""Period of rotary phases: they repeat after this many steps."""
_ALWAYS = 1 << 24
"""A count that has reached this value never falls below it again, so an old stream never looks fresh."""
_MULTIPLE = 8
"""Rings are a multiple of this many steps long, so that rows of keys begin at multiples of 16 bytes."""


def ring_capacity(context: int) -> int:
    """Length of the ring for a window of ``context`` steps, which are at most ``context - 1`` past ones."""
    return max(1, -(-(context - 1) // _MULTIPLE)) * _MULTIPLE


@dataclass(frozen=True)
class Entry:
    """One tensor of a stream's state; ``shape`` has no batch axis, ``ring`` is set for a ring buffer.

    The next value of a ring holds only the steps of the last call; :attr:`State.places` says where they go.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    ring: "Ring | None" = None


@dataclass(frozen=True)
class Ring:
    """A ring buffer: its time axis (not counting the batch), its length, and the name of its step count."""

    axis: int
    capacity: int
    count: str


@dataclass(frozen=True)
class Count:
    """Steps of all earlier calls, INT64 [B, 1], modulo ``period``, and the name of the entry for them."""

    name: str
    before: Tensor
    period: int

    def within_turn(self) -> Tensor:
        """Steps of all earlier calls modulo ``TURN``, so that products with 32 bit numbers fit INT64."""
        return self.before if self.period == TURN else torch.remainder(self.before, TURN)


@dataclass(frozen=True)
class Segment:
    """Keys [B, H, D, N], values [B, H, N, D] and attention bias [B, 1, T, N]: 0 if visible, else -inf."""

    keys: Tensor
    values: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Window:
    """Visible steps as biases [B or 1, 1, T, N]: of the ring (unless fresh), then of this call."""

    count: Count
    capacity: int
    biases: tuple[Tensor, ...]


class State:
    """The state of one network between two calls.

    ``next`` holds the new state by entry name. ``places`` holds, by count and capacity of a ring, where its
    new steps go, INT64 [B, T]. ``entries`` lists all entries in the order of the requests. ``timeline`` is
    for networks that look ahead.

    Args:
        network: the network whose layers will ask; entries are named after the layers' qualified names.
        past: the state that the previous call left, with complete rings; None for a fresh stream.
        frames: see :class:`tritone_build.timeline.Timeline`; a causal network needs none.
    """

    def __init__(
        self, network: nn.Module, past: Mapping[str, Tensor] | None = None, frames: Tensor | None = None
    ):
        self._names = {module: name for name, module in network.named_modules()}
        self._past = past
        self.timeline = Timeline(self, past is not None, frames)
        self.next: dict[str, Tensor] = {}
        self.places: dict[tuple[str, int], Tensor] = {}
        self.entries: list[Entry] = []

    def extend(self, layer: nn.Module, x: Tensor, width: int, axis: int = -1, edge: Edge = "zeros") -> Tensor:
        """Return the last ``width`` steps of earlier calls, followed by ``x``.

        Args:
            layer: the layer that asks.
            x: any shape, with time along ``axis``.
            width: steps wanted before the first step of x; 0 stores nothing.
            axis: the time axis.
            edge: padding before the first step of a stream: zeros, or that step repeated.
        """
        if width == 0:
            return x
        if self._past is None and edge == "zeros":
            extended = padded(x, width, 0, axis)
        else:
            extended = torch.cat([self._tail(layer, x, width, axis, edge), x], axis)
        self.store(layer, "tail", extended.narrow(axis, x.shape[axis], width))
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

    def count(self, layer: nn.Module, steps: int, like: Tensor, period: int = TURN) -> Count:
        """Count the steps of earlier calls, modulo ``period``; a large count never becomes small again.

        Args:
            layer: the layer that asks.
            steps: number of steps in this call.
            like: any tensor [B, ...] of this call, for batch size and device.
            period: a multiple of ``TURN``.
        """
        if self._past is None:
            before = torch.zeros_like(like.flatten(1)[:, :1], dtype=torch.int64)
        else:
            before = self._past[self._name(layer, "count")]
        after = before + steps
        self.store(layer, "count", torch.where(after >= period + _ALWAYS, after - period, after))
        return Count(self._name(layer, "count"), before, period)

    def window(self, layer: nn.Module, steps: int, context: int, like: Tensor) -> Window:
        """Return which steps each step of this call can see: the last ``context`` steps, itself included.

        Args:
            layer: the layer that asks, on behalf of all attention layers under it.
            steps: number of steps in this call.
            context: number of steps that a step can see.
            like: any tensor [B, ...] of this call, for batch size and device.
        """
        capacity = ring_capacity(context)
        # Rotary phases and places in the ring both continue where the count begins again.
        count, step = self.count(layer, steps, like, lcm(TURN, capacity)), torch.arange(steps)
        self.places[count.name, capacity] = torch.remainder(count.before + step, capacity)
        age = step[:, None] - step
        biases = [_bias((age >= 0) & (age < context))[None, None]]
        if self._past is not None:
            # How many steps the entry in place n of the ring lies before the first step of this call.
            age = torch.remainder(count.before - 1 - torch.arange(capacity), capacity) + 1
            seen = (age <= count.before)[:, None, None] & (step[:, None] + age[:, None, None] < context)
            biases.insert(0, _bias(seen))
        return Window(count, capacity, tuple(biases))

    def look_back(self, layer: nn.Module, keys: Tensor, values: Tensor, window: Window) -> list[Segment]:
        """Return keys and values of the steps in the window; those of this call come last.

        Args:
            layer: the layer that asks.
            keys: [B, H, D, T] of this call.
            values: [B, H, T, D] of this call.
            window: the result of :meth:`window`.
        """
        self.store(layer, "keys", keys, Ring(2, window.capacity, window.count.name))
        self.store(layer, "values", values, Ring(1, window.capacity, window.count.name))
        pairs = [(keys, values)]
        if self._past is not None:
            past_keys, past_values = (self._past[self._name(layer, kind)] for kind in ("keys", "values"))
            pairs.insert(0, (past_keys, past_values))
        return [Segment(*pair, bias) for pair, bias in zip(pairs, window.biases, strict=True)]

    def reserve(self, layer: nn.Module, x: Tensor, width: int, axis: int) -> None:
        """Record a tail of ``width`` steps like ``x``, for a layer that needs it in streams only."""
        if width:
            sizes = [width if n == axis % x.ndim else -1 for n in range(x.ndim)]
            self.store(layer, "tail", x.narrow(axis, 0, 1).expand(sizes))

    def entry(self, layer: nn.Module, kind: str, like: Tensor) -> Tensor:
        """The entry that the previous call left; zeros ``like`` it in a fresh stream."""
        return torch.zeros_like(like) if self._past is None else self._past[self._name(layer, kind)]

    def _name(self, layer: nn.Module, kind: str) -> str:
        return f"{self._names[layer]}.{kind}"

    def store(self, layer: nn.Module, kind: str, value: Tensor, ring: Ring | None = None) -> None:
        """Leave an entry for the next call."""
        name, shape = self._name(layer, kind), list(value.shape[1:])
        if name in self.next:
            raise ValueError(f"{name}: the layer asked its state twice; a layer may ask once per call")
        if ring is not None:
            shape[ring.axis] = ring.capacity
        self.next[name] = value
        self.entries.append(Entry(name, tuple(shape), value.dtype, ring))


def whole(network: nn.Module, x: Tensor, frames: Tensor | None = None) -> Tensor:
    """Run a network over whole signals, from a fresh state; ``frames`` INT64 [B, 1] are their lengths."""
    y: Tensor = network(x, State(network, frames=frames))
    return y


def _bias(visible: Tensor) -> Tensor:
    return torch.where(visible, 0.0, -torch.inf)
