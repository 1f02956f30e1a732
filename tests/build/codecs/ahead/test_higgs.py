"""Higgs Audio v2's tokenizer: ours against transformers', both spellings of its names, and its parts."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scripts.common.small_codecs import small
from scripts.peers import Reference, reference_of
from tritone_build.checkpoints.checkpoint import Checkpoint, open_checkpoint
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.codecs import codec_within, higgs_v2, load_codec
from tritone_build.codecs.base import Codec
from tritone_build.codecs.configs.higgs_v2 import PUBLISHED, parse
from tritone_build.codecs.stateless import Encoder
from tritone_build.errors import CheckpointMismatchError, UnsupportedNetworkError
from tritone_build.graphs.roles import role_names
from tritone_build.graphs.steps import DecodeStep, ImplicitStateStep
from tritone_build.layers.resampling import SincResampler
from tritone_build.repository.configs import parameters
from tritone_build.state import whole
from tritone_runtime.fidelity import snr_db

CONFIG = small(PUBLISHED)
FRAMES = 30


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(str(write_fixture(CONFIG, tmp_path_factory.mktemp("higgs"))))


@pytest.fixture(scope="module")
def codec(checkpoint: Checkpoint) -> Codec:
    return load_codec(checkpoint, "small_higgs_v2")


@pytest.fixture(scope="module")
def reference(checkpoint: Checkpoint) -> Reference:
    return reference_of(checkpoint)


def noise(frames: float) -> Tensor:
    return 0.1 * torch.randn(2, int(frames * 960), generator=torch.Generator().manual_seed(1))


def encoded(codec: Codec, audio: Tensor) -> Tensor:
    padded = nn.functional.pad(audio, (0, -audio.shape[1] % 960))
    return codec.quantizer.quantize(whole(codec.encoder, padded[:, None]))


def decoded(codec: Codec, tokens: Tensor) -> Tensor:
    return whole(codec.decoder, codec.quantizer.dequantize(tokens))


@pytest.mark.parametrize("books", [1, 4])
def test_decoding_equals_the_reference(books: int, codec: Codec, reference: Reference) -> None:
    tokens = encoded(codec, noise(FRAMES))[:, :books]
    expected, found = reference.decode(tokens), decoded(codec, tokens)
    assert expected.shape == found.shape == (2, FRAMES * 960)
    assert snr_db(expected.numpy(), found.numpy()) > 120
    assert 0.05 < expected.std() < 0.5, "as loud as speech, or this compares little"


@pytest.mark.parametrize("frames", [FRAMES, 7.3, 1])
def test_encoding_equals_the_reference(frames: float, codec: Codec, reference: Reference) -> None:
    audio = noise(frames)
    tokens = encoded(codec, audio)
    assert torch.equal(reference.encode(audio), tokens)
    assert frames < FRAMES or all(len(torch.unique(tokens[:, book])) > 20 for book in range(4))


def test_every_sample_changes_tokens_everywhere(codec: Codec) -> None:
    """So there are no streams of the encoder, and no windows that would equal the whole."""
    audio = noise(FRAMES)[:1]
    before = whole(codec.encoder, audio[:, None])
    audio[0, -1] += 1.0
    changed = (before != whole(codec.encoder, audio[:, None])).any(1)
    assert bool(changed.all())


def test_the_encoder_takes_whole_utterances_up_to_a_length(codec: Codec) -> None:
    g = codec.geometry
    assert (g.stepwise, g.encode_stepwise, g.encode_whole_s) == (True, False, 30)
    assert parameters(codec, "encode")["whole_utterances_s"] == "30"
    assert "whole_utterances_s" not in parameters(codec, "decode")
    assert role_names(codec) == ["dequantize", "vocoder", "encode", "decode_stream"]
    samples = 30 * 24000 + 1
    with pytest.raises(ValueError, match="at most 720000 samples: the encoder needs all of an utterance"):
        Encoder(codec)(torch.zeros(1, samples), torch.tensor([[samples]]))


SIZES = ([1] * 20, [5, 1, 7, 2, 7])


@pytest.mark.parametrize("sizes", SIZES, ids=["ones", "drawn"])
def test_a_stream_gives_the_audio_of_the_whole(sizes: list[int], codec: Codec) -> None:
    tokens = torch.randint(0, 128, (2, 4, 10))
    sent = torch.cat([tokens, torch.full((2, 4, sum(sizes) - 10), -1)], 2)
    step = DecodeStep(codec)
    stream, pieces = ImplicitStateStep(step), []
    pasts = [torch.zeros(2, *part.shape, dtype=part.dtype) for part in step.packing.parts]
    for piece in torch.split(sent, sizes, 2):
        audio, *pasts = stream(piece, *pasts)
        pieces.append(audio)
    late = codec.geometry.delay_samples
    found = torch.cat(pieces, 1)[:, late : late + 9600]
    assert snr_db(decoded(codec, tokens).numpy(), found.numpy()) > 120


def test_the_names_of_the_authors_hold_the_same_codec(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Their configuration does not describe the network; the published one does, which is not this small."""
    path = write_fixture(CONFIG, tmp_path, layout="bin")
    original = open_checkpoint(str(path))
    assert original.tensors.keys() & checkpoint.tensors.keys() == {
        name for name in checkpoint.tensors if name.startswith("semantic_model.")
    }
    assert "fc_prior.weight" in original.tensors
    assert "encoder_semantic.conv_blocks.1.res_units.0.conv2.conv.weight" in original.tensors
    dead = {
        **original.tensors,
        "fc1.weight": torch.zeros(3),
        "semantic_model.masked_spec_embed": torch.zeros(3),
    }
    tokens = torch.arange(24).reshape(1, 4, 6)
    ours, theirs = (
        decoded(load_codec(each, "x"), tokens) for each in (checkpoint, replace(original, tensors=dead))
    )
    assert snr_db(ours.numpy(), theirs.numpy()) > 120


