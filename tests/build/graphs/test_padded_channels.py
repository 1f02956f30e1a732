"""Channels padded with zeros: the same results, from convolutions that a GPU's tensor cores take."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from scripts.common.small_codecs import NEMO, SMALL
from tritone_build.codecs import VARIANTS, outline_of
from tritone_build.codecs.base import Codec
from tritone_build.graphs.padded_channels import MULTIPLE, with_padded_channels
from tritone_build.graphs.precision import in_fp16
from tritone_build.graphs.roles import engine_role
from tritone_build.graphs.steps import DecodeStep, EncodeStep, Step
from tritone_build.layers.channels import PadsChannels
from tritone_build.layers.conv import Causal, Conv1d, UpsampleConv1d
from tritone_build.layers.hifigan import HiFiGanConfig, HiFiGanDecoder
from tritone_build.layers.snake import HalfSnake
from tritone_build.state import whole

FRAMES = 40
CHUNKS = (1, 7, 12, 1, 19)
ODD = ("nanocodec", "nanocodec_1780bps", "nanocodec_1890bps")
"""Published codecs with channels that are no multiples of 8."""
ODD_SMALL = (*NEMO, "small_mimi", "small_spectral_25fps")
"""Small codecs with them; other small ones have no convolutions, or multiples of 8 channels."""


def seeded(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.requires_grad_(False)


def in_fp64(codec: Codec) -> Codec:
    decoder, encoder = (copy.deepcopy(each).double() for each in (codec.decoder, codec.encoder))
    return replace(codec, decoder=decoder, encoder=encoder, dtype=torch.double)


def in_chunks(step: Step, x: Tensor) -> Tensor:
    """The output of a step's network for a signal that comes in chunks."""
    packing, unit, pieces = step.packing, x.shape[-1] // FRAMES, []
    past = tuple(torch.zeros(len(x), *part.shape, dtype=part.dtype) for part in packing.parts)
    for piece in torch.split(x, [unit * frames for frames in CHUNKS], dim=-1):
        state = packing.state(step.network, past, None)
        pieces.append(step.network(piece, state))
        past = packing.next_by_row(state, past)
    return torch.cat(pieces, -1)


def results(codec: Codec) -> Iterator[Tensor]:
    """Audio and latent of seeded inputs, at once and, if the network is causal, in chunks."""
    g, draw = codec.geometry, torch.Generator().manual_seed(0)
    tokens = torch.randint(g.codebook_size, (2, g.num_codebooks, FRAMES), generator=draw)
    latent = codec.quantizer.dequantize(tokens).double()
    audio = 0.1 * torch.randn(2, g.num_channels, FRAMES * g.encode_samples_per_frame, generator=draw).double()
    yield whole(codec.decoder, latent)
    yield whole(codec.encoder, audio)
    if g.causal:
        yield in_chunks(DecodeStep(codec), latent)
    if g.encode_causal:
        yield in_chunks(EncodeStep(codec), audio)


def assert_equal_in_fp64(plain: Codec, padded: Codec) -> None:
    for expected, found in zip(results(in_fp64(plain)), results(in_fp64(padded)), strict=True):
        assert expected.dtype == torch.double
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


@pytest.mark.parametrize("name", list(SMALL))
def test_padded_networks_give_the_same_whole_and_in_chunks(name: str, codecs: dict[str, Codec]) -> None:
    padded = with_padded_channels(codecs[name])
    assert (padded.decoder is not codecs[name].decoder) == (name in ODD_SMALL)
    assert_equal_in_fp64(codecs[name], padded)


@pytest.mark.parametrize("grouped", [True, False])
def test_the_channels_of_nanocodecs_last_stages_give_the_same(
    grouped: bool, codecs: dict[str, Codec]
) -> None:
    """216, 108, 54 and 27 channels: groups that fit, groups with zeros after them, and both."""
    codec = codecs["small_nanocodec"]
    config = HiFiGanConfig(
        rates=(2, 3, 2),
        latent_dim=codec.geometry.latent_dim,
        base_channels=216,
        in_kernel_size=7,
        out_kernel_size=3,
        kernel_sizes=(3,),
        dilations=(1, 3),
        activation="half_snake",
        pad_mode="zeros",
        causal=True,
        grouped=grouped,
        output_activation="tanh",
    )
    decoder = HiFiGanDecoder(config)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            parameter.normal_(float(name.endswith("alpha")), 0.05)
    plain = replace(codec, decoder=decoder.requires_grad_(False))
    padded = with_padded_channels(plain)
    sizes = [tuple(each.weight.shape[:2]) for each in padded.decoder.modules() if isinstance(each, Conv1d)]
    assert set(sizes) == {(216, 16), (112, 112), (56, 56), (32, 32), (1, 32)}
    assert_equal_in_fp64(plain, padded)


