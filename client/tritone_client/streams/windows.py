"""Windows of a long input: requests whose answers join to the answer for the whole input.

The model looks ``lookaround`` frames to either side of a frame. If that many frames surround the kept frames
of a window, the model gives the same output for them as in the whole input::

    whole      |---------------------------------------------|
    sent                |<- around ->|  kept  |<- around ->|
    next                                      |  kept  | ...

A causal model needs only the frames before.
"""

from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Window", "windows"]


@dataclass(frozen=True)
class Window:
    """The frames to send, and those whose output is kept; both counted from the start of the input."""

    send_start: int
    send_stop: int
    keep_start: int
    keep_stop: int

    @property
    def kept(self) -> tuple[int, int]:
        """The kept frames (start, stop), counted from the first frame of the window."""
        return self.keep_start - self.send_start, self.keep_stop - self.send_start


def windows(frames: int, longest: int, lookaround: int, causal: bool) -> list[Window]:
    """The fewest windows that cover ``frames``; each keeps an equal share of at most ``longest`` frames."""
    count = -(-frames // longest)
    edges = [frames * index // count for index in range(count + 1)]
    after = 0 if causal else lookaround
    return [
        Window(max(0, start - lookaround), min(frames, stop + after), start, stop)
        for start, stop in pairwise(edges)
    ]