def published() -> dict[str, Tensor]:
    """All tensors of the published checkpoint in transformers' layout, without data."""
    with torch.device("meta"):
        tensors = higgs_v2.Network(parse(PUBLISHED)).published()
        unused = {name: torch.zeros(shape) for name, shape in higgs_v2.training_only(PUBLISHED).items()}
    return higgs_v2.in_layout(tensors | unused, "transformers", PUBLISHED)


def test_the_published_geometry_has_the_published_tensors() -> None:
    tensors = published()
    assert (len(tensors), sum(map(torch.numel, tensors.values()))) == (527, 201_400_553)


def test_it_is_found_in_a_larger_model_that_says_nothing_about_it() -> None:
    inside = {f"audio_tokenizer.{name}": tensor for name, tensor in published().items()}
    found = codec_within(Checkpoint("x", "sharded", {}, inside, ""))
    assert found.prefix == "audio_tokenizer"
    assert higgs_v2.variant_of(found) == "higgs_v2"


def test_every_tensor_that_is_off_is_named(checkpoint: Checkpoint) -> None:
    tensors = dict(checkpoint.tensors) | {"decoder_acoustic.weight": torch.zeros(1)}
    del tensors["semantic_model.encoder.layers.1.attention.k_proj.bias"]
    with pytest.raises(CheckpointMismatchError) as caught:
        load_codec(replace(checkpoint, tensors=tensors), "x")
    assert caught.value.missing == ["semantic_model.encoder.layers.1.attention.k_proj.bias"]
    assert caught.value.unexpected == ["decoder_acoustic.weight"]


def with_semantic(**values: Any) -> dict[str, Any]:
    return {**PUBLISHED, "semantic_model_config": {**PUBLISHED["semantic_model_config"], **values}}


def without(section: str, *keys: str) -> dict[str, Any]:
    kept = {key: value for key, value in PUBLISHED[section].items() if key not in keys}
    return {**PUBLISHED, section: kept}


def test_what_a_nested_configuration_leaves_out_is_its_class_default() -> None:
    for config in (
        without("semantic_model_config", "hidden_size", "conv_stride", "num_attention_heads"),
        without("acoustic_model_config", "encoder_hidden_size"),
    ):
        assert parse(config) == parse(PUBLISHED)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            without("acoustic_model_config", "downsampling_ratios"),
            "no acoustic_model_config.downsampling_ratios",
        ),
        ({**PUBLISHED, "target_bandwidths": []}, "target_bandwidths is []"),
        ({**PUBLISHED, "target_bandwidths": [0.1]}, "0.1 kbit/s are less than one codebook's 250 bit/s"),
        ({**PUBLISHED, "strides": [2, 1]}, "strides = [2, 1] is not supported"),
        ({**PUBLISHED, "downsample_factor": 160}, "expected equal numbers, and downsample_factor = 160"),
        ({**PUBLISHED, "sample_rate": 44100}, "is no whole number of steps"),
        (with_semantic(feat_extract_norm="layer"), "semantic_model_config.feat_extract_norm = 'layer'"),
        (with_semantic(num_attention_heads=7), "768 is no multiple of num_attention_heads 7"),
    ],
)
def test_what_cannot_be_is_refused_by_name(config: Mapping[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedNetworkError) as caught:
        parse(config)
    assert said in str(caught.value)


@pytest.mark.parametrize(("rate_in", "rate_out"), [(24000, 16000), (16000, 24000)])
def test_resampling_keeps_a_tone(rate_in: int, rate_out: int) -> None:
    """Its filter has 0.6 dB of ripple at most where it passes."""
    seconds = torch.arange(2401) / rate_in
    found = SincResampler(rate_in, rate_out)(torch.sin(2 * torch.pi * 440 * seconds)[None])[0]
    assert len(found) == -(-2401 * rate_out // rate_in)
    expected = torch.sin(2 * torch.pi * 440 * torch.arange(len(found)) / rate_out)
    assert snr_db(expected[50:-50].numpy(), found[50:-50].numpy()) > 40
