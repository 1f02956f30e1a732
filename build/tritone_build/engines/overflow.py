"""Finds the layers whose results do not fit FP16."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

__all__ = ["overflowing_layers"]


@contextmanager
def overflowing_layers(network: nn.Module) -> Iterator[list[str]]:
    """Names of the layers that make infinity or NaN of finite inputs in this context, in order, each once.

    Of layers within each other only the innermost is named.
    """
    found: list[str] = []
    hooks = [
        module.register_forward_hook(_noting(name, found)) for name, module in network.named_modules() if name
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _noting(name: str, found: list[str]) -> Callable[[nn.Module, tuple[object, ...], object], None]:
    def note(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if _finite(output) or not all(map(_finite, inputs)):
            return
        if not any(each == name or each.startswith(f"{name}.") for each in found):
            found.append(name)

    return note


def _finite(value: object) -> bool:
    return not isinstance(value, Tensor) or not value.is_floating_point() or bool(value.isfinite().all())
