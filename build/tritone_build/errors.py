"""What can go wrong while building: one class per mistake, each with a remedy in its message."""

from collections.abc import Sequence

__all__ = [
    "CheckpointError",
    "CheckpointMismatchError",
    "CheckpointNotFoundError",
    "TritoneBuildError",
    "UnknownCodecError",
    "UnsupportedNetworkError",
]


class TritoneBuildError(Exception):
    """Base of every error this package raises on purpose."""


class CheckpointNotFoundError(TritoneBuildError, FileNotFoundError):
    """No checkpoint at that path, and no such repository on the hub."""


class CheckpointError(TritoneBuildError, ValueError):
    """The file is not a checkpoint that can be read: truncated, foreign or unsafe."""


class UnsupportedNetworkError(TritoneBuildError, ValueError):
    """The checkpoint describes a network, or an option of one, that is not implemented."""


class CheckpointMismatchError(CheckpointError):
    """The tensors of a checkpoint do not fit the network its configuration describes."""

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
    """No codec of that name."""

    def __init__(self, name: str, known: Sequence[str]):
        super().__init__(f"unknown codec {name!r}; known: {', '.join(known)}")

    def __str__(self) -> str:
        return str(self.args[0])


class PrecisionError(TritoneBuildError, OverflowError):
    """Weights that half precision cannot hold."""


class ProfileError(TritoneBuildError, ValueError):
    """Shapes that no engine can be built for."""


class EngineError(TritoneBuildError, RuntimeError):
    """TensorRT could not build an engine, or built another than was asked for."""


class CompilerMissingError(EngineError, ImportError):
    """No TensorRT here."""


def _shortened(names: list[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
