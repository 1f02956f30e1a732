"""Checks of a configuration: keys that it must have, kinds of values, and options with one supported value.

``where`` is the path of the mapping in the configuration, such as ``decoder_config``, or an empty string for
the configuration itself. Each check raises UnsupportedNetworkError, which names the key and what was found.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tritone_build.errors import UnsupportedNetworkError

__all__ = [
    "refuse_other_values",
    "require_integer_lists",
    "require_integers",
    "require_keys",
    "require_numbers",
    "rotary_base",
]

_PLAIN_ROTATION = {"rope_type": "default", "type": "default", "partial_rotary_factor": 1}


def require_keys(mapping: Any, keys: Iterable[str], where: str) -> None:
    """Check that ``mapping`` is a mapping, and that no key is missing or null."""
    if not isinstance(mapping, Mapping):
        raise UnsupportedNetworkError(f"{where or 'the configuration'} is {mapping!r}, expected a mapping")
    missing = [_path(where, key) for key in keys if mapping.get(key) is None]
    if missing:
        raise UnsupportedNetworkError(
            f"the configuration has no {', '.join(missing)}; there is no default for a missing key or null"
        )


def require_integers(mapping: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
    """Check that the values of these keys are integers of at least 1."""
    for key in keys:
        if not _is_size(mapping.get(key)):
            raise _other_kind(mapping, key, where, "an integer of at least 1")


def require_integer_lists(mapping: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
    """Check that the values of these keys are lists of integers of at least 1, and not empty."""
    for key in keys:
        value = mapping.get(key)
        if not isinstance(value, list | tuple) or not value or not all(_is_size(each) for each in value):
            raise _other_kind(mapping, key, where, "a list of integers of at least 1")


def require_numbers(mapping: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
    """Check that the values of these keys are numbers above 0."""
    for key in keys:
        value = mapping.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise _other_kind(mapping, key, where, "a number above 0")


def refuse_other_values(mapping: Mapping[str, Any], only: Mapping[str, Any], where: str) -> None:
    """Check that each option in ``only`` has the value there, or is missing from ``mapping``."""
    for key, value in only.items():
        if mapping.get(key, value) != value:
            raise UnsupportedNetworkError(
                f"{_path(where, key)} = {mapping[key]!r} is not supported; supported: {value!r}"
            )


def rotary_base(config: Mapping[str, Any], default: float, where: str) -> float:
    """Return the base of a rotary embedding that turns whole heads and does not stretch positions.

    transformers 4 writes ``rope_theta``, ``partial_rotary_factor`` and ``rope_scaling``; transformers 5
    writes ``rope_parameters``, which holds them. Other rotations and contradicting bases are refused.
    """
    refuse_other_values(config, {"partial_rotary_factor": 1}, where)
    stated = {_path(where, "rope_theta"): config.get("rope_theta")}
    for name in ("rope_parameters", "rope_scaling"):
        inner, there = config.get(name), _path(where, name)
        if inner is not None:
            require_keys(inner, (), there)
            refuse_other_values(inner, _PLAIN_ROTATION, there)
            stated[_path(there, "rope_theta")] = inner.get("rope_theta")
    found = {path: base for path, base in stated.items() if base is not None}
    require_numbers(found, found, "")
    if len(set(found.values())) > 1:
        said = " and ".join(f"{path} = {base}" for path, base in found.items())
        raise UnsupportedNetworkError(f"{said} contradict each other")
    return float(next(iter(found.values()), default))


def _path(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _other_kind(mapping: Mapping[str, Any], key: str, where: str, kind: str) -> UnsupportedNetworkError:
    return UnsupportedNetworkError(f"{_path(where, key)} is {mapping.get(key)!r}, expected {kind}")
