"""A NeMo model's ``model_config.yaml``, of which only the sections that are asked for are resolved.

Beside the network it describes how it was trained, which often needs the machine of its author: variables of
the environment, resolvers of their own code, values left open, objects behind YAML tags.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tritone_build.errors import CheckpointError

__all__ = ["LazyConfig"]


class _Tagged:
    """A value with a YAML tag that is not YAML's own; the object that it stands for is never made."""

    def __init__(self, tag: str):
        self.tag = tag


class _Loader(yaml.SafeLoader):
    """Plain YAML; unknown tags stay where they are."""


def _tagged(_: _Loader, tag: str, __: yaml.Node) -> _Tagged:
    return _Tagged(tag)


def _date(loader: _Loader, node: yaml.ScalarNode) -> object:
    return loader.construct_scalar(node)  # as text: what looks like a date need not be one


_Loader.add_multi_constructor("", _tagged)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _date)


class LazyConfig(Mapping[str, Any]):
    """Sections by name, as plain values; CheckpointError where one that is read cannot be resolved.

    Args:
        text: YAML with OmegaConf's interpolations.
        source: named in errors.

    Raises:
        CheckpointError: it is no YAML, or no mapping.
    """

    def __init__(self, text: bytes, source: str):
        self._source = source
        try:
            read = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
            raise CheckpointError(f"{source} cannot be read: {error}") from error
        if not isinstance(read, dict):
            raise CheckpointError(f"{source} is no mapping")
        self._sections = {str(name): value for name, value in read.items()}
        self._unusable: dict[str, Exception] = {}
        sound = {name: value for name, value in self._sections.items() if self._is_sound(name, value)}
        self._root = OmegaConf.create(sound, flags={"allow_objects": True})

    def _is_sound(self, name: str, value: object) -> bool:
        """Whether OmegaConf takes it; interpolations to what it does not take fail when they are read."""
        try:
            OmegaConf.create({name: value}, flags={"allow_objects": True})
        except (OmegaConfBaseException, RecursionError) as error:
            self._unusable[name] = error
            return False
        return True

    def __len__(self) -> int:
        return len(self._sections)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sections)

    def __contains__(self, name: object) -> bool:
        return name in self._sections

    def __getitem__(self, name: str) -> Any:
        if name not in self._sections:
            raise KeyError(name)
        if name in self._unusable:
            raise self._unresolved(name, self._unusable[name])
        return self._plain(self._root, name, name)

    def _plain(self, node: DictConfig | ListConfig, key: Any, path: str) -> Any:
        """The value at a key with everything in it resolved."""
        try:
            value = node[key]
        except (OmegaConfBaseException, RecursionError, ValueError) as error:
            raise self._unresolved(path, error) from error
        if isinstance(value, DictConfig):
            keys = map(str, value)
            return {
                key: self._plain(value, inner, f"{path}.{key}")
                for key, inner in zip(keys, value, strict=True)
            }
        if isinstance(value, ListConfig):
            return [self._plain(value, index, f"{path}[{index}]") for index in range(len(value))]
        if isinstance(value, _Tagged):
            raise self._unresolved(path, ValueError(f"an object with the YAML tag {value.tag}"))
        return value

    def _unresolved(self, path: str, error: Exception) -> CheckpointError:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        return CheckpointError(
            f"{self._source}: {path} describes the network and cannot be resolved here ({reason}); set what "
            "it asks for, or have its author save the checkpoint with the value itself"
        )
