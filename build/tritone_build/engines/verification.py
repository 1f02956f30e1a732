"""Compares an engine's network in FP16 with FP32 on speech, and refuses what is too far away.

ONNX Runtime on a CPU keeps FP32 between the nodes of an FP16 graph, which flatters it by 2 to 5 dB. PyTorch
rounds after every operation, as a GPU does.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tritone_build.codecs.base import Codec
from tritone_build.engines.overflow import overflowing_layers
from tritone_build.engines.speech import speech_audio, speech_tokens
from tritone_build.errors import PrecisionError
from tritone_build.graphs.precision import in_fp16
from tritone_build.graphs.role import Role
from tritone_build.graphs.roles import engine_role
from tritone_build.graphs.wide_products import wide_products
from tritone_runtime.fidelity import differing_share, snr_db

__all__ = ["LEAST_DB", "LEAST_EQUAL", "verified"]

LEAST_DB, LEAST_EQUAL = 50.0, 0.95
"""Least fidelity of an engine: SNR of its audio, and share of equal tokens in the first codebook."""
_WHOLE = 64
"""Frames of a whole input."""
_STEPS = (*[8] * 35, *[1] * 20)
"""Frames of each step of a stream: 300, after which every ring has been full."""
_NAMED = 3


@torch.no_grad()
def verified(codec: Codec, role: str, least_db: float = LEAST_DB) -> dict[str, float]:
    """Measure the fidelity of one engine's network in FP16.

    Args:
        codec: the codec, in FP32.
        role: name of the engine's role.
        least_db: least SNR of audio.

    Returns:
        ``snr_db`` for audio, or ``equal_tokens``, the share of equal tokens in the first codebook; with the
        number of ``frames``.

    Raises:
        PrecisionError: a layer's results do not fit FP16, and the message names it; or the output is too far
            from FP32.
    """
    name, steps = f"{codec.name}_{role}", _steps(codec, role)
    data = _speech(codec, role, sum(steps))
    exact = _output(engine_role(replace(codec, dtype=torch.float32), role), data, steps)
    half = engine_role(in_fp16(codec), role)
    with overflowing_layers(half.module) as layers, wide_products():
        rounded = _output(half, data, steps)
    if layers:
        raise PrecisionError(_overflow_text(name, layers))
    measured = _measured(exact, rounded)
    _refuse_low(name, measured, least_db)
    return measured | {"frames": sum(steps)}


def _steps(codec: Codec, role: str) -> tuple[int, ...]:
    return _STEPS if role.endswith("_stream") else (max(_WHOLE, codec.geometry.min_frames),)


def _speech(codec: Codec, role: str, frames: int) -> Tensor:
    """The input of a role: audio, tokens, or the latent of tokens."""
    if role.startswith("encode"):
        return speech_audio(codec, frames)
    tokens = speech_tokens(codec, frames)
    return tokens if role.endswith("_stream") else codec.quantizer.dequantize(tokens)


def _output(role: Role, data: Tensor, steps: Sequence[int]) -> Tensor:
    """Audio [..., S] or the first codebook [T], of all steps together."""
    pieces, past = [], _fresh(role)
    unit = data.shape[-1] // sum(steps)
    for piece in torch.split(data, [unit * frames for frames in steps], dim=-1):
        others = past if role.packing else [torch.tensor([[piece.shape[-1]]])]
        output, *past = role.module(piece, *others)
        pieces.append(output[0, 0] if output.dtype == torch.int64 else output[0])
    return torch.cat(pieces, dim=-1)


def _fresh(role: Role) -> list[Tensor]:
    """The state of a new stream; nothing for a whole input."""
    parts = role.packing.parts if role.packing else ()
    return [torch.zeros(1, *part.shape, dtype=part.dtype) for part in parts]


def _measured(exact: Tensor, rounded: Tensor) -> dict[str, float]:
    if rounded.dtype == torch.int64:
        return {"equal_tokens": 1 - differing_share(exact.numpy(), rounded.numpy())}
    return {"snr_db": round(snr_db(exact.numpy(), rounded.numpy()), 1)}


def _overflow_text(name: str, layers: Sequence[str]) -> str:
    more = f" and {len(layers) - _NAMED} more" if len(layers) > _NAMED else ""
    return (
        f"{name}: the results of {', '.join(layers[:_NAMED])}{more} do not fit FP16, whose largest number is "
        "65504; serve this checkpoint in FP32, with the cpu target"
    )


def _refuse_low(name: str, measured: dict[str, float], least_db: float) -> None:
    limits = {"snr_db": (least_db, "dB from FP32"), "equal_tokens": (LEAST_EQUAL, "of the tokens of FP32")}
    for figure, value in measured.items():
        least, what = limits[figure]
        if not value >= least:
            raise PrecisionError(
                f"{name}: FP16 is {value:g} {what} on speech, at least {least:g} is expected; serve this "
                "checkpoint in FP32, with the cpu target"
            )