def test_a_padded_codec_leaves_the_codec_as_it_was_and_shares_its_unpadded_weights(
    codecs: dict[str, Codec],
) -> None:
    codec = codecs["small_nanocodec"]
    before = {name: (tensor, tensor.clone()) for name, tensor in codec.decoder.named_parameters()}
    padded = in_fp16(codec)
    for name, tensor in codec.decoder.named_parameters():
        assert tensor is before[name][0]
        assert torch.equal(tensor, before[name][1])
    ours = dict(padded.decoder.named_parameters())
    assert ours.keys() == before.keys()
    assert ours["activations.0.alpha"] is before["activations.0.alpha"][0]
    assert not any(parameter.requires_grad for parameter in ours.values())
    assert padded.geometry == codec.geometry
    assert in_fp16(padded).decoder is padded.decoder


@pytest.mark.parametrize("name", list(VARIANTS))
def test_networks_with_nothing_to_pad_stay_the_same_object(name: str) -> None:
    with torch.device("meta"):
        codec = outline_of(VARIANTS[name])
        padded = with_padded_channels(codec)
    assert (padded.decoder is codec.decoder) == (name not in ODD)
    assert padded.encoder is codec.encoder


@pytest.mark.parametrize(
    ("channels", "padded", "groups", "zeros"),
    [
        ((8, 4), (8, 8), 4, 4),
        ((108, 54), (112, 56), 56, 0),
        ((54, 27), (56, 32), 28, 4),
        ((9, 18), (16, 24), 12, 0),
    ],
)
def test_grouped_upsampling_adds_the_groups_for_which_both_sides_have_room(
    channels: tuple[int, int], padded: tuple[int, int], groups: int, zeros: int
) -> None:
    plain = UpsampleConv1d(*channels, 3, groups=min(channels))
    seeded(plain).double()
    layer = copy.deepcopy(plain)
    layer.pad_channels(MULTIPLE, MULTIPLE)
    assert (layer.groups, layer.zeros_after) == (groups, zeros)
    x = torch.randn(2, padded[0], 5, dtype=torch.double)
    found, expected = whole(layer, x), whole(plain, x[:, : channels[0]])
    assert found.shape == (2, padded[1], 15)
    torch.testing.assert_close(found[:, : channels[1]], expected, rtol=0, atol=1e-12)


def test_activations_keep_channels_of_zeros() -> None:
    snake = HalfSnake(27)
    seeded(snake)
    x = torch.randn(2, 27, 9)
    found = snake(torch.cat([x, torch.zeros(2, 5, 9)], 1))
    torch.testing.assert_close(found[:, :27], snake(x), rtol=0, atol=0)
    assert not found[:, 27:].any()


def test_a_layer_with_as_many_channels_out_as_in_is_padded_on_both_sides_or_none() -> None:
    assert isinstance(HalfSnake(4), PadsChannels)
    with pytest.raises(AssertionError, match="HalfSnake has as many channels out as in: 8, 1"):
        HalfSnake(4).pad_channels(8, 1)


def test_weights_that_pad_are_zero_and_only_between_layers() -> None:
    layer = Conv1d(3, 5, 7, Causal.of(7))
    seeded(layer)
    weight, bias = layer.weight, layer.bias
    layer.pad_channels(1, MULTIPLE)
    assert layer.weight.shape == (8, 3, 7)
    assert torch.equal(layer.weight[:5], weight)
    assert torch.equal(layer.bias[:5], bias)
    assert not layer.weight[5:].any()
    assert not layer.bias[5:].any()


class HalfConvolutions(TorchDispatchMode):
    """Records the shapes of the weights of FP16 convolutions."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # PyTorch has no types here
        self.weights: list[tuple[int, ...]] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten.convolution.default and args[0].dtype == torch.float16:
            self.weights.append(tuple(args[1].shape))
        return func(*args, **kwargs or {})


def decoding(codec: Codec) -> tuple[list[tuple[int, ...]], int]:
    """The FP16 convolutions of a decoder, and its multiplications and additions."""
    role = engine_role(codec, "vocoder")
    with torch.no_grad(), FlopCounterMode(display=False) as counter, HalfConvolutions() as convolutions:
        role.module(*role.example)
    return convolutions.weights, counter.get_total_flops()


@pytest.mark.parametrize(("name", "more_work"), zip(ODD, (0.089, 0.089, 0.066), strict=True))
def test_nearly_all_convolutions_of_nanocodec_have_channels_in_multiples_of_8(
    name: str, more_work: float
) -> None:
    with torch.device("meta"):
        codec = outline_of(VARIANTS[name])
        (plain, before), (padded, after) = map(
            decoding, (replace(codec, dtype=torch.float16), in_fp16(codec))
        )
    fitting = [[w for w in weights if w[0] % 8 == w[1] % 8 == 0] for weights in (plain, padded)]
    assert [len(each) for each in (plain, padded, *fitting)] == [67, 67, 12, 66]
    assert [w for w in padded if w not in fitting[1]] == [(1, 32, 3)]  # the last one makes audio
    assert after / before - 1 == pytest.approx(more_work, abs=5e-4)
