"""Import packages from unpacked wheels, without installing their dependencies."""

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
    """Put these modules into ``sys.modules``, and restore it when the context ends."""
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
    """Import module ``name`` from the wheel, even if another copy is installed.

    Args:
        wheel: that contains the package; downloaded on the first call.
        name: dotted name of the module.
        absent: stand-ins for dependencies that are not used, by name. They are present only during the
            import, since other packages look for them to decide which features to offer.
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
