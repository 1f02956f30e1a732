"""FP16 is held against FP32 on speech; what overflows is refused by name."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from tritone_build.codecs.base import Codec
from tritone_build.engines.overflow import overflowing_layers
from tritone_build.engines.speech import speech_audio, speech_tokens
from tritone_build.engines.verification import verified
from tritone_build.errors import PrecisionError
from tritone_build.graphs.wide_products import wide_products

ANY_DB = 0.0


def test_speech_has_the_rate_and_the_length_that_are_asked_for(codecs: dict[str, Codec]) -> None:
    for codec in codecs.values():
        g = codec.geometry
        audio = speech_audio(codec, 30)
        assert audio.shape == (1, *g.audio_shape(30 * g.encode_samples_per_frame))
        assert g.num_channels == 1 or not torch.equal(audio[0, 0], audio[0, 1]), "stereo speech"
        assert 0 < float(audio.abs().max()) <= 1
        tokens = speech_tokens(codec, 30)
        assert tokens.shape == (1, g.default_codebooks, 30)
        assert int(tokens.min()) >= 0
        assert int(tokens.max()) < g.codebook_size


@pytest.mark.parametrize("name", ["small_nanocodec", "small_mimi", "small_moss_nano"])
def test_every_engine_is_held_against_fp32(name: str, codecs: dict[str, Codec]) -> None:
    for role, figure in (("vocoder", "snr_db"), ("decode_stream", "snr_db"), ("encode", "equal_tokens")):
        found = verified(codecs[name], role, ANY_DB)
        assert found["frames"] == (300 if role == "decode_stream" else 64)
        assert found[figure] > (40 if figure == "snr_db" else 0.95)


def test_too_low_a_figure_is_refused_with_both_numbers(codecs: dict[str, Codec]) -> None:
    with pytest.raises(
        PrecisionError, match=r"small_nanocodec_vocoder: FP16 is [\d.]+ dB from FP32 on speech, at least 200"
    ):
        verified(codecs["small_nanocodec"], "vocoder", 200)


def last_of(codec: Codec, kind: type[nn.Module]) -> tuple[str, nn.Module]:
    """The last layer of a kind in the decoder."""
    return [(name, each) for name, each in codec.decoder.named_modules() if isinstance(each, kind)][-1]


@pytest.mark.parametrize("role", ["vocoder", "decode_stream"])
def test_a_layer_that_overflows_is_named(role: str, codecs: dict[str, Codec]) -> None:
    """Its weights fit FP16; what it makes of speech does not."""
    codec = copy.deepcopy(codecs["small_mimi"])
    norm, layer = last_of(codec, nn.LayerNorm)
    name = norm.rpartition(".")[0]
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(60000.0)
    with pytest.raises(PrecisionError, match=rf"{name}.* do not fit FP16, whose largest number is 65504"):
        verified(codec, role, ANY_DB)


class Outer(nn.Module):
    """Adds what fits FP16 to what does not fit with it."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = self.inner(x) + x
        return added


@pytest.mark.parametrize(
    ("inner", "named"),
    [
        (lambda x: x * 2, ["first.inner"]),
        (lambda x: x, ["first"]),
        (lambda x: x * 0.1, []),
    ],
)
def test_the_innermost_layer_is_named_and_what_follows_it_is_not(
    inner: Callable[[torch.Tensor], torch.Tensor], named: list[str]
) -> None:
    class Inner(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return inner(x)

    network = nn.Sequential()
    network.add_module("first", Outer(Inner()))
    network.add_module("second", nn.Identity())
    with overflowing_layers(network) as layers:
        for _ in range(2):
            network(torch.full((1, 4), 40000.0, dtype=torch.float16))
    assert layers == named


def test_products_are_summed_in_fp32_and_rounded_once() -> None:
    a, b = torch.randn(2, 3, 64).half(), torch.randn(2, 64, 5).half()
    exact = (a.double() @ b.double()).half()
    with wide_products():
        found = a @ b
        convolved = nn.functional.conv1d(a, torch.ones(4, 3, 3).half())
    assert found.dtype == convolved.dtype == torch.float16
    torch.testing.assert_close(found, exact, rtol=2e-3, atol=1e-3)
    expected = nn.functional.conv1d(a.float(), torch.ones(4, 3, 3)).half()
    torch.testing.assert_close(convolved, expected, rtol=0, atol=0)
    with wide_products():
        assert (a.float() @ b.float()).dtype == torch.float32
