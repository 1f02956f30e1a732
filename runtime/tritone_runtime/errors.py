"""What can go wrong with built models: one class per mistake, each with a remedy in its message."""

__all__ = [
    "BadInputError",
    "DamagedModelError",
    "EngineMisfitError",
    "FullError",
    "NoGpuError",
    "RepositoryError",
    "StepError",
    "TritoneRuntimeError",
]


class TritoneRuntimeError(Exception):
    """Base of every error this package raises on purpose."""


class BadInputError(TritoneRuntimeError, ValueError):
    """The input breaks a rule of the model; the message is the rule."""


class FullError(TritoneRuntimeError, RuntimeError):
    """No room for another stream."""


class StepError(TritoneRuntimeError, RuntimeError):
    """The model failed on a step."""


class RepositoryError(TritoneRuntimeError, ValueError):
    """A model repository cannot be used as it is."""


class DamagedModelError(RepositoryError):
    """A model's file is not the one that was built."""


class EngineMisfitError(RepositoryError):
    """Engines of a repository do not run on this server or this GPU."""


class NoGpuError(TritoneRuntimeError, RuntimeError):
    """This machine has no NVIDIA GPU."""
