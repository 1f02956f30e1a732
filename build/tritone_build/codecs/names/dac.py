"""The two spellings of DAC's tensor names: Descript's own, which Parler-TTS uses too, and transformers'.

Weights without their normalization have the same shapes in both. For n rates, Descript numbers the encoder's
layers 0 (first convolution), 1 to n (blocks), n + 1 (Snake) and n + 2 (last convolution); the decoder's
alike.
"""

import re
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

__all__ = ["is_original", "to_original", "to_transformers"]

_HALVES = {"encoder": "encoder.block", "decoder": "decoder.model"}
_UNIT = {"0": "snake1", "1": "conv1", "2": "snake2", "3": "conv2"}
_ENCODER_BLOCK = {"0": "res_unit1", "1": "res_unit2", "2": "res_unit3", "3": "snake1", "4": "conv1"}
_DECODER_BLOCK = {"0": "snake1", "1": "conv_t1", "2": "res_unit1", "3": "res_unit2", "4": "res_unit3"}
_BLOCKS = {"encoder": _ENCODER_BLOCK, "decoder": _DECODER_BLOCK}
_ORIGINAL = re.compile(
    r"(?P<half>encoder|decoder)\.(?:block|model)\.(?P<layer>\d+)"
    r"(?:\.block\.(?P<part>\d+))?(?:\.block\.(?P<inner>\d+))?\.(?P<leaf>\w+)"
)
_TRANSFORMERS = re.compile(
    r"(?P<half>encoder|decoder)(?:\.block\.(?P<block>\d+))?\.(?P<part>\w+)"
    r"(?:\.(?P<inner>snake[12]|conv[12]))?\.(?P<leaf>\w+)"
)


def is_original(names: Iterable[str]) -> bool:
    """Whether tensors have Descript's names."""
    return any(name.startswith("decoder.model.") for name in names)


def to_transformers(tensors: Mapping[str, Tensor], num_rates: int) -> dict[str, Tensor]:
    """The tensors by transformers' names; names that DAC does not have stay as they are."""
    return _renamed(tensors, lambda name: _to_transformers(name, num_rates))


def to_original(tensors: Mapping[str, Tensor], num_rates: int) -> dict[str, Tensor]:
    """The inverse of :func:`to_transformers`."""
    return _renamed(tensors, lambda name: _to_original(name, num_rates))


def _renamed(tensors: Mapping[str, Tensor], renamed: Callable[[str], str]) -> dict[str, Tensor]:
    return {renamed(name): tensor for name, tensor in tensors.items()}


def _to_transformers(name: str, num_rates: int) -> str:
    found = _ORIGINAL.fullmatch(name)
    if found is None or not name.startswith(_HALVES[found["half"]]):
        return name
    half, layer, part, inner = found["half"], int(found["layer"]), found["part"], found["inner"]
    leaf = found["leaf"]
    if part is None:
        ends = {0: "conv1", num_rates + 1: "snake1", num_rates + 2: "conv2"}
        return f"{half}.{ends[layer]}.{leaf}" if layer in ends else name
    place = _BLOCKS[half].get(part)
    is_unit = place is not None and place.startswith("res_unit")
    if not 1 <= layer <= num_rates or place is None or is_unit != (inner in _UNIT):
        return name
    within = f"{place}.{_UNIT[inner]}" if is_unit else place
    return f"{half}.block.{layer - 1}.{within}.{leaf}"


def _to_original(name: str, num_rates: int) -> str:
    found = _TRANSFORMERS.fullmatch(name)
    if found is None:
        return name
    half, block, part, inner = found["half"], found["block"], found["part"], found["inner"]
    start, leaf = _HALVES[half], found["leaf"]
    if block is None:
        ends = {"conv1": 0, "snake1": num_rates + 1, "conv2": num_rates + 2}
        return f"{start}.{ends[part]}.{leaf}" if part in ends and inner is None else name
    numbers = {there: number for number, there in _BLOCKS[half].items()}
    if part not in numbers or (inner is not None) != part.startswith("res_unit"):
        return name
    units = {there: number for number, there in _UNIT.items()}
    within = f"{numbers[part]}.block.{units[inner]}" if inner else numbers[part]
    return f"{start}.{int(block) + 1}.block.{within}.{leaf}"
