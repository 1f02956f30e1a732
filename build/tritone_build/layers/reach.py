"""The receptive field of a network, in steps of past and future, computed from its layers."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Protocol, TypeAlias, runtime_checkable

from torch import nn

__all__ = ["Reach", "reach_of", "shortest_input"]

Reach: TypeAlias = tuple[int, int]
"""Number of steps before and after a step that influence it."""


@runtime_checkable
class HasReach(Protocol):
    """A layer whose output depends on neighbouring steps."""

    def reach(self, past: int, future: int) -> Reach:
        """Return the reach at the input, given a reach of ``past`` and ``future`` steps at the output."""
        ...


def reach_of(layers: Iterable[nn.Module], past: int = 0, future: int = 0) -> Reach:
    """Return the reach at the input of a chain; layers without ``reach`` treat each step alone."""
    for layer in reversed(list(layers)):
        if isinstance(layer, HasReach):
            past, future = layer.reach(past, future)
    return past, future


def shortest_input(layers: Iterable[nn.Module], rate: Fraction = Fraction(1)) -> int:
    """Return the fewest frames that a chain takes; layers that reflect need more steps than they pad.

    Args:
        layers: the chain, first layer first; a layer may have ``rate_change`` (output steps per
            input step) and ``fewest_steps`` (the fewest steps it takes).
        rate: steps per frame at the input of the chain.
    """
    fewest = 1
    for layer in layers:
        steps = getattr(layer, "fewest_steps", 1)
        fewest = max(fewest, -(-steps * rate.denominator // rate.numerator))
        rate *= getattr(layer, "rate_change", 1)
    return fewest
