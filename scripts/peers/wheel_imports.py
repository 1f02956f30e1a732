"""Importing whole packages from unpacked wheels, without installing what they depend on."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from tritone_server.wheels import Wheel

__all__ = ["imported", "replaced", "stand_in"]


def stand_in(name: str, **members: Any) -> ModuleType:
    """An empty module with these members."""
    module = ModuleType(name)
    vars(module).update(members)
    return module


@contextmanager
def replaced(modules: Mapping[str, ModuleType]) -> Iterator[None]:
    """These modules in place of whatever is imported under their names."""
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def imported(wheel: Wheel, name: str, **absent: ModuleType) -> Any:
    """Module ``name`` of the wheel, never of an installed copy.

    Args:
        wheel: where the package comes from; fetched on the first call.
        name: dotted name.
        absent: dependencies our path does not use, by name, present only while importing: other
            packages look for them to decide what they can do.
    """
    root = str(wheel.unpacked())
    with replaced(absent):
        sys.path.insert(0, root)
        try:
            module = importlib.import_module(name)
        finally:
            sys.path.remove(root)
    assert (module.__file__ or "").startswith(root), f"{name} was imported before, from {module.__file__}"
    return module
