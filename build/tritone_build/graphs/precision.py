"""Half precision: which codec computes in it, and which weights do not fit.

Networks compute in the dtype of their input and keep in FP32 what FP16 cannot hold (see
:mod:`tritone_build.layers.wide`), so a codec in FP16 is the same codec with another dtype: its graph is
strongly typed as it is traced, weights are rounded once, after everything that folds into them, and the
state of its streams is FP16 without being told.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tritone_build.codecs.base import Codec
from tritone_build.errors import PrecisionError

__all__ = ["Unfit", "halved", "unfit_weights", "zeros_in_words"]

_FP16 = torch.finfo(torch.float16)
_SMALLEST = _FP16.tiny * _FP16.eps
"""Of FP16's numbers that are not zero; what is below half of it becomes zero."""


@dataclass(frozen=True)
class Unfit:
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


def halved(codec: Codec) -> Codec:
    """The codec with networks that compute in FP16.

    Raises:
        PrecisionError: weights would become infinite; names them.
    """
    infinite = [str(unfit) for unfit in unfit_weights(codec) if unfit.above]
    if infinite:
        raise PrecisionError(
            f"{codec.name}: weights do not fit FP16: {'; '.join(infinite)}; serve this checkpoint in FP32, "
            "with the cpu target"
        )
    return replace(codec, dtype=torch.float16)


def unfit_weights(codec: Codec, role: str | None = None) -> list[Unfit]:
    """Weights that FP16 changes beyond rounding: of one model, or of all; a table is never FP16."""
    return [unfit for name, weight in _weights(codec, role) if (unfit := _unfit(name, weight)) is not None]


def zeros_in_words(unfit: Sequence[Unfit]) -> str:
    """How much of a model's weights becomes zero; empty where nothing does."""
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


def _unfit(name: str, weight: Tensor) -> Unfit | None:
    if weight.is_meta:
        return None
    size = weight.detach().abs()
    above = int((size > _FP16.max).sum())
    zero = size[(size > 0) & (size <= _SMALLEST / 2)]
    below, largest = zero.numel(), float(zero.max()) if zero.numel() else 0.0
    return Unfit(name, weight.numel(), above, below, largest) if above or below else None
