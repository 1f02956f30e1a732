"""The device that runs models: the CPU, or an NVIDIA GPU.

A repository is built for one of them (its target), and that is where its models run by default.
"""

import os

from tritone_runtime.errors import DeviceError

__all__ = ["DEVICES", "VARIABLE", "chosen_device"]

VARIABLE = "TRITONE_DEVICE"
DEVICES = ("auto", "cpu", "cuda")
"""``auto`` is the device that a repository was built for."""


def chosen_device(wanted: str | None = None) -> str:
    """One of ``DEVICES``: the wanted one, by default what ``TRITONE_DEVICE`` says, else ``auto``.

    Raises:
        DeviceError: there is no such device.
    """
    name = wanted or os.environ.get(VARIABLE) or DEVICES[0]
    if name not in DEVICES:
        raise DeviceError(f"there is no device {name!r}; choose one of {', '.join(DEVICES)}")
    return name
