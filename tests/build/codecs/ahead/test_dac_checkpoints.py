"""DAC's configurations and tensor names in all their published forms, and what is refused by name."""

from typing import Any

import pytest
import torch

from tritone_build.codecs.configs.dac import DAC_16KHZ, DAC_24KHZ, DAC_44KHZ, DacCodecConfig, describes, parse
from tritone_build.codecs.names.dac import is_original, to_original, to_transformers
from tritone_build.errors import UnsupportedNetworkError
from tritone_build.layers.ahead.dac import DacConfig

ORIGINAL_44KHZ = {
    "encoder_dim": 64,
    "encoder_rates": [2, 4, 8, 8],
    "decoder_dim": 1536,
    "decoder_rates": [8, 8, 4, 2],
    "n_codebooks": 9,
    "codebook_size": 1024,
    "codebook_dim": 8,
    "quantizer_dropout": 1.0,
    "sample_rate": 44100,
}
PARLER = {"model_type": "dac_on_the_hub", "num_codebooks": 9, "latent_dim": 1024, "codebook_size": 1024}


def test_the_forms_of_one_configuration_say_the_same() -> None:
    network = DacConfig(1024, 1, 64, (2, 4, 8, 8), 1536, (8, 8, 4, 2))
    expected = DacCodecConfig(44100, network, 9, 1024, 8)
    derived = {
        key: value for key, value in DAC_44KHZ.items() if key not in ("hidden_size", "upsampling_ratios")
    }
    by_codebook = ORIGINAL_44KHZ | {"codebook_dim": [8] * 9, "latent_dim": None}
    for form in (DAC_44KHZ, derived, ORIGINAL_44KHZ, by_codebook, PARLER, PARLER | {"model_type": "dac"}):
        assert describes(form)
        assert parse(form) == expected


@pytest.mark.parametrize(("config", "hop"), [(DAC_44KHZ, 512), (DAC_24KHZ, 320), (DAC_16KHZ, 320)])
def test_the_hop_is_the_product_of_the_rates(config: dict[str, Any], hop: int) -> None:
    """descript/dac_24khz says 512."""
    assert parse({**config, "hop_length": 512}).network.hop == hop


def test_more_codebooks_and_a_narrow_latent_are_read() -> None:
    """The arguments of Descript's checkpoint of 16 kbit/s, as public copies state them."""
    parsed = parse(ORIGINAL_44KHZ | {"n_codebooks": 18, "latent_dim": 128})
    assert (parsed.num_codebooks, parsed.network.latent_dim) == (18, 128)


SNAC = {**ORIGINAL_44KHZ, "vq_strides": [4, 2, 1]}


def test_snac_is_not_taken_for_it() -> None:
    assert not describes(SNAC)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({**DAC_44KHZ, "n_codebooks": None}, "has no n_codebooks"),
        ({**DAC_44KHZ, "codebook_dim": "8"}, "codebook_dim is '8', expected an integer"),
        ({**DAC_44KHZ, "downsampling_ratios": [2, 0]}, "downsampling_ratios is"),
        ({**DAC_44KHZ, "upsampling_ratios": [8, 8, 4, 4]}, "multiply to 512, upsampling_ratios to 1024"),
        ({**DAC_44KHZ, "decoder_hidden_size": 24}, "24 cannot be halved 4 times"),
        ({**DAC_44KHZ, "sampling_rate": 16000}, "a mistake of that repository's old revisions"),
        ({**ORIGINAL_44KHZ, "causal": True, "norm": "rms"}, "causal, norm: no arguments of DAC"),
        ({**ORIGINAL_44KHZ, "codebook_dim": [8, 16]}, "codebook_dim = [8, 16] is not supported"),
        ({**ORIGINAL_44KHZ, "sample_rate": None}, "has no sampling_rate"),
    ],
)
def test_what_cannot_be_is_refused_by_name(config: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedNetworkError) as caught:
        parse(config)
    assert said in str(caught.value)


NAMES = {
    "encoder.block.0.weight": "encoder.conv1.weight",
    "encoder.block.1.block.2.block.3.bias": "encoder.block.0.res_unit3.conv2.bias",
    "encoder.block.2.block.3.alpha": "encoder.block.1.snake1.alpha",
    "encoder.block.4.block.4.weight": "encoder.block.3.conv1.weight",
    "encoder.block.5.alpha": "encoder.snake1.alpha",
    "encoder.block.6.bias": "encoder.conv2.bias",
    "decoder.model.0.bias": "decoder.conv1.bias",
    "decoder.model.1.block.0.alpha": "decoder.block.0.snake1.alpha",
    "decoder.model.3.block.1.weight": "decoder.block.2.conv_t1.weight",
    "decoder.model.4.block.2.block.0.alpha": "decoder.block.3.res_unit1.snake1.alpha",
    "decoder.model.5.alpha": "decoder.snake1.alpha",
    "decoder.model.6.weight": "decoder.conv2.weight",
    "quantizer.quantizers.8.in_proj.weight": "quantizer.quantizers.8.in_proj.weight",
}


def test_names_are_converted_in_both_directions() -> None:
    original = {name: torch.tensor(number) for number, name in enumerate(NAMES)}
    renamed = to_transformers(original, 4)
    assert list(renamed) == list(NAMES.values())
    assert to_original(renamed, 4) == original
    assert is_original(original)
    assert not is_original(renamed)


@pytest.mark.parametrize(
    "name",
    [
        "encoder.block.7.weight",
        "encoder.block.1.block.3.block.0.alpha",
        "encoder.block.1.block.0.weight",
        "encoder.model.0.weight",
        "decoder.model.5.block.0.alpha",
        "decoder.model.1.block.7.weight",
        "decoder.block.0.weight",
        "generator.0.weight",
    ],
)
def test_names_that_dac_does_not_have_stay(name: str) -> None:
    tensors = {name: torch.zeros(1)}
    assert to_transformers(tensors, 4) == tensors
    if not name.startswith("decoder.block"):
        assert to_original(tensors, 4) == tensors
