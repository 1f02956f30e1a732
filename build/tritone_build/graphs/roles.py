"""The models of a codec, for each target."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, TypeAlias

import torch

from tritone_build.codecs.base import Codec
from tritone_build.codecs.stateless import Dequantizer, Encoder, Vocoder
from tritone_build.engines.buckets import BUCKETS, BucketedDequantizer, most_frames
from tritone_build.graphs.precision import in_fp16
from tritone_build.graphs.role import (
    BATCH,
    Axes,
    Role,
    audio_axes,
    choice_of_codebooks,
    example_tokens,
    token_axes,
)
from tritone_build.graphs.stream_roles import (
    decode_stream,
    decode_stream_engine,
    decode_stream_program,
    encode_stream,
    encode_stream_engine,
    encode_stream_program,
)

__all__ = ["Axes", "Role", "Target", "engine_role", "role_names", "roles"]

Target: TypeAlias = Literal["cpu", "cuda", "tensorrt"]

_LENGTH: Axes = ("batch", 1)


def roles(codec: Codec, target: Target = "cpu") -> tuple[Role, ...]:
    """Return the models of a codec that hold a network or a table, in the order in which data passes them.

    For TensorRT all but the table are engines and compute in FP16. For ``cuda`` they compute in the codec's
    own precision.
    """
    if target == "tensorrt":
        codec = in_fp16(codec)
    return tuple(_MODELS[target][name](codec) for name in role_names(codec))


def engine_role(codec: Codec, name: str) -> Role:
    """Return one of the engines, in the precision of the codec."""
    return _MODELS["tensorrt"][name](codec)


def role_names(codec: Codec) -> list[str]:
    """Return the names of :func:`roles` without building them."""
    g = codec.geometry
    streams = {"decode_stream": g.stepwise, "encode_stream": g.encode_stepwise}
    return ["dequantize", "vocoder", "encode", *(name for name, stepwise in streams.items() if stepwise)]


def _dequantize(codec: Codec) -> Role:
    tokens = example_tokens(codec)
    return Role(
        "dequantize",
        Dequantizer(codec),
        (tokens, torch.full((BATCH, 1), tokens.shape[2])),
        {"tokens": token_axes(codec), "tokens_len": _LENGTH},
        {"latent": ("batch", codec.geometry.latent_dim, "frames"), "latent_len": _LENGTH},
    )


def _bucketed(codec: Codec) -> Role:
    """The dequantizer with buckets; without them if the vocoder sees what follows the last frame."""
    role = _dequantize(codec)
    if not codec.geometry.stepwise:
        return role
    latent: Axes = ("batch", codec.geometry.latent_dim, "bucket")
    g = codec.geometry
    most = most_frames(g.frame_rate_hz, g.lookaround_frames, g.causal)
    bucketed = BucketedDequantizer(role.module, most)
    return replace(role, module=bucketed, outputs={**role.outputs, "latent": latent})


def _vocoder(codec: Codec) -> Role:
    frames, dim = example_tokens(codec).shape[2], codec.geometry.latent_dim
    return Role(
        "vocoder",
        Vocoder(codec),
        (torch.zeros(BATCH, dim, frames), torch.full((BATCH, 1), frames)),
        {"latent": ("batch", dim, "frames"), "latent_len": _LENGTH},
        {"audio": audio_axes(codec), "audio_len": _LENGTH},
    )


def _vocoder_engine(codec: Codec) -> Role:
    return replace(_vocoder(codec), engine=True)


def _vocoder_program(codec: Codec) -> Role:
    """The vocoder for PyTorch; where rows may differ in length, they are padded to those with CUDA graphs."""
    buckets = {"latent": BUCKETS} if codec.geometry.stepwise else {}
    return replace(_vocoder(codec), metadata={"buckets": json.dumps(buckets)})


def _encode_engine(codec: Codec) -> Role:
    """The encoder as an engine; it returns all codebooks, because an engine has no optional inputs."""
    g = codec.geometry
    samples = example_tokens(codec).shape[2] * g.encode_samples_per_frame - 1
    return Role(
        "encode",
        Encoder(codec),
        (torch.zeros(BATCH, *g.audio_shape(samples)), torch.full((BATCH, 1), samples)),
        {"audio": audio_axes(codec), "audio_len": _LENGTH},
        {"tokens": ("batch", g.num_codebooks, "frames"), "tokens_len": _LENGTH},
        engine=True,
    )


def _encode_program(codec: Codec) -> Role:
    """The encoder for PyTorch; it returns all codebooks: choosing some makes a GPU wait."""
    return replace(_encode_engine(codec), engine=False)


def _encode(codec: Codec) -> Role:
    role, choice = _encode_engine(codec), choice_of_codebooks(codec)
    return replace(
        role,
        example=(*role.example, *map(torch.tensor, choice.values())),
        inputs={**role.inputs, **dict.fromkeys(choice, (1, 1))},
        outputs={**role.outputs, "tokens": token_axes(codec)},
        defaults=choice,
        engine=False,
    )


_MODELS: Mapping[Target, Mapping[str, Callable[[Codec], Role]]] = {
    "cpu": {
        "dequantize": _dequantize,
        "vocoder": _vocoder,
        "encode": _encode,
        "decode_stream": decode_stream,
        "encode_stream": encode_stream,
    },
    "cuda": {
        "dequantize": _dequantize,
        "vocoder": _vocoder_program,
        "encode": _encode_program,
        "decode_stream": decode_stream_program,
        "encode_stream": encode_stream_program,
    },
    "tensorrt": {
        "dequantize": _bucketed,
        "vocoder": _vocoder_engine,
        "encode": _encode_engine,
        "decode_stream": decode_stream_engine,
        "encode_stream": encode_stream_engine,
    },
}
