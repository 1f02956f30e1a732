"""The published names of the decoder's tensors in Qwen3-TTS's tokenizer of 12 Hz.

The checkpoint has queries, keys and values apart, with the first numbers of all rotary pairs of a head before
the second ones, and one tensor per codebook.
"""

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from tritone_build.codecs.names.mimi import halves, pairs

__all__ = ["from_published", "to_published"]

_IN_PROJ = "attention.in_proj_weight"
_PARTS = ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight")
_LAYER = {
    "attention.out_weight": "self_attn.o_proj.weight",
    "gate_weight": "mlp.gate_proj.weight",
    "up_weight": "mlp.up_proj.weight",
    "down_weight": "mlp.down_proj.weight",
    "norm1.weight": "input_layernorm.weight",
    "norm2.weight": "post_attention_layernorm.weight",
    "scale1": "self_attn_layer_scale.scale",
    "scale2": "mlp_layer_scale.scale",
}
_QUANTIZER = {
    "in_weight": "input_proj.weight",
    "out_weight": "output_proj.weight",
    "embedding_sum": "vq.layers.{}._codebook.embedding_sum",
    "cluster_usage": "vq.layers.{}._codebook.cluster_usage",
}
_RENAMED = (
    (r"^(pre_conv)\.", r"\1.conv."),
    (r"^(input_proj|output_proj|norm)\.", r"pre_transformer.\1."),
    (r"^transformer\.layers\.", "pre_transformer.layers."),
    (r"^upsample\.(\d+)\.expand\.", r"upsample.\1.0.conv."),
    (r"^upsample\.(\d+)\.block\.", r"upsample.\1.1."),
    (r"\.depthwise\.", ".dwconv.conv."),
    (r"\.expanding\.", ".pwconv1."),
    (r"\.contracting\.", ".pwconv2."),
    (r"^snake\.first\.", "decoder.0.conv."),
    (r"\.conv([12])\.", r".conv\1.conv."),
)


def to_published(parameters: Mapping[str, Tensor], num_heads: int, num_blocks: int) -> dict[str, Tensor]:
    """Tensors by published name, from those of the decoder and of ``quantizer`` by their names here."""
    published: dict[str, Tensor] = {}
    for name, tensor in parameters.items():
        there = _published_name(name, num_blocks)
        if there.endswith(_IN_PROJ):
            queries, keys, values = tensor.chunk(3)
            split = (halves(queries, num_heads), halves(keys, num_heads), values)
            published |= {
                there.removesuffix(_IN_PROJ) + part: t for part, t in zip(_PARTS, split, strict=True)
            }
        elif "{}" in there:
            published |= {there.format(number): entry for number, entry in enumerate(tensor)}
        else:
            published[there] = tensor
    return published


def from_published(
    tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], num_heads: int, num_blocks: int
) -> dict[str, Tensor]:
    """The inverse of :func:`to_published`, in FP32, for the parameters ``like``."""
    parameters = {}
    for name, shaped in like.items():
        there = _published_name(name, num_blocks)
        if there.endswith(_IN_PROJ):
            queries, keys, values = (tensors[there.removesuffix(_IN_PROJ) + part].float() for part in _PARTS)
            parameters[name] = torch.cat([pairs(queries, num_heads), pairs(keys, num_heads), values])
        elif "{}" in there:
            parameters[name] = _stacked(tensors[there.format(number)] for number in range(len(shaped)))
        else:
            parameters[name] = tensors[there].float()
    return parameters


def _stacked(entries: Iterable[Tensor]) -> Tensor:
    return torch.stack([entry.float() for entry in entries])


def _published_name(name: str, num_blocks: int) -> str:
    """Published name of a parameter, with {} for the number of the codebook if it holds several."""
    if name.startswith("quantizer."):
        _, part, rest = name.split(".")
        return f"decoder.quantizer.{'rvq_first' if part == 'semantic' else 'rvq_rest'}.{_QUANTIZER[rest]}"
    if name.startswith("snake.") and not name.startswith("snake.first."):
        return f"decoder.decoder.{_in_snake(name.removeprefix('snake.'), num_blocks)}"
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    if name.startswith("pre_transformer.layers."):
        *layer, leaf = re.split(r"(?<=\.\d)\.|(?<=\.\d\d)\.", name, maxsplit=1)
        name = f"{layer[0]}.{_LAYER.get(leaf, leaf)}"
    return f"decoder.{name}"


def _in_snake(name: str, num_blocks: int) -> str:
    kind, *rest = name.split(".")
    if kind == "act":
        return f"{num_blocks + 1}.{rest[0]}"
    if kind == "last":
        return f"{num_blocks + 2}.conv.{rest[0]}"
    block, part, *leaf = rest
    inside = f"{int(block) + 1}.block"
    if part == "act":
        return f"{inside}.0.{leaf[0]}"
    if part == "up":
        return f"{inside}.1.conv.{leaf[0]}"
    unit, layer, last = leaf
    return f"{inside}.{int(unit) + 2}.{layer}.{f'conv.{last}' if layer.startswith('conv') else last}"
