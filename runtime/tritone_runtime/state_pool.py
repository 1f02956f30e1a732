"""The memory of a GPU that holds the state of live streams.

Triton takes it from a pool, whose size is fixed when the server starts: 64 MiB unless it is told otherwise.
State that finds no room there is kept in main memory, and crosses the bus in every step
(triton-inference-server/server#5973).
"""

from collections.abc import Sequence
from pathlib import Path

from tritone_runtime.manifests import read_manifest

__all__ = ["STATE_COPIES", "pool_option", "state_pool_bytes"]

STATE_COPIES, _MARGIN_BYTES = 2, 64 << 20
"""A step reads one copy of a state and writes another; other tensors in the pool fit the margin."""


def state_pool_bytes(repository: Path, engines: Sequence[str]) -> int:
    """The size of a pool for all live streams of the engines; 0 if they have none.

    Args:
        repository: folder of the engines and their manifests.
        engines: names of the engines to serve.
    """
    states = sum(_states_bytes(repository / engine / "1") for engine in engines)
    return STATE_COPIES * states + _MARGIN_BYTES if states else 0


def _states_bytes(version: Path) -> int:
    parameters = read_manifest(version).get("model", {}).get("parameters", {})
    return int(parameters.get("max_streams", 0)) * int(parameters.get("state_bytes", 0))


def pool_option(size: int) -> dict[str, str]:
    """Triton's option for a pool of this size on the first GPU, by name; nothing for 0."""
    return {"cuda-memory-pool-byte-size": f"0:{size}"} if size else {}
