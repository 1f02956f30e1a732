"""A NeMo model's ``model_config.yaml``, whose sections are resolved only when they are read.

The file also describes the training, which often refers to its author's machine: environment variables,
resolvers of the author's code, missing values, objects behind YAML tags. Those sections are never read.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tritone_build.errors import CheckpointError

__all__ = ["LazyConfig"]


class _Tagged:
    """A value with an application's YAML tag; the object that it stands for is never created."""

    def __init__(self, tag: str):
        self.tag = tag


class _Loader(yaml.SafeLoader):
    """Loads plain YAML and keeps unknown tags as :class:`_Tagged`."""


def _tagged(_: _Loader, tag: str, __: yaml.Node) -> _Tagged:
    return _Tagged(tag)


def _date(loader: _Loader, node: yaml.ScalarNode) -> object:
    return loader.construct_scalar(node)  # as text: a value that looks like a date need not be one


_Loader.add_multi_constructor("", _tagged)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _date)


class LazyConfig(Mapping[str, Any]):
    """Sections by name, as plain values.

    Args:
        text: YAML with OmegaConf's interpolations.
        source: name of the file, for errors.

    Raises:
        CheckpointError: the text is not YAML or not a mapping; later, a section that is read cannot be
            resolved.
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
        """Whether OmegaConf accepts the section; interpolations to a rejected one fail when they are read."""
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
        """Return the value at a key with all its interpolations resolved."""
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
            f"{self._source}: {path} describes the network and cannot be resolved ({reason}); set what it "
            "asks for, or ask its author to save the checkpoint with the resolved value"
        )
