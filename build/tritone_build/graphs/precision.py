"""Half precision: converts a codec to FP16, and finds the weights that do not fit.

Networks compute in the dtype of their input and use FP32 where FP16 is not enough (see
:mod:`tritone_build.layers.wide`), so a codec in FP16 is the same codec with another dtype. Tracing types its
graph strongly, weights are rounded once, after everything that folds into them, and the state of its streams
becomes FP16 by itself. Its channels are padded with zeros to multiples of 8
(:mod:`tritone_build.graphs.padded_channels`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tritone_build.codecs.base import Codec
from tritone_build.errors import PrecisionError
from tritone_build.graphs.padded_channels import with_padded_channels

__all__ = ["UnfitWeight", "in_fp16", "unfit_weights", "zeros_text"]

_FP16 = torch.finfo(torch.float16)
_SMALLEST = _FP16.tiny * _FP16.eps
"""The smallest positive FP16 number; values up to half of it become zero."""


@dataclass(frozen=True)
class UnfitWeight:
    """A weight with values that FP16 makes infinite (``above``) or zero (``below``).

    ``largest_below`` is the largest magnitude that becomes zero.
    """

    name: str
    count: int
    above: int
    below: int
    largest_below: float

    def __str__(self) -> str:
        lost = [(self.above, f"above {_FP16.max:.0f}"), (self.below, f"below {_SMALLEST / 2:.1e}")]
        return f"{self.name}: " + ", ".join(f"{n} of {self.count} values {what}" for n, what in lost if n)


def in_fp16(codec: Codec) -> Codec:
    """Return the codec with networks that compute in FP16, on channels in multiples of 8.

    Raises:
        PrecisionError: weights would become infinite; the message names them.
    """
    infinite = [str(unfit) for unfit in unfit_weights(codec) if unfit.above]
    if infinite:
        raise PrecisionError(
            f"{codec.name}: weights do not fit FP16: {'; '.join(infinite)}; serve this checkpoint in FP32, "
            "with the cpu target"
        )
    return with_padded_channels(replace(codec, dtype=torch.float16))


def unfit_weights(codec: Codec, role: str | None = None) -> list[UnfitWeight]:
    """Return the weights of one model, or of all, that FP16 makes infinite or zero; tables stay FP32.

    Give it the codec as it was loaded: zeros that pad channels are not counted as lost, but as values.
    """
    return [unfit for name, weight in _weights(codec, role) if (unfit := _unfit(name, weight)) is not None]


def zeros_text(unfit: Sequence[UnfitWeight]) -> str:
    """Say how many of a model's weights become zero; an empty text if none does."""
    zeros = [weight for weight in unfit if weight.below]
    if not zeros:
        return ""
    below, count = sum(weight.below for weight in zeros), sum(weight.count for weight in zeros)
    largest = max(weight.largest_below for weight in zeros)
    return (
        f"{below:,} of {count:,} values become zero in FP16 "
        f"(weights with such values: {len(zeros)}; largest: {largest:.1e})"
    )


def _weights(codec: Codec, role: str | None) -> Iterator[tuple[str, Tensor]]:
    for part, network, used_by in (
        ("decoder", codec.decoder, ("vocoder", "decode_stream")),
        ("encoder", codec.encoder, ("encode", "encode_stream")),
    ):
        if role is None or role in used_by:
            for name, parameter in network.named_parameters():
                yield f"{part}.{name}", parameter


def _unfit(name: str, weight: Tensor) -> UnfitWeight | None:
    if weight.is_meta:
        return None
    size = weight.detach().abs()
    above = int((size > _FP16.max).sum())
    zero = size[(size > 0) & (size <= _SMALLEST / 2)]
    below, largest = zero.numel(), float(zero.max()) if zero.numel() else 0.0
    return UnfitWeight(name, weight.numel(), above, below, largest) if above or below else None
