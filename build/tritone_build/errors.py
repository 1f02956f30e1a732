"""Errors of building: one class per mistake; each message names a remedy."""

from collections.abc import Sequence

__all__ = [
    "CapacityError",
    "CheckpointError",
    "CheckpointMismatchError",
    "CheckpointNotFoundError",
    "TritoneBuildError",
    "UnknownCodecError",
    "UnsupportedNetworkError",
]


class TritoneBuildError(Exception):
    """Base of all errors that this package raises."""


class CheckpointNotFoundError(TritoneBuildError, FileNotFoundError):
    """There is no checkpoint at that path and no repository of that name on the hub."""


class CheckpointError(TritoneBuildError, ValueError):
    """The file cannot be read as a checkpoint: it is truncated, of another kind, or unsafe."""


class UnsupportedNetworkError(TritoneBuildError, ValueError):
    """The checkpoint describes a network or an option that is not implemented."""


class CheckpointMismatchError(CheckpointError):
    """The tensors of a checkpoint do not fit the network that its configuration describes."""

    def __init__(self, source: str, missing: list[str], unexpected: list[str], misshapen: list[str]):
        parts = [
            f"{len(names)} {kind}: {_shortened(names)}"
            for kind, names in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
            if names
        ]
        super().__init__(
            f"{source}: the tensors do not fit the network that its configuration describes; "
            + "; ".join(parts)
            + ". Use a complete checkpoint of this codec ('tritone-build inspect' lists what a file holds)."
        )
        self.missing, self.unexpected, self.misshapen = missing, unexpected, misshapen


class UnknownCodecError(TritoneBuildError, KeyError):
    """There is no codec of that name."""

    def __init__(self, name: str, known: Sequence[str]):
        super().__init__(f"unknown codec {name!r}; known: {', '.join(known)}")

    def __str__(self) -> str:
        return str(self.args[0])


class PrecisionError(TritoneBuildError, OverflowError):
    """FP16 overflows or is too far from FP32, or no weight is large enough for INT8."""


class ProfileError(TritoneBuildError, ValueError):
    """Optimization profiles contradict each other."""


class EngineError(TritoneBuildError, RuntimeError):
    """TensorRT built no engine, or one with other tensors or precision than expected."""


class CompilerMissingError(EngineError, ImportError):
    """TensorRT is not installed."""


def _shortened(names: list[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


class CapacityError(TritoneBuildError, ValueError):
    """The GPU has too little memory for the live streams that are asked for."""
