"""Layers equal their published counterparts, know how far they look, and refuse sizes that none has."""

from typing import Any

import pytest
import torch
from torch import nn

from tritone_build.codecs import VARIANTS, outline_of
from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.conv import Causal, Centred, Conv1d, UpsampleConv1d
from tritone_build.layers.quantizers.fsq import FiniteScalarQuantizer
from tritone_build.layers.reach import reach_of, shortest_input
from tritone_build.layers.transformer import TransformerConfig
from tritone_build.state import whole


def filled(layer: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer.requires_grad_(False).double()


@pytest.mark.parametrize("rate", [2, 3, 7, 8])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("causal", [True, False])
def test_upsampling_equals_the_trimmed_transposed_convolution(rate: int, groups: int, causal: bool) -> None:
    trim = 0 if causal else (rate + 1) // 2
    ours = filled(UpsampleConv1d(8, 4, rate, groups, trim))
    theirs = nn.ConvTranspose1d(8, 4, 2 * rate, rate, groups=groups).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 8, 5, dtype=torch.double)
    expected = theirs(x)[..., trim : trim + 5 * rate]
    torch.testing.assert_close(whole(ours, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "chain",
    [
        [Conv1d(1, 1, 7, Causal.of(7))],
        [Conv1d(1, 1, 3, Centred.of(3, "replicate", dilation=5), dilation=5)],
        [Conv1d(1, 1, 14, Centred.of(14, "replicate", stride=7), stride=7)],
        [UpsampleConv1d(1, 1, 3), Conv1d(1, 1, 5, Causal.of(5))],
        [UpsampleConv1d(1, 1, 3, trim=2), Conv1d(1, 1, 11, Centred.of(11, "reflect"))],
        [UpsampleConv1d(1, 1, 8, trim=4), Conv1d(1, 1, 3, Centred.of(3, "zeros"))],
    ],
    ids=["causal", "dilated", "strided", "causal up", "centred up, odd", "centred up, even"],
)
def test_computed_reach_is_the_measured_reach(chain: list[nn.Module]) -> None:
    """The middle output steps depend on exactly the input steps that the layers announce."""
    layers = [filled(layer) for layer in chain]
    x = torch.randn(1, 1, 70, dtype=torch.double, requires_grad=True)
    y = x
    for layer in layers:
        y = whole(layer, y)
    rate = y.shape[2] / x.shape[2]
    past = future = 0
    for step in range(y.shape[2] // 2, y.shape[2] // 2 + max(1, round(rate))):
        (gradient,) = torch.autograd.grad(y[0, 0, step], x, retain_graph=True)
        touched = gradient[0, 0].nonzero()[:, 0]
        here = int(step / rate)
        past, future = max(past, here - int(touched.min())), max(future, int(touched.max()) - here)
    assert (past, future) == reach_of(layers)


@pytest.mark.parametrize("dilation", [1, 5])
def test_a_layer_of_many_weights_is_the_same_convolution(dilation: int) -> None:
    layer = filled(Conv1d(260, 250, 7, Causal.of(7, dilation), dilation=dilation))
    x = torch.randn(3, 260, 11, dtype=torch.double)
    padded = nn.functional.pad(x, (6 * dilation, 0))
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    expected = nn.functional.conv1d(padded, weight, bias, dilation=dilation)
    torch.testing.assert_close(whole(layer, x), expected, rtol=0, atol=1e-10)


def test_parts_of_a_causal_decoder_with_few_steps_a_frame_are_matrix_products() -> None:
    decoder = VARIANTS["nanocodec_mini"].config["audio_decoder"]
    assert decoder["up_sample_rates"][:2] == [8, 8]
    with torch.device("meta"):
        network = outline_of(VARIANTS["nanocodec_mini"]).decoder
    convolutions = [(name, each) for name, each in network.named_modules() if isinstance(each, Conv1d)]
    products = {name.split(".res_blocks")[0] for name, each in convolutions if each.as_product}
    others = {name.split(".res_blocks")[0] for name, each in convolutions if not each.as_product}
    assert products == {"pre_conv", "res_layers.0"}
    assert others == {*(f"res_layers.{stage}" for stage in range(1, 5)), "post_conv"}


def test_a_reflecting_layer_needs_one_step_more_than_it_pads() -> None:
    layer = filled(Conv1d(1, 1, 7, Centred.of(7, "reflect")))
    assert shortest_input([layer]) == 4
    whole(layer, torch.zeros(1, 1, 4, dtype=torch.double))
    with pytest.raises(RuntimeError, match=r"[Pp]adding"):
        whole(layer, torch.zeros(1, 1, 3, dtype=torch.double))


@pytest.mark.parametrize("levels", [[9, 8, 8, 7], [8, 7, 6, 6], [5], [2, 3]])
def test_every_token_survives_decoding_and_encoding(levels: list[int]) -> None:
    quantizer = FiniteScalarQuantizer(1, levels)
    tokens = torch.arange(quantizer.codebook_size)[None, None]
    # tanh squeezes the grid: undo it, so that each point falls on its own level again.
    halves = torch.tensor([level // 2 for level in levels])[:, None]
    even = torch.tensor([level % 2 == 0 for level in levels])[:, None]
    scale = (torch.tensor(levels)[:, None] - 1) / 2 * (1 - 1e-3)
    offset = torch.where(even, 0.5, 0.0)
    points = (quantizer.dequantize(tokens)[0] * halves + offset) / scale
    latent = torch.atanh(points.clamp(-0.9999999, 0.9999999)) - torch.tan(offset / scale)
    assert torch.equal(quantizer.quantize(latent[None]), tokens)


@pytest.mark.parametrize(("levels", "silent"), [([9, 8, 8, 7], 2056), ([8, 7, 6, 6], 1204)])
def test_a_silent_latent_is_the_known_token(levels: list[int], silent: int) -> None:
    quantizer = FiniteScalarQuantizer(2, levels)
    assert torch.unique(quantizer.quantize(torch.zeros(1, 8, 3))).tolist() == [silent]
    assert not quantizer.dequantize(torch.full((1, 2, 3), silent)).any()


def test_straight_through_gives_what_the_tokens_stand_for_and_passes_gradients() -> None:
    fsq = FiniteScalarQuantizer(2, [8, 7, 6, 6])
    latent = torch.randn(2, 8, 50).requires_grad_()
    rounded = fsq.straight_through(latent)
    torch.testing.assert_close(rounded, fsq.dequantize(fsq.quantize(latent)))
    (gradient,) = torch.autograd.grad(rounded.sum(), latent)
    assert (gradient > 0).all()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"context": 0}, "context is 0, expected an integer of at least 1"),
        ({"context": None}, "context is None, expected an integer"),
        ({"context": 2.0}, "context is 2.0, expected an integer"),
        ({"context": True}, "context is True, expected an integer"),
        ({"num_heads": 0}, "num_heads is 0, expected an integer"),
        ({"num_heads": 5}, "dim is 32 and its num_heads 5; expected a dim that num_heads divides"),
        ({"num_heads": 32}, "head is 1; expected an even size"),
        ({"head_width": 7}, "head is 7; expected an even size"),
        ({"head_width": 0}, "head_width is 0, expected an integer"),
    ],
)
def test_sizes_that_no_transformer_has_are_refused(values: dict[str, Any], said: str) -> None:
    sizes: dict[str, Any] = {"dim": 32, "num_layers": 2, "num_heads": 2, "feedforward_dim": 48, "context": 4}
    with pytest.raises(UnsupportedNetworkError, match=said):
        TransformerConfig(**{**sizes, **values})


def test_heads_may_be_wider_than_the_model() -> None:
    assert TransformerConfig(32, 2, 5, 48, 4, head_width=64).attention_dim == 320
