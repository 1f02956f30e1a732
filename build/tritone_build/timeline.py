"""Time in networks that look ahead, in whole signals and in streams.

A convolution that pads with zeros on both sides needs ``right`` later steps. In a stream it keeps its last
inputs and answers ``right`` steps late. The delays of all layers add up, and grow with the rate::

    signal            0 1 2 3 4 5 6 7 8 9 ...
    this call brings          |4 5 6 7|
    a layer with right = 1 answers
                            |3 4 5 6|            delay 1
    upsampling by 2 that cuts 1 step off the start answers
              |5 6 7 8 9 10 11 12|               delay 1 * 2 + 1, in steps of the new rate

A layer also answers for times outside the signal: for the steps before its first one, and for as long as a
stream is flushed. There the next layer of the whole network pads with zeros. So every padded layer first sets
its input to zero outside the signal: a step is kept where 0 <= t < length. This one rule serves the start of
a stream, its end, and rows of a batch that are shorter than the longest one. It is exact: where no step is
cut into, a padded row gives the same bits as the row alone.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Clock", "Timeline", "padded"]

_NO_END = 1 << 40
"""In frames, the end of a stream that has not ended."""


def padded(x: Tensor, before: int, after: int, axis: int) -> Tensor:
    """``x`` between zeros along ``axis``."""
    return functional.pad(x, (0, 0) * (x.ndim - 1 - axis % x.ndim) + (before, after))


@dataclass(frozen=True)
class Clock:
    """Time at one layer.

    Args:
        rate: steps per frame.
        delay: how many steps a stream's answer is late: it begins that much before the call's frames.
        short: steps that a signal of L frames lacks: it has L * rate - short.
    """

    rate: int
    delay: int = 0
    short: int = 0

    def later(self, steps: int) -> "Clock":
        """The clock of a layer that answers so many steps later."""
        return replace(self, delay=self.delay + steps)

    def aligned(self, multiple: int) -> "Clock":
        """The earliest clock from this one on whose delay is a multiple."""
        return self.later(-self.delay % multiple)

    def slower(self, stride: int) -> "Clock":
        """The clock after every ``stride`` steps became one."""
        if stride == 1:
            return self
        assert self.delay % stride == self.rate % stride == self.short == 0, f"{self} by {stride}"
        return Clock(self.rate // stride, self.delay // stride)

    def faster(self, rate: int, trim: int, short: int) -> "Clock":
        """The clock after upsampling that cuts ``trim`` steps off the start and ``short`` off the end."""
        return Clock(self.rate * rate, self.delay * rate + trim, self.short * rate + short)


@dataclass(frozen=True)
class _Span:
    """Where the signals of a batch lie, in frames from the first one of this call, INT64 [B, 1].

    ``begin`` is 0, or negative in a stream that has begun before; ``end`` is one past the last frame.
    """

    begin: Tensor
    end: Tensor

    def mask(self, clock: Clock, steps: int) -> Tensor:
        """BOOL [B, steps], true within the signal."""
        time = torch.arange(steps) - clock.delay
        return (time >= self.begin * clock.rate) & (time < self.end * clock.rate - clock.short)


class Past(Protocol):
    """What the timeline needs of :class:`tritone_build.state.State`."""

    def extend(self, layer: nn.Module, x: Tensor, width: int, axis: int = -1) -> Tensor:
        """The last ``width`` steps of earlier calls, followed by ``x``."""
        ...

    def reserve(self, layer: nn.Module, x: Tensor, width: int, axis: int) -> None:
        """Record the tail of a stream where the whole signal needs none."""
        ...

    def entry(self, layer: nn.Module, kind: str, like: Tensor) -> Tensor:
        """The value that the previous call left; zeros if there was none."""
        ...

    def store(self, layer: nn.Module, kind: str, value: Tensor) -> None:
        """Leave a value for the next call."""
        ...


class Timeline:
    """Time in one call of a network that looks ahead.

    Args:
        past: the state of the network.
        streaming: whether the call continues a stream; otherwise it brings whole signals.
        frames: how many frames of this call lie within each row's signal, INT64 [B, 1]; None for all. A
            stream's signal ends with the first frame that lies outside.
    """

    def __init__(self, past: Past, streaming: bool, frames: Tensor | None):
        self._past, self._streaming, self._frames = past, streaming, frames
        self._span: _Span | None = None
        self._masks: dict[Clock, Tensor] = {}
        self.clock = Clock(1)
        self._goes_on: Tensor | None = None

    def begin(self, network: nn.Module, x: Tensor, rate: int, axis: int = -1) -> None:
        """Start the clock.

        Args:
            network: the network that asks.
            x: its input, any shape [B, ...] with ``rate`` steps per frame along ``axis``.
            rate: steps per frame.
            axis: the time axis.
        """
        self.clock, count = Clock(rate), x.shape[axis] // rate
        zero = torch.zeros_like(x.flatten(1)[:, :1], dtype=torch.int64)
        frames = zero + count if self._frames is None else self._frames
        before, over = (self._past.entry(network, kind, zero) for kind in ("frames", "over"))
        end = torch.where(over > 0, -over, torch.where(frames < count, frames, _NO_END))
        self._past.store(network, "frames", before + count)
        self._past.store(network, "over", (count - end).clamp(min=0))
        self._span = _Span(-before, end) if self._streaming else _Span(zero, frames)
        self._goes_on = ((over > 0) & (frames > 0))[:, 0]

    def end_where(self, over: Tensor) -> Tensor:
        """End signals before their first frame that is ``over``, BOOL [B, T]; call this before the network.

        Returns:
            BOOL [B]: rows in which no frame of the signal follows one that is over.
        """
        self._frames = (~over).sum(1, keepdim=True)
        return (over == (torch.arange(over.shape[1]) >= self._frames)).all(1)

    @property
    def goes_on(self) -> Tensor:
        """BOOL [B]: streams that bring frames of a signal that ended in an earlier call."""
        assert self._goes_on is not None, "the network must begin its clock first"
        return self._goes_on

    def within(self, x: Tensor, axis: int = -1) -> Tensor:
        """``x``, with zeros outside the signal."""
        assert self._span is not None, "the network must begin its clock first"
        clock = self.clock if self._streaming else replace(self.clock, delay=0)
        if not self._streaming and self._frames is None and not clock.short:
            return x
        if clock not in self._masks:
            self._masks[clock] = self._span.mask(clock, x.shape[axis])
        mask = self._masks[clock].to(x.dtype)
        return x * mask.reshape(mask.shape[0], *(-1 if n == axis % x.ndim else 1 for n in range(1, x.ndim)))

    def places(self, steps: int, period: int) -> Tensor:
        """Places of the steps in a table of ``period`` entries that repeats over time, INT64 [B, steps].

        Places of steps outside the signal have no meaning.
        """
        assert self._span is not None, "the network must begin its clock first"
        delay = self.clock.delay if self._streaming else 0
        return torch.remainder(torch.arange(steps) - delay - self._span.begin * self.clock.rate, period)

    def surround(
        self, layer: nn.Module, x: Tensor, left: int, right: int, stride: int = 1, axis: int = -1
    ) -> Tensor:
        """Return ``x`` between the zeros that a convolution pads with on both sides.

        In a stream, the last steps of earlier calls come before ``x`` instead, and the layer answers
        ``right`` steps late; with a stride, so late that its steps begin where they do in the whole signal.

        Args:
            layer: the layer that asks.
            x: any shape, with time along ``axis``.
            left: steps wanted before the first step of a signal.
            right: steps wanted after its last step.
            stride: of the layer, whose output the clock then counts.
            axis: the time axis.
        """
        x, before = self.within(x, axis), self.clock
        late = before.later(right).aligned(stride)
        self.clock = late.slower(stride)
        width = left + late.delay - before.delay
        if self._streaming:
            return self._past.extend(layer, x, width, axis)
        self._past.reserve(layer, x, width, axis)
        return padded(x, left, right, axis)

    def upsampled(
        self, layer: nn.Module, x: Tensor, rate: int, trim: int, short: int, axis: int = -1
    ) -> tuple[Tensor, int]:
        """Return the frames that a transposed convolution with kernel 2r and stride r needs of ``x``.

        These are one step before ``x`` and, for a whole signal, one after it. The clock then counts the
        layer's output.

        Args:
            layer: the layer that asks.
            x: any shape, with time along ``axis``.
            rate: r.
            trim: output steps that are cut off the start.
            short: output steps that a signal of T steps lacks at its end: it has T * r - short.
            axis: the time axis.

        Returns:
            The frames, and how many steps to cut off the start of what they give: none in a stream.
        """
        x = self.within(x, axis)
        self.clock = self.clock.faster(rate, trim, short)
        if self._streaming:
            return self._past.extend(layer, x, 1, axis), 0
        self._past.reserve(layer, x, 1, axis)
        return padded(x, 1, 1, axis), trim

    def delayed(self, layer: nn.Module, x: Tensor, since: Clock, axis: int = -1) -> Tensor:
        """Return ``x``, which belongs to the clock ``since``, as late as the present clock."""
        steps = self.clock.delay - since.delay
        if steps == 0:
            return x
        if self._streaming:
            return self._past.extend(layer, x, steps, axis).narrow(axis, 0, x.shape[axis])
        self._past.reserve(layer, x, steps, axis)
        return x

    def ended(self, x: Tensor, axis: int = -1) -> Tensor:
        """Return a whole signal without the steps that it lacks of whole frames; a stream as it is."""
        short = 0 if self._streaming else self.clock.short
        return x.narrow(axis, 0, x.shape[axis] - short) if short else x

    def aligned(self, layer: nn.Module, x: Tensor, multiple: int, axis: int = -1) -> Tensor:
        """Return ``x`` so late that it begins at a multiple of so many steps of the signal."""
        since, self.clock = self.clock, self.clock.aligned(multiple)
        return self.delayed(layer, x, since, axis)
