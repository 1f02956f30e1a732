"""The two layouts in which Mimi's tensors are published: Kyutai's and Hugging Face's.

moshi and rustymimi read Kyutai's layout: one ``in_proj_weight``, with the two numbers of a rotary pair side
by side. Hugging Face's layout separates queries, keys and values, and stores the first numbers of all rotary
pairs of a head before the second ones. The conversion follows
src/transformers/models/mimi/convert_mimi_checkpoint_to_pytorch.py of transformers.
"""

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

__all__ = [
    "halves",
    "initialized_name",
    "layout_of",
    "pairs",
    "published_name",
    "to_hugging_face",
    "to_kyutai",
]

_TRANSFORMER = {
    "attention.in_proj_weight": "self_attn.in_proj_weight",
    "attention.out_weight": "self_attn.out_proj.weight",
    "up_weight": "linear1.weight",
    "down_weight": "linear2.weight",
    "scale1": "layer_scale_1.scale",
    "scale2": "layer_scale_2.scale",
}
_RESIDUAL = {"conv": "block.1.conv.conv", "pointwise": "block.3.conv.conv"}
_QUANTIZER = {
    "in_weight": "input_proj.weight",
    "out_weight": "output_proj.weight",
    "embedding_sum": "vq.layers.{}._codebook.embedding_sum",
    "cluster_usage": "vq.layers.{}._codebook.cluster_usage",
}
_TO_HUGGING_FACE = (
    (r"^(encoder|decoder)\.model\.", r"\1.layers."),
    (r"\.(conv\.conv\.conv|convtr\.convtr\.convtr|conv\.conv|convtr\.convtr)\.", ".conv."),
    (r"_transformer\.transformer\.", "_transformer."),
    (r"\.norm1\.", ".input_layernorm."),
    (r"\.norm2\.", ".post_attention_layernorm."),
    (r"\.linear([12])\.", r".mlp.fc\1."),
    (r"\.layer_scale_1\.", ".self_attn_layer_scale."),
    (r"\.layer_scale_2\.", ".mlp_layer_scale."),
    (r"\.out_proj\.", ".o_proj."),
    (r"\.rvq_first\.", ".semantic_residual_vector_quantizer."),
    (r"\.rvq_rest\.", ".acoustic_residual_vector_quantizer."),
    (r"\.vq\.layers\.", ".layers."),
    (r"\._codebook\.", ".codebook."),
    (r"\._initialized$", ".initialized"),
    (r"\.embedding_sum$", ".embed_sum"),
)
_IN_PROJ = "in_proj_weight"
_PARTS = ("q_proj.weight", "k_proj.weight", "v_proj.weight")


def layout_of(names: Iterable[str]) -> str | None:
    """Return the layout of tensors with these names; None if they are not Mimi's."""
    for name in names:
        if name.startswith(("quantizer.rvq_first.", "quantizer.rvq_rest.")):
            return "kyutai"
        if name.startswith("quantizer.semantic_residual_vector_quantizer."):
            return "safetensors"
    return None


def published_name(name: str, stages: int) -> str:
    """Kyutai's name of a parameter, with {} for the number of the codebook if it holds several."""
    half, part, rest = name.split(".", 2)
    if half == "quantizer":
        return f"quantizer.{'rvq_first' if part == 'semantic' else 'rvq_rest'}.{_QUANTIZER[rest]}"
    if part == "transformer":
        _, layer, leaf = rest.split(".", 2)
        return f"{half}_transformer.transformer.layers.{layer}.{_TRANSFORMER.get(leaf, leaf)}"
    if part == "seanet":
        return f"{half}.model.{_seanet(half, rest, stages)}"
    conv = "convtr" if part == "upsample" else "conv"
    return f"{part}.{conv}.{conv}.{conv}.{rest}"


def _seanet(half: str, rest: str, stages: int) -> str:
    kind, *others = rest.split(".")
    if kind in ("first", "last"):
        return f"{0 if kind == 'first' else 3 * stages + 2}.conv.conv.{others[0]}"
    stage = 3 * int(others[0])
    if kind == "residuals":
        return f"{stage + (1 if half == 'encoder' else 3)}.{_RESIDUAL[others[1]]}.{others[2]}"
    if kind == "downs":
        return f"{stage + 3}.conv.conv.{others[1]}"
    return f"{stage + 2}.convtr.convtr.{others[1]}"


def initialized_name(codebook_name: str) -> str:
    """Name of the ``_initialized`` flag of the codebook that a tensor belongs to."""
    return codebook_name.rpartition(".")[0] + "._initialized"


def _hugging_face_name(name: str) -> str:
    for pattern, replacement in _TO_HUGGING_FACE:
        name = re.sub(pattern, replacement, name)
    return name


def to_hugging_face(tensors: Mapping[str, Tensor], num_heads: int) -> dict[str, Tensor]:
    """Convert tensors from Kyutai's layout to Hugging Face's."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        there = _hugging_face_name(name)
        if not there.endswith(_IN_PROJ):
            renamed[there] = tensor
            continue
        queries, keys, values = tensor.chunk(3)
        parts = (halves(queries, num_heads), halves(keys, num_heads), values)
        for part, value in zip(_PARTS, parts, strict=True):
            renamed[there.removesuffix(_IN_PROJ) + part] = value
    return renamed


def to_kyutai(tensors: Mapping[str, Tensor], names: Iterable[str], num_heads: int) -> dict[str, Tensor]:
    """Convert tensors from Hugging Face's layout to Kyutai's, for the given names."""
    renamed: dict[str, Tensor] = {}
    for name in names:
        there = _hugging_face_name(name)
        if there.endswith(_IN_PROJ):
            queries, keys, values = (tensors[there.removesuffix(_IN_PROJ) + part] for part in _PARTS)
            renamed[name] = torch.cat([pairs(queries, num_heads), pairs(keys, num_heads), values])
        else:
            renamed[name] = tensors[there]
    return renamed


def halves(weight: Tensor, num_heads: int) -> Tensor:
    """Reorder the rows of each head: the first number of every rotary pair before all second numbers."""
    return weight.reshape(num_heads, -1, 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def pairs(weight: Tensor, num_heads: int) -> Tensor:
    """The inverse of :func:`halves`."""
    return weight.reshape(num_heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)
