"""Names of the tensors of MOSS Audio Tokenizer: ours, and the two spellings in which they are published.

MOSS-Audio-Tokenizer has the older spelling, MOSS-Audio-Tokenizer-v2 and -Nano the newer one; both are read.
"""

from collections.abc import Mapping

from torch import Tensor

__all__ = ["blocks_in", "published_name", "respelled"]

_ATTENTION_IN = ("self_attn.in_projs.0.weight", "self_attn.in_proj.weight", "self_attn.in_proj_weight")
_ATTENTION_OUT = ("self_attn.out_projs.0.weight", "self_attn.out_proj.weight")
_UP = ("linear1.weight", "ffn.0.weight")
_DOWN = ("linear2.weight", "ffn.2.weight")
_SPELLINGS = (_ATTENTION_IN, _ATTENTION_OUT, _UP, _DOWN)
"""Endings that name the same tensor: the older one, the newer one, and one that is not published."""

_LAYER = {
    "attention.in_proj_weight": _ATTENTION_IN,
    "attention.out_weight": _ATTENTION_OUT,
    "up_weight": _UP,
    "down_weight": _DOWN,
    "scale1": ("layer_scale_1.scale",) * 2,
    "scale2": ("layer_scale_2.scale",) * 2,
}
_QUANTIZER = {
    "codebooks": "quantizers.{}.codebook.weight",
    "code_in_weight": "quantizers.{}.in_proj.weight",
    "code_in_bias": "quantizers.{}.in_proj.bias",
    "code_out_weight": "quantizers.{}.out_proj.weight",
    "code_out_bias": "quantizers.{}.out_proj.bias",
    "in_weight": "input_proj.weight",
    "in_bias": "input_proj.bias",
    "out_weight": "output_proj.weight",
    "out_bias": "output_proj.bias",
}


def published_name(name: str, newer: bool) -> str:
    """Published name of a parameter, with {} for the number of the codebook if it holds several.

    Args:
        name: name of a parameter of :class:`tritone_build.codecs.moss.Network`.
        newer: whether to use the newer spelling.
    """
    half, part, *rest = name.split(".")
    if half == "quantizer":
        return f"quantizer.{_QUANTIZER[part]}"
    block, kind, *rest = rest
    if kind != "transformer":
        return f"{half}.{block}.{'input' if kind == 'in_weight' else 'output'}_proj.weight"
    _, layer, *leaf = rest
    inside = ".".join(leaf)
    there = _LAYER[inside][newer] if inside in _LAYER else inside
    return f"{half}.{block}.transformer.layers.{layer}.{there}"


def respelled(tensors: Mapping[str, Tensor], newer: bool) -> dict[str, Tensor]:
    """The tensors by name in one spelling; where several spellings exist, the others keep their names."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        there = _respelled(name, newer)
        taken = there in found or (there != name and there in tensors)
        found[name if taken else there] = tensor
    return found


def _respelled(name: str, newer: bool) -> str:
    for endings in _SPELLINGS:
        for ending in endings:
            if name.endswith(f".{ending}"):
                return name.removesuffix(ending) + endings[newer]
    return name


def blocks_in(tensors: Mapping[str, Tensor]) -> set[tuple[str, int]]:
    """The half and the number of each block that has weights, such as ``("encoder", 1)``."""
    parts = (name.split(".")[:2] for name in tensors)
    return {(half, int(block)) for half, block in parts if half in ("encoder", "decoder")}
