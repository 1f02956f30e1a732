"""NeMo's spectral codec: ours against NeMo's own classes, two rates, and what its checkpoints may say."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scripts.common.small_codecs import SMALL
from scripts.peers import Reference
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs import VARIANTS, family_of, load_codec, nemo, outline_of, spectral
from tritone_build.codecs.base import Codec
from tritone_build.codecs.configs.spectral import parse
from tritone_build.codecs.stateless import Dequantizer
from tritone_build.errors import CheckpointMismatchError, UnsupportedNetworkError
from tritone_build.graphs.precision import in_fp16
from tritone_build.graphs.steps import DecodeStep
from tritone_build.layers.quantizers.fsq import FiniteScalarQuantizer
from tritone_build.layers.spectral.stft import LogSpectrum, hann_window
from tritone_build.repository.configs import parameters
from tritone_build.state import State, whole
from tritone_runtime.fidelity import snr_db

NAME = "small_spectral_25fps"
SMALL_CONFIG, PUBLISHED = SMALL[NAME], VARIANTS["spectral_25fps"].config
NATIVE, SPELLED = FiniteScalarQuantizer(5, [4] * 8), FiniteScalarQuantizer(8, [4] * 5)


@pytest.fixture
def codec(codecs: dict[str, Codec]) -> Codec:
    return codecs[NAME]


@pytest.fixture
def reference(references: dict[str, Reference]) -> Reference:
    return references[NAME]


def some_tokens(codec: Codec, frames: int) -> Tensor:
    g = codec.geometry
    return torch.randint(g.codebook_size, (2, g.num_codebooks, frames))


def some_audio(codec: Codec, frames: int) -> Tensor:
    return 0.3 * torch.randn(2, frames * codec.geometry.encode_samples_per_frame)


@pytest.mark.parametrize("frames", [1, 4, 40])
def test_decoding_equals_nemo(frames: int, codec: Codec, reference: Reference) -> None:
    tokens = some_tokens(codec, frames)
    ours = whole(codec.decoder, codec.quantizer.dequantize(tokens))
    assert ours.shape == (2, frames * 18)
    assert snr_db(reference.decode(tokens).numpy(), ours.numpy()) > 120


@pytest.mark.parametrize("frames", [1, 4, 200])
def test_encoding_equals_nemo(frames: int, codec: Codec, reference: Reference) -> None:
    audio = some_audio(codec, frames)
    ours = codec.quantizer.quantize(whole(codec.encoder, audio[:, None]))
    assert torch.equal(ours, reference.encode(audio).long())
    assert len(torch.unique(ours)) > min(4 * frames, 300), "or this compares little"


@pytest.mark.parametrize(
    ("n_fft", "hop", "window"), [(80, 20, 80), (1280, 320, 1280), (48, 16, 40), (48, 16, 41), (9, 3, 9)]
)
def test_the_spectrum_is_that_of_torch(n_fft: int, hop: int, window: int) -> None:
    spectrum, audio = LogSpectrum(n_fft, hop, window), torch.randn(2, 10 * hop)
    width = (n_fft - hop) // 2
    padded = nn.functional.pad(audio, (width, width), mode="replicate").double()
    shape = torch.hann_window(window, periodic=False, dtype=torch.double)
    theirs = torch.stft(padded, n_fft, hop, window, shape, center=False, return_complex=True).abs()
    ours = spectrum(audio[:, None])
    assert ours.shape == (2, spectrum.bins, 10)
    assert snr_db((theirs + 1).log().numpy(), ours.numpy()) > 125


def test_the_spectrum_of_half_precision_is_computed_in_fp32(codec: Codec) -> None:
    audio = some_audio(codec, 20)[:, None].half()
    for _, layer in codec.encoder.spectra():  # type: ignore[operator]
        assert torch.equal(layer(audio), layer(audio.float()).half())


@pytest.mark.parametrize("sizes", [[1] * 30, [1, 1, 7, 2, 19]], ids=str)
def test_a_stream_equals_the_whole_however_it_is_cut(sizes: Sequence[int], codec: Codec) -> None:
    decoder, past = copy.deepcopy(codec.decoder).double(), None
    latent, pieces = codec.quantizer.dequantize(some_tokens(codec, 30)).double(), []
    for piece in torch.split(latent, list(sizes), dim=2):
        state = State(decoder, past)
        pieces.append(decoder(piece, state))
        past = state.next
    torch.testing.assert_close(torch.cat(pieces, -1), whole(decoder, latent), rtol=0, atol=1e-13)


def test_a_window_with_the_announced_context_encodes_as_the_whole(codec: Codec) -> None:
    look, hop = codec.geometry.encode_lookaround_frames, codec.geometry.encode_samples_per_frame
    encoder, audio = copy.deepcopy(codec.encoder).double(), some_audio(codec, 60).double()[:, None]
    latent = whole(encoder, audio)
    inner = whole(encoder, audio[..., (20 - look) * hop : (40 + look) * hop])[..., look:-look]
    torch.testing.assert_close(inner, latent[..., 20:40], rtol=0, atol=1e-12)
    fewer = whole(encoder, audio[..., (21 - look) * hop :])[..., look - 1]
    assert not torch.allclose(fewer, latent[..., 20], rtol=0, atol=1e-9)


def test_published_geometry_and_sizes() -> None:
    """Figures of NeMo's own modules with the published values."""
    with torch.device("meta"):
        codec = outline_of(VARIANTS["spectral_25fps"])
        network = spectral.Network(parse(PUBLISHED))
        assert DecodeStep(codec).packing.state_bytes == 4 * 44_368
    g = codec.geometry
    assert (g.sample_rate_hz, g.samples_per_frame) == (22050, 882)
    assert (g.encode_sample_rate_hz, g.encode_samples_per_frame) == (16000, 640)
    assert (g.frame_rate_hz, g.min_samples, g.lookaround_frames, g.encode_lookaround_frames) == (
        25,
        640,
        21,
        7,
    )
    assert (g.num_codebooks, g.codebook_size, g.causal, g.encode_causal) == (5, 65536, True, False)
    for half, tensors, elements in (
        (network.audio_encoder, 74, 23_490_560),
        (network.audio_decoder, 102, 54_327_810),
    ):
        weights = [p for n, p in half.named_parameters() if n.endswith("weight")]
        names = len(list(half.parameters())) + len(weights)
        windows = list(network.windows().values()) if half is network.audio_encoder else []
        plain = sum(p.numel() for p in half.parameters()) + sum(p.shape[0] for p in weights)
        assert names + len(windows) == tensors
        assert plain + sum(map(len, windows)) == elements


