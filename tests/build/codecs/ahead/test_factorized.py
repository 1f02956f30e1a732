"""Residual quantization with projections: against its definition, at one rate and at several."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tritone_build.layers.quantizers.factorized import FactorizedQuantizer

DIM, WIDTH, SIZE = 24, 4, 32


def quantizer(
    strides: list[int] | None = None, steps: int = 1, by_direction: bool = True
) -> FactorizedQuantizer:
    made = FactorizedQuantizer(len(strides or "nnn"), SIZE, WIDTH, DIM, by_direction, strides, steps)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return made.requires_grad_(False)


def by_definition(made: FactorizedQuantizer, latent: Tensor) -> tuple[list[Tensor], Tensor]:
    """The codes of each codebook in time order, and the sum of what they stand for."""
    residual, codes = latent, []
    for book, stride in enumerate(made.strides):
        code = functional.avg_pool1d(residual, stride, stride)
        code = functional.conv1d(code, made.in_weight[book, :, :, None], made.in_bias[book]).transpose(1, 2)
        rows = made.codebooks[book]
        if made.by_direction:
            code, rows = functional.normalize(code, dim=2), functional.normalize(rows, dim=1)
        codes.append(torch.cdist(code, rows[None]).argmin(2))
        row = made.codebooks[book][codes[-1]].transpose(1, 2)
        out = functional.conv1d(row, made.out_weight[book, :, :, None], made.out_bias[book])
        residual = residual - out.repeat_interleave(stride, 2)
    return codes, latent - residual


@pytest.mark.parametrize(
    ("strides", "steps", "num_rows"), [(None, 1, 3), ([4, 2, 1], 4, 7), ([8, 4, 2, 1], 32, 60)]
)
@pytest.mark.parametrize("by_direction", [True, False])
def test_it_does_what_its_definition_says(
    strides: list[int] | None, steps: int, num_rows: int, by_direction: bool
) -> None:
    made, frames = quantizer(strides, steps, by_direction), 5
    latent = torch.randn(2, steps * DIM, frames)
    codes, summed = by_definition(made, latent.transpose(1, 2).reshape(2, -1, DIM).transpose(1, 2))
    tokens = made.quantize(latent)
    assert tokens.shape == (2, num_rows, frames)
    for part, code in zip(torch.split(tokens, list(made.rows), 1), codes, strict=True):
        assert torch.equal(part.transpose(1, 2).flatten(1), code)
    found = made.dequantize(tokens).transpose(1, 2).reshape(2, -1, DIM).transpose(1, 2)
    torch.testing.assert_close(found, summed, rtol=0, atol=1e-4)


def test_a_frame_has_its_tokens_codebook_by_codebook_in_time_order() -> None:
    made = quantizer([4, 2, 1], 4)
    before = made.dequantize(torch.zeros(1, 7, 1, dtype=torch.int64)).reshape(4, DIM)
    changed = []
    for row in range(7):
        tokens = torch.zeros(1, 7, 1, dtype=torch.int64)
        tokens[0, row] = 1
        moved = (before != made.dequantize(tokens).reshape(4, DIM)).any(1)
        changed.append([step for step in range(4) if moved[step]])
    assert changed == [[0, 1, 2, 3], [0, 1], [2, 3], [0], [1], [2], [3]]


@pytest.mark.parametrize("books", [1, 2, 3])
def test_the_first_codebooks_decode_alone(books: int) -> None:
    made = quantizer()
    tokens = torch.randint(0, SIZE, (2, 3, 6))
    expected = torch.stack(
        [
            made.codebooks[book][tokens[:, book]] @ made.out_weight[book].T + made.out_bias[book]
            for book in range(books)
        ]
    ).sum(0)
    found = made.dequantize(tokens[:, :books]).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
