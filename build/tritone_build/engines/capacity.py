"""How many live streams engines and their configs are made for."""

from collections.abc import Sequence
from dataclasses import dataclass

from tritone_build.errors import CapacityError
from tritone_build.graphs.role import Role
from tritone_runtime.state_pool import STATE_COPIES

__all__ = ["USUAL", "Capacity"]

_MOST_STREAMS = 1024
_STATE_SHARE = 0.5
"""Share of the memory for the state of all streams; for engines Triton keeps two copies of it."""
_BATCH_SHARE = 1 / 12
"""Share of the memory for the state of one batch; each profile has buffers for the largest batch."""


@dataclass(frozen=True)
class Capacity:
    """A GPU, and the live streams wanted on it.

    Args:
        memory_bytes: memory of the GPU.
        max_streams: most live streams of each model; None for as many as fit, up to 1024.
    """

    memory_bytes: int = 24 << 30
    max_streams: int | None = None

    def streams(self, codec: str, parts: Sequence[Role], copies: int = STATE_COPIES) -> int:
        """Most live streams of each of the codec's models.

        Args:
            codec: name of the codec, for errors.
            parts: its models.
            copies: copies of the state that the server keeps.

        Raises:
            CapacityError: the streams that were asked for do not fit, or not a single one does.
        """
        state = copies * sum(role.packing.state_bytes for role in parts if role.packing is not None)
        fit = int(_STATE_SHARE * self.memory_bytes // state) if state else _MOST_STREAMS
        wanted = self.max_streams or min(fit, _MOST_STREAMS)
        if not 1 <= wanted <= fit:
            count, room = max(wanted, 1), _STATE_SHARE * self.memory_bytes
            raise CapacityError(
                f"the state of {count} streams of {codec} takes {count * state / 1e9:.1f} GB; live streams "
                f"get half of the GPU's memory, {room / 1e9:.1f} GB: ask for at most {fit} with "
                "--max-streams, or name a larger GPU with --gpu-memory"
            )
        return wanted

    def rows(self, state_bytes: int) -> int:
        """Most rows in a batch of steps whose streams have this much state; a power of two."""
        rows = max(1, int(_BATCH_SHARE * self.memory_bytes) // state_bytes)
        return 1 << (rows.bit_length() - 1)


USUAL = Capacity()
"""A GPU with 24 GiB, such as an L4."""
