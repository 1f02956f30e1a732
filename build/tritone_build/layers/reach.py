"""How far a network looks into the past and the future, computed from its layers."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Protocol, TypeAlias, runtime_checkable

from torch import nn

__all__ = ["Reach", "reach_of", "shortest_input"]

Reach: TypeAlias = tuple[int, int]
"""Steps before and after a step that influence it."""


@runtime_checkable
class Reaching(Protocol):
    """A layer whose output depends on neighbouring steps."""

    def reach(self, past: int, future: int) -> Reach:
        """Reach at the input that a reach of ``past`` and ``future`` steps at the output needs."""
        ...


def reach_of(layers: Iterable[nn.Module], past: int = 0, future: int = 0) -> Reach:
    """Reach at the input of a chain of layers; layers without ``reach`` work step by step."""
    for layer in reversed(list(layers)):
        if isinstance(layer, Reaching):
            past, future = layer.reach(past, future)
    return past, future


def shortest_input(layers: Iterable[nn.Module], rate: Fraction = Fraction(1)) -> int:
    """Fewest frames a chain can take, where reflecting layers need more steps than they pad.

    Args:
        layers: the chain, first layer first; a layer may have ``rate_change`` (steps out per
            step in) and ``fewest_steps`` (fewest steps it takes).
        rate: steps per frame at the input of the chain.
    """
    fewest = 1
    for layer in layers:
        steps = getattr(layer, "fewest_steps", 1)
        fewest = max(fewest, -(-steps * rate.denominator // rate.numerator))
        rate *= getattr(layer, "rate_change", 1)
    return fewest
