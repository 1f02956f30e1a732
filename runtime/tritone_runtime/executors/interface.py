"""What the scheduler and whole inputs need of an executor, whichever library runs the graph."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tritone_runtime.streams.slots import FreeSlots

__all__ = ["Executor", "StreamMemory"]

Array = NDArray[np.generic]


class StreamMemory(Protocol):
    """The state of live streams, one slot each, and the steps that read and write it."""

    def take(self) -> int | None:
        """Take a free slot, whose stream is fresh; None if there is none."""
        ...

    def clear(self, slot: int) -> None:
        """Make the slot's stream fresh."""
        ...

    def give_back(self, slot: int) -> None:
        """Free a slot."""
        ...

    def run(self, given: Mapping[str, Array], keep_memory: bool) -> dict[str, Any]:
        """Run one step; outputs by name.

        Args:
            given: the model's inputs but for the state; ``slot`` INT64 [B] says whose row is whose.
            keep_memory: keep the working memory for the next step.
        """
        ...

    def keep(self, slots: Sequence[int], outputs: Mapping[str, Any]) -> None:
        """Write the new state of a step, for the rows of the batch that are ``valid``."""
        ...


class Executor(Protocol):
    """A loaded model.

    ``metadata`` is what the builder wrote into it; ``notice`` says what runs it, if an operator should know;
    ``broken`` is set when no run in this process can succeed any more.
    """

    notice: str
    broken: bool

    inputs: Sequence[str]
    outputs: Sequence[str]
    metadata: Mapping[str, str]

    def empty(self, output: str) -> Array:
        """One row of an output without frames."""
        ...

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] = (), keep_memory: bool = False
    ) -> list[Array]:
        """Run the model; the named outputs, or all outputs in the model's order.

        Raises:
            BadInputError: the input breaks a rule of the model; the message is the rule.
        """
        ...

    def memory(self, count: int, free: "FreeSlots | None" = None) -> StreamMemory:
        """Memory for the state of ``count`` live streams of this model; ``free`` hands out their slots."""
        ...
