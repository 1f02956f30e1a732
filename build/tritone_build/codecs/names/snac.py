"""SNAC's tensor names, and ours, which are those of transformers' DAC.

For n rates SNAC numbers the encoder's layers 0 (first convolution), 1 to n (blocks), with attention n + 1,
and then the last convolution. The decoder begins with two convolutions and, with attention, that; then come
the blocks, Snake and the last convolution.
"""

from collections.abc import Iterator

__all__ = ["published_names"]

_UNIT = {"0.alpha": "snake1.alpha", "1": "conv1", "2.alpha": "snake2.alpha", "3": "conv2"}
_ATTENTION = ("norm.weight", "norm.bias", "to_qkv.weight", "to_out.weight")
_LEAVES = ("weight", "bias")


def published_names(num_rates: int, attention: bool) -> dict[str, str]:
    """Names in a checkpoint, after folding of weight norm, -> ours; all but the quantizer's."""
    return dict([*_encoder(num_rates, attention), *_decoder(num_rates, attention)])


def _encoder(num_rates: int, attention: bool) -> Iterator[tuple[str, str]]:
    yield from _conv("encoder.block.0", "encoder.conv1")
    for number in range(num_rates):
        there, here = f"encoder.block.{number + 1}.block", f"encoder.block.{number}"
        yield from _units(there, 0, here)
        yield f"{there}.3.alpha", f"{here}.snake1.alpha"
        yield from _conv(f"{there}.4", f"{here}.conv1")
    if attention:
        yield from _attention(f"encoder.block.{num_rates + 1}", "encoder.attention")
    yield from _conv(f"encoder.block.{num_rates + 1 + attention}", "encoder.conv2")


def _decoder(num_rates: int, attention: bool) -> Iterator[tuple[str, str]]:
    yield from _conv("decoder.model.0", "decoder.conv1")
    yield from _conv("decoder.model.1", "decoder.expand")
    if attention:
        yield from _attention("decoder.model.2", "decoder.attention")
    first = 2 + attention
    for number in range(num_rates):
        there, here = f"decoder.model.{first + number}.block", f"decoder.block.{number}"
        yield f"{there}.0.alpha", f"{here}.snake1.alpha"
        yield from _conv(f"{there}.1", f"{here}.conv_t1")
        yield f"{there}.2.linear.weight", f"{here}.noise.weight"
        yield from _units(there, 3, here)
    yield f"decoder.model.{first + num_rates}.alpha", "decoder.snake1.alpha"
    yield from _conv(f"decoder.model.{first + num_rates + 1}", "decoder.conv2")


def _units(there: str, first: int, here: str) -> Iterator[tuple[str, str]]:
    for number in range(3):
        for published, ours in _UNIT.items():
            names = f"{there}.{first + number}.block.{published}", f"{here}.res_unit{number + 1}.{ours}"
            yield from [names] if ours.endswith("alpha") else _conv(*names)


def _attention(there: str, here: str) -> Iterator[tuple[str, str]]:
    yield from ((f"{there}.{name}", f"{here}.{name}") for name in _ATTENTION)


def _conv(there: str, here: str) -> Iterator[tuple[str, str]]:
    yield from ((f"{there}.{leaf}", f"{here}.{leaf}") for leaf in _LEAVES)
