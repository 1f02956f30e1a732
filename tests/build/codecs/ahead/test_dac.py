"""DAC: ours against Descript's own class and transformers', from every published layout."""

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scripts.common.small_codecs import small
from scripts.peers import Reference, references_of
from tritone_build.checkpoints.checkpoint import Checkpoint, open_checkpoint
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.checkpoints.weight_norm import Spelling
from tritone_build.codecs import VARIANTS, codec_within, dac, load_codec
from tritone_build.codecs.base import Codec
from tritone_build.codecs.configs.dac import parse
from tritone_build.errors import CheckpointMismatchError, UnsupportedNetworkError
from tritone_build.graphs.steps import DecodeStep, EncodeStep, ImplicitStateStep
from tritone_build.state import whole
from tritone_runtime.fidelity import snr_db

NAMES = ("dac_44khz", "dac_24khz")
"""Even rates only, and one that is odd: there the audio is shorter than its frames."""
PEERS = ("descript-audio-codec", "transformers DAC")
FRAMES = 40


def as_original(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same configuration as the arguments of Descript's class."""
    return {
        "encoder_dim": config["encoder_hidden_size"],
        "encoder_rates": config["downsampling_ratios"],
        "latent_dim": config["hidden_size"],
        "decoder_dim": config["decoder_hidden_size"],
        "decoder_rates": config["upsampling_ratios"],
        "n_codebooks": config["n_codebooks"],
        "codebook_size": config["codebook_size"],
        "codebook_dim": config["codebook_dim"],
        "sample_rate": config["sampling_rate"],
    }


@pytest.fixture(scope="module", params=NAMES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    config = small(VARIANTS[request.param].config)
    return open_checkpoint(str(write_fixture(config, tmp_path_factory.mktemp(request.param))))


@pytest.fixture(scope="module")
def codec(checkpoint: Checkpoint) -> Codec:
    return load_codec(checkpoint, "small_dac")


@pytest.fixture(scope="module")
def precise(checkpoint: Checkpoint) -> Codec:
    """The codec in FP64, where what is exact differs by 1e-12 or less."""
    loaded = load_codec(checkpoint, "small_dac")
    for part in (loaded.quantizer, loaded.decoder, loaded.encoder):
        assert isinstance(part, nn.Module)
        part.double()
    return replace(loaded, dtype=torch.float64)


@pytest.fixture(scope="module", params=PEERS)
def reference(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Reference:
    return references_of(checkpoint)[request.param]


def noise(codec: Codec) -> Tensor:
    samples = FRAMES * codec.geometry.samples_per_frame
    return 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(1))


def encoded(codec: Codec, audio: Tensor) -> Tensor:
    padded = nn.functional.pad(audio, (0, -audio.shape[1] % codec.geometry.samples_per_frame))
    return codec.quantizer.quantize(whole(codec.encoder, padded[:, None]))


def decoded(codec: Codec, tokens: Tensor) -> Tensor:
    return whole(codec.decoder, codec.quantizer.dequantize(tokens))


@pytest.mark.parametrize("books", [1, 4])
def test_decoding_equals_the_reference(books: int, codec: Codec, reference: Reference) -> None:
    tokens = encoded(codec, noise(codec))[:, :books]
    expected, found = reference.decode(tokens), decoded(codec, tokens)
    short = 4 if codec.geometry.sample_rate_hz == 1500 else 0
    assert expected.shape[1] == FRAMES * codec.geometry.samples_per_frame - short
    assert snr_db(expected.numpy(), found[:, : expected.shape[1]].numpy()) > 120
    assert 0.05 < expected.std() < 0.5, "as loud as speech, or this compares little"


@pytest.mark.parametrize("missing", [0, 3])
def test_encoding_equals_the_reference(missing: int, codec: Codec, reference: Reference) -> None:
    audio = noise(codec)
    audio = audio[:, : audio.shape[1] - missing]
    tokens = encoded(codec, audio)
    assert torch.equal(reference.encode(audio), tokens)
    assert torch.equal(reference.encode(audio, 2), tokens[:, :2])
    assert all(len(torch.unique(tokens[:, book])) > 20 for book in range(4)), "varied tokens"


@pytest.mark.parametrize(
    ("layout", "spelling"), [*(("pth", spelling) for spelling in Spelling), ("parler", Spelling.HOOKED)]
)
def test_every_layout_holds_the_same_codec(
    layout: str, spelling: Spelling, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    config = as_original(checkpoint.config)
    path = write_fixture(config, tmp_path / "weights", layout=layout, spelling=spelling)
    other = open_checkpoint(str(path))
    assert other.layout == ("pickled" if layout == "pth" else "safetensors")
    assert set(other.tensors) & set(checkpoint.tensors) <= set(codebooks(checkpoint))
    tokens = torch.arange(24).reshape(1, 4, 6)
    ours, theirs = (decoded(load_codec(each, "x"), tokens) for each in (checkpoint, other))
    assert snr_db(ours.numpy(), theirs.numpy()) > 120


def codebooks(checkpoint: Checkpoint) -> list[str]:
    """Names that are the same in all layouts."""
    return [name for name in checkpoint.tensors if name.startswith("quantizer.")]


def published(name: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        return dac.Network(parse(VARIANTS[name].config)).published()


@pytest.mark.parametrize(
    ("name", "count", "elements", "original_count", "original_elements"),
    [
        ("dac_44khz", 223, 76_620_777, 301, 76_651_890),
        ("dac_24khz", 338, 74_653_857, None, None),
        ("dac_16khz", 238, 74_141_697, 322, 74_175_906),
    ],
)
def test_the_published_geometry_has_the_published_tensors(
    name: str, count: int, elements: int, original_count: int | None, original_elements: int | None
) -> None:
    tensors = published(name)
    assert (len(tensors), sum(map(torch.numel, tensors.values()))) == (count, elements)
    if original_count is not None:
        original = dac.in_layout(tensors, "pth", VARIANTS[name].config)
        scales = [tensor.shape[0] for name, tensor in original.items() if name.endswith(dac.NORMALIZED)]
        assert (len(original) + len(scales), elements + sum(scales)) == (original_count, original_elements)


@pytest.mark.parametrize("name", ["dac_44khz", "dac_24khz", "dac_16khz"])
def test_without_a_configuration_the_tensors_tell_which_one_it_is(name: str) -> None:
    original = dac.in_layout(published(name), "pth", VARIANTS[name].config)
    for tensors in (published(name), original):
        assert dac.variant_of(Checkpoint("x", "safetensors", {}, tensors, "")) == name
    del original["decoder.model.0.bias"]
    with pytest.raises(UnsupportedNetworkError, match="fit no published one"):
        dac.variant_of(Checkpoint("x", "safetensors", {}, original, ""))


@pytest.mark.parametrize("section", [{"num_codebooks": 9, "latent_dim": 1024, "codebook_size": 1024}, None])
def test_it_is_found_within_a_speech_model(section: dict[str, Any] | None) -> None:
    original = dac.in_layout(published("dac_44khz"), "parler", VARIANTS["dac_44khz"].config)
    inside = {f"audio_encoder.{name}": tensor for name, tensor in original.items()}
    speech = {"decoder.model.decoder.layers.0.fc1.weight": torch.zeros(1)}
    config = {} if section is None else {"audio_encoder": {"model_type": "dac_on_the_hub", **section}}
    found = codec_within(Checkpoint("x", "sharded", config, inside | speech, ""))
    assert found.prefix == "audio_encoder.model"
    assert dac.variant_of(found) == "dac_44khz"


def test_every_tensor_that_is_off_is_named(checkpoint: Checkpoint) -> None:
    tensors = dict(checkpoint.tensors) | {"decoder.block.2.conv_t1.weight": torch.zeros(1)}
    del tensors["encoder.block.0.res_unit2.snake1.alpha"]
    with pytest.raises(CheckpointMismatchError) as caught:
        load_codec(replace(checkpoint, tensors=tensors), "x")
    assert caught.value.missing == ["encoder.block.0.res_unit2.snake1.alpha"]
    assert caught.value.unexpected == ["decoder.block.2.conv_t1.weight"]


@pytest.mark.parametrize("name", ["dac_44khz", "dac_24khz", "dac_16khz"])
def test_the_geometry_is_the_published_one(name: str) -> None:
    config = VARIANTS[name].config
    with torch.device("meta"):
        geometry = dac.outline(name, config).geometry
    assert geometry.samples_per_frame == prod(config["downsampling_ratios"])
    assert (geometry.lookaround_frames, geometry.encode_lookaround_frames) == (10, 8)
    assert (geometry.min_codebooks, geometry.num_codebooks) == (1, config["n_codebooks"])


@pytest.mark.parametrize(("name", "delay", "wait", "short"), [
    ("dac_44khz", 4757, 8, 0), ("dac_24khz", 3141, 8, 8), ("dac_16khz", 3141, 8, 8)
])  # fmt: skip
def test_streams_are_as_late_as_the_padding_makes_them(name: str, delay: int, wait: int, short: int) -> None:
    with torch.device("meta"):
        g = dac.outline(name, VARIANTS[name].config).geometry
    assert (g.delay_samples, g.encode_delay_frames, g.short_samples) == (delay, wait, short)


def in_steps(step: DecodeStep | EncodeStep, data: Tensor, ends: Tensor, sizes: list[int]) -> Tensor:
    """What a stream answers to ``data`` and the frames after it, in steps of these numbers of frames."""
    stream = ImplicitStateStep(step)
    pasts = [torch.zeros(len(data), *part.shape, dtype=part.dtype) for part in step.packing.parts]
    pieces = []
    for piece in torch.split(torch.cat([data, ends], -1), sizes, dim=-1):
        answer, *pasts = stream(piece, *pasts)
        pieces.append(answer)
    return torch.cat(pieces, -1)


SIZES = ([1] * 42, [5, 1, 7, 30, 2, 2, 25])
STREAMED = 12
"""Frames of a stream; the others of its steps are after its end."""


@pytest.mark.parametrize("sizes", SIZES, ids=["ones", "drawn"])
def test_a_stream_gives_the_audio_of_the_whole(sizes: list[int], precise: Codec) -> None:
    g = precise.geometry
    tokens = torch.randint(0, g.codebook_size, (2, 3, STREAMED))
    ends = torch.full((2, 3, sum(sizes) - STREAMED), -1)
    heard = in_steps(DecodeStep(precise), tokens, ends, sizes)[:, g.delay_samples :]
    samples = STREAMED * g.samples_per_frame - g.short_samples
    assert (decoded(precise, tokens)[:, :samples] - heard[:, :samples]).abs().max() < 1e-12


@pytest.mark.parametrize("sizes", SIZES, ids=["ones", "drawn"])
def test_a_stream_gives_the_tokens_of_the_whole(sizes: list[int], precise: Codec) -> None:
    g = precise.geometry
    audio = noise(precise)[:, : STREAMED * g.samples_per_frame].double()
    ends = torch.full((2, (sum(sizes) - STREAMED) * g.samples_per_frame), torch.nan)
    step = EncodeStep(precise, choice=False)
    found = in_steps(step, audio, ends, [each * g.samples_per_frame for each in sizes])
    wait = g.encode_delay_frames
    assert torch.equal(encoded(precise, audio), found[..., wait : wait + STREAMED])


def test_a_row_is_the_same_in_a_longer_batch(precise: Codec) -> None:
    """Also where an odd rate makes it end within a frame."""
    g, short = precise.geometry, 5
    tokens = torch.randint(0, g.codebook_size, (2, 4, STREAMED))
    lengths = torch.tensor([[STREAMED], [short]])
    together = whole(precise.decoder, precise.quantizer.dequantize(tokens), lengths)
    alone = decoded(precise, tokens[1:, :, :short])[0, : short * g.samples_per_frame - g.short_samples]
    assert (together[1, : len(alone)] - alone).abs().max() < 1e-12
    audio = noise(precise)[:, : STREAMED * g.samples_per_frame].double()
    latent = whole(precise.encoder, audio[:, None], lengths)[1:, :, :short]
    expected = whole(precise.encoder, audio[1:, None, : short * g.samples_per_frame])
    assert (latent - expected).abs().max() < 1e-12
