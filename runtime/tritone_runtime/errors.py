"""Errors of built models: one class per mistake; the message says what to do."""

__all__ = [
    "BadInputError",
    "DamagedModelError",
    "DeviceError",
    "EngineMisfitError",
    "FullError",
    "NoGpuError",
    "RepositoryError",
    "StepError",
    "TritoneRuntimeError",
]


class TritoneRuntimeError(Exception):
    """Base of all errors that this package raises on purpose."""


class BadInputError(TritoneRuntimeError, ValueError):
    """The input breaks a rule of the model; the message states the rule."""


class FullError(TritoneRuntimeError, RuntimeError):
    """The maximum number of streams is live."""


class StepError(TritoneRuntimeError, RuntimeError):
    """The model failed on a step."""


class RepositoryError(TritoneRuntimeError, ValueError):
    """A model repository cannot be used."""


class DamagedModelError(RepositoryError):
    """A model's file differs from the file that was built."""


class EngineMisfitError(RepositoryError):
    """Engines of a repository do not run in this process, on this server or on this GPU."""


class DeviceError(RepositoryError):
    """A device is missing or too small, or the models were not built for it."""


class NoGpuError(TritoneRuntimeError, RuntimeError):
    """nvidia-smi finds no NVIDIA GPU on this machine."""
