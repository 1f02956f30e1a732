"""Cutting long inputs into requests whose answers join to exactly the whole.

A model that looks ``lookaround`` frames to either side gives, for the middle of a longer piece,
what it gives for that middle of the whole::

    whole      |---------------------------------------------|
    sent                |<- around ->|  kept  |<- around ->|
    next                                      |  kept  | ...

A causal model needs the part before only.
"""

from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Window", "windows"]


@dataclass(frozen=True)
class Window:
    """Frames to send, and the frames of them whose output is kept; all counted from the start."""

    send_start: int
    send_stop: int
    keep_start: int
    keep_stop: int

    @property
    def kept(self) -> tuple[int, int]:
        """The kept frames, counted from the first one sent."""
        return self.keep_start - self.send_start, self.keep_stop - self.send_start


def windows(frames: int, longest: int, lookaround: int, causal: bool) -> list[Window]:
    """Cover ``frames`` by the fewest windows of equal share that keep at most ``longest`` each."""
    count = -(-frames // longest)
    edges = [frames * index // count for index in range(count + 1)]
    after = 0 if causal else lookaround
    return [
        Window(max(0, start - lookaround), min(frames, stop + after), start, stop)
        for start, stop in pairwise(edges)
    ]