def test_each_model_states_the_rate_of_its_own_audio(codec: Codec) -> None:
    decode, encode = parameters(codec, "decode"), parameters(codec, "encode")
    assert (decode["sample_rate"], decode["samples_per_frame"]) == ("900", "18")
    assert (decode["encode_sample_rate"], decode["encode_samples_per_frame"]) == ("800", "16")
    assert (encode["sample_rate"], encode["samples_per_frame"]) == ("800", "16")
    assert "encode_sample_rate" not in encode


def indices(digits: Tensor, quantizer: FiniteScalarQuantizer) -> Tensor:
    """Tokens [B, K, T] of levels [B, D, T] in 0..3."""
    bases = torch.tensor(quantizer.bases)[:, None]
    grouped = digits.reshape(len(digits), quantizer.num_groups, -1, digits.shape[2])
    return (grouped * bases).sum(2)


def test_both_groupings_spell_the_same_latent() -> None:
    every = torch.arange(65536).reshape(1, 1, -1).expand(1, 5, -1)
    for quantizer in (NATIVE, SPELLED):
        tokens = every % quantizer.codebook_size
        tokens = tokens[:, :1].expand(1, quantizer.num_groups, -1)
        latent = quantizer.dequantize(tokens)
        digits = (2 * latent + 2).long()
        other = SPELLED if quantizer is NATIVE else NATIVE
        assert torch.equal(other.dequantize(indices(digits, other)), latent)
        assert torch.equal(indices(digits, quantizer), tokens)
    latent = torch.randn(2, 40, 50)
    assert torch.equal(*(q.dequantize(q.quantize(latent)) for q in (NATIVE, SPELLED)))
    zero = torch.zeros(1, 40, 1)
    assert [int(q.quantize(zero)[0, 0, 0]) for q in (NATIVE, SPELLED)] == [43690, 682]


def test_the_last_index_survives_half_precision(codec: Codec) -> None:
    """FP16 ends at 65504."""
    tokens, length = torch.tensor([65535, 65534, 65505, 0]).expand(1, 5, 4), torch.tensor([[4]])
    expected = Dequantizer(codec)(tokens, length)[0]
    assert torch.equal(Dequantizer(in_fp16(codec))(tokens, length)[0], expected)
    assert torch.equal(indices((2 * expected + 2).long(), NATIVE), tokens)


def changed(config: Any = PUBLISHED, **sections: dict[str, Any]) -> dict[str, Any]:
    return {**config, **{key: {**config[key], **section} for key, section in sections.items()}}


def checkpoint_of(config: Any, **changes: Tensor | None) -> Checkpoint:
    tensors = spectral.seeded_tensors(config, torch.Generator().manual_seed(0))
    tensors |= {name: tensor for name, tensor in changes.items() if tensor is not None}
    kept = {name: t for name, t in tensors.items() if changes.get(name, t) is not None}
    return Checkpoint("x.nemo", "nemo", config, kept, "0" * 64)


def test_a_checkpoint_may_spell_its_tokens_otherwise(codec: Codec) -> None:
    config = changed(SMALL_CONFIG, vector_quantizer={"num_groups": 8, "num_levels_per_group": [4] * 5})
    other, audio = load_codec(checkpoint_of(config), "other"), some_audio(codec, 20)[:, None]
    assert (other.geometry.num_codebooks, other.geometry.codebook_size) == (8, 1024)
    tokens, theirs = (each.quantizer.quantize(whole(each.encoder, audio)) for each in (other, codec))
    assert torch.equal(other.quantizer.dequantize(tokens), codec.quantizer.dequantize(theirs))


