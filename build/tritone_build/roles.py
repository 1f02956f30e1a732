"""The models of a codec: which modules they are, and how their tensors are called and shaped."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor, nn

from tritone_build.codecs.base import Codec, Dequantizer, Encoder, Vocoder
from tritone_build.steps import DecodeStep, EncodeStep, Packing, Step

__all__ = ["Axes", "Role", "role_names", "roles"]

Axes: TypeAlias = tuple[int | str, ...]

_BATCH = 2
_LENGTH: Axes = ("batch", 1)


@dataclass(frozen=True)
class Role:
    """One model of a codec: a module, an example of its inputs, and how its tensors are called.

    ``inputs`` and ``outputs`` give each tensor's axes; axes that are names vary. ``defaults`` are the
    values of inputs that may be left out. ``packing`` is the state of a live stream and ``metadata``
    what its server must know, for the steps of streams.
    """

    name: str
    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: Mapping[str, Axes]
    outputs: Mapping[str, Axes]
    defaults: Mapping[str, list[list[int]]] = field(default_factory=dict)
    packing: Packing | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def roles(codec: Codec) -> tuple[Role, ...]:
    """The models of a codec that hold a network or a table, in the order data passes them."""
    return tuple(_ROLES[name](codec) for name in role_names(codec))


def role_names(codec: Codec) -> list[str]:
    """Names of :func:`roles`, without making them."""
    g = codec.geometry
    streams = {"decode_stream": g.causal, "encode_stream": g.encode_causal}
    return ["dequantize", "vocoder", "encode", *(name for name, causal in streams.items() if causal)]


def _dequantize_role(codec: Codec) -> Role:
    tokens, lengths = _tokens(codec)
    return Role(
        "dequantize",
        Dequantizer(codec),
        (tokens, lengths),
        {"tokens": _token_axes(codec), "tokens_len": _LENGTH},
        {"latent": ("batch", codec.geometry.latent_dim, "frames"), "latent_len": _LENGTH},
    )


def _vocoder_role(codec: Codec) -> Role:
    tokens, lengths = _tokens(codec)
    dim = codec.geometry.latent_dim
    return Role(
        "vocoder",
        Vocoder(codec),
        (torch.zeros(_BATCH, dim, tokens.shape[2]), lengths),
        {"latent": ("batch", dim, "frames"), "latent_len": _LENGTH},
        {"audio": ("batch", "samples"), "audio_len": _LENGTH},
    )


def _encode_role(codec: Codec) -> Role:
    samples = _tokens(codec)[0].shape[2] * codec.geometry.samples_per_frame - 1
    counts = _counts(codec)
    return Role(
        "encode",
        Encoder(codec),
        (torch.zeros(_BATCH, samples), torch.full((_BATCH, 1), samples), *map(torch.tensor, counts.values())),
        {"audio": ("batch", "samples"), "audio_len": _LENGTH, **dict.fromkeys(counts, (1, 1))},
        {"tokens": _token_axes(codec), "tokens_len": _LENGTH},
        counts,
    )


def _decode_stream_role(codec: Codec) -> Role:
    inputs, made = {"tokens": _token_axes(codec)}, {"audio": ("batch", "samples")}
    return _stream_role("decode_stream", DecodeStep(codec), (_tokens(codec)[0],), inputs, made, {}, 1)


def _encode_stream_role(codec: Codec) -> Role:
    hop, counts = codec.geometry.samples_per_frame, _counts(codec)
    example = (torch.zeros(_BATCH, 5 * hop), *map(torch.tensor, counts.values()))
    inputs: dict[str, Axes] = {"audio": ("batch", "samples"), **dict.fromkeys(counts, (1, 1))}
    made = {"tokens": _token_axes(codec)}
    return _stream_role("encode_stream", EncodeStep(codec), example, inputs, made, counts, hop)


def _stream_role(
    name: str,
    step: Step,
    example: tuple[Tensor, ...],
    inputs: Mapping[str, Axes],
    made: Mapping[str, Axes],
    defaults: Mapping[str, list[list[int]]],
    multiple: int,
) -> Role:
    packing = step.packing
    pasts = [torch.zeros(_BATCH + 1, *part.shape, dtype=part.dtype) for part in packing.parts]
    outputs: dict[str, Axes] = {**made, "valid": ("batch",)}
    for part in packing.parts:
        axis = None if part.ring is None else part.ring.axis
        steps = [f"{part.places}_steps" if n == axis else size for n, size in enumerate(part.shape)]
        outputs[f"next_{part.name}"] = ("batch", *steps)
    outputs |= {places: ("batch", f"{places}_steps") for places in packing.places}
    return Role(
        name,
        step,
        (*example, torch.arange(_BATCH), *pasts),
        {**inputs, "slot": ("batch",)}
        | {f"past_{part.name}": ("slots", *part.shape) for part in packing.parts},
        outputs,
        defaults,
        packing,
        {"state": _state_text(packing), "rule": step.rule, "multiple": str(multiple)},
    )


def _tokens(codec: Codec) -> tuple[Tensor, Tensor]:
    """An example of tokens and their lengths."""
    g = codec.geometry
    frames = max(5, g.min_frames)
    tokens = torch.zeros(_BATCH, g.default_codebooks, frames, dtype=torch.int64)
    return tokens, torch.full((_BATCH, 1), frames)


def _token_axes(codec: Codec) -> Axes:
    g = codec.geometry
    return ("batch", "codebooks" if g.min_codebooks < g.num_codebooks else g.num_codebooks, "frames")


def _counts(codec: Codec) -> dict[str, list[list[int]]]:
    """The input by which a caller chooses the number of codebooks, where there is a choice."""
    g = codec.geometry
    return {"num_codebooks": [[g.default_codebooks]]} if g.min_codebooks < g.num_codebooks else {}


def _state_text(packing: Packing) -> str:
    """What a server must keep for a stream, as JSON: one row per tensor, rings with axis and places."""
    return json.dumps(
        [
            {
                "name": part.name,
                "shape": part.shape,
                "dtype": str(part.dtype).removeprefix("torch."),
                "ring_axis": None if part.ring is None else part.ring.axis,
                "places": part.places,
            }
            for part in packing.parts
        ]
    )


_ROLES = {
    "dequantize": _dequantize_role,
    "vocoder": _vocoder_role,
    "encode": _encode_role,
    "decode_stream": _decode_stream_role,
    "encode_stream": _encode_stream_role,
}