def test_nemos_other_family_leaves_it_alone() -> None:
    for config in (PUBLISHED, SMALL_CONFIG, changed(audio_decoder={"_target_": "x.Other"})):
        assert family_of(Checkpoint("x", "", config, {}, "")) is spectral
    bare = replace(checkpoint_of(SMALL_CONFIG), config={})
    assert not nemo.recognises(bare)
    with pytest.raises(UnsupportedNetworkError, match="the configuration has no sample_rate"):
        load_codec(bare, "bare")


def test_tensors_for_training_are_skipped_and_all_others_count() -> None:
    training = {f"{part}.weight": torch.zeros(1) for part in ("discriminator", "slm_encoder", "gen_loss_fn")}
    load_codec(checkpoint_of(SMALL_CONFIG, **training), "x")
    changes = {
        "audio_encoder.post_conv.conv.bias": None,
        "audio_decoder.extra": torch.zeros(1),
        "audio_encoder.pre_spec_processor.window": torch.hann_window(16),
        "vector_quantizer.fsqs.4.num_levels": torch.full((1, 8, 1), 5, dtype=torch.int32),
    }
    with pytest.raises(CheckpointMismatchError) as caught:
        load_codec(checkpoint_of(SMALL_CONFIG, **changes), "x")
    assert caught.value.missing == ["audio_encoder.post_conv.conv.bias"]
    assert caught.value.unexpected == ["audio_decoder.extra"]
    misshapen = " ".join(caught.value.misshapen)
    assert "audio_encoder.pre_spec_processor.window is [0.0" in misshapen
    assert "vector_quantizer.fsqs.4.num_levels" in misshapen


def test_a_window_may_be_rounded_otherwise() -> None:
    rounded = hann_window(16) * (1 + 1e-7)
    load_codec(checkpoint_of(SMALL_CONFIG, **{"audio_encoder.pre_spec_processor.window": rounded}), "x")


RESOLUTIONS = PUBLISHED["audio_encoder"]["resolutions"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (changed(audio_decoder={"is_causal": False}), "is_causal = False is not supported; supported: True"),
        (changed(audio_decoder={"activation": "lrelu"}), "activation = 'lrelu' is not supported"),
        (changed(audio_encoder={"activation": "elu"}), "activation = 'elu' is not supported"),
        (changed(audio_encoder={"pad_mode": "reflect"}), "pad_mode = 'reflect' is not supported"),
        (changed(audio_encoder={"kernel_size": 4}), "kernel_size is 4, expected an odd number"),
        ({**PUBLISHED, "semantic_codec": {"target": "x"}}, "semantic_codec is not supported"),
        ({**PUBLISHED, "target": "x.Other"}, "target x.Other is not supported"),
        (changed(audio_decoder={"_target_": "x.HiFiGANDecoder"}), "supported: ResNetDecoder"),
        (changed(audio_decoder={"mystery": 1}), "option mystery = 1 is not supported"),
        (changed(audio_decoder={"input_dim": 32}), "latent sizes of encoder, decoder and quantizer differ"),
        (changed(vector_quantizer={"num_groups": 6}), "latent sizes of encoder, decoder and quantizer"),
        (changed(vector_quantizer={"num_groups": "5"}), "vector_quantizer.num_groups is '5', expected"),
        ({**PUBLISHED, "samples_per_frame": 882}, "samples_per_frame = 882, but the encoder's hop is 640"),
        ({**PUBLISHED, "output_sample_rate": 24000}, "a frame has 640 samples at 16000 Hz for the encoder"),
        ({**PUBLISHED, "sample_rate": 16000.5}, "sample_rate is 16000.5, expected an integer"),
        (changed(audio_encoder={"resolutions": []}), "resolutions is [], expected a list of [n_fft"),
        (
            changed(audio_encoder={"resolutions": [[80, 30, 80], *RESOLUTIONS[1:]]}),
            "resolutions[0] is [80, 30",
        ),
        (changed(audio_encoder={"resolutions": [[80, 20], *RESOLUTIONS[1:]]}), "resolutions[0] is [80, 20]"),
        (
            changed(audio_encoder={"resolutions": [*RESOLUTIONS[:4], [640, 160, 640]]}),
            "resolutions[4] has a hop of 160, expected twice the one before",
        ),
        (
            changed(audio_encoder={"resolution_filter_list": [256]}),
            "5 resolutions and 1 resolution_filter_list",
        ),
        (changed(audio_encoder={"down_sample_rate_list": [2, 2]}), "1 down_sample_filter_list and 2 down_"),
        (changed(audio_decoder={"pre_up_sample_rates": [2, 2]}), "2 pre_up_sample_rates and 1 pre_up_"),
        (
            changed(audio_decoder={"resblock_up_sample_filters": [384, 100, 32]}),
            "makes 100 channels of 384, expected a divisor of 384",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_implemented_is_named(config: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedNetworkError) as caught:
        parse(config)
    assert said in str(caught.value)
