"""Qwen3-TTS's tokenizer of 12 Hz: ours against the authors' code, its checkpoints, and what is refused."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from scripts.common.rounding import MARGIN_DB, measured_limit
from scripts.common.small_codecs import SMALL
from scripts.peers import Reference, reference_of
from scripts.peers.qwen_tts import QwenTts
from tritone_build.checkpoints.checkpoint import Checkpoint, open_checkpoint
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.codecs import VARIANTS, codec_within, family_of, load_codec, mimi, moss, nemo, qwen3_tts
from tritone_build.codecs.base import Codec
from tritone_build.codecs.configs.qwen3_tts import PUBLISHED, parse
from tritone_build.codecs.stateless import Dequantizer
from tritone_build.errors import CheckpointError, CheckpointMismatchError, UnsupportedNetworkError
from tritone_build.graphs.steps import DecodeStep, ImplicitStateStep
from tritone_build.state import whole
from tritone_runtime.fidelity import snr_db

NAME = "small_qwen3_tts_12hz"
CONFIG = SMALL[NAME]
FRAMES = 90
"""More than four windows of the reduced decoder."""


@pytest.fixture(scope="module")
def checkpoint(checkpoints: dict[str, Checkpoint]) -> Checkpoint:
    return checkpoints[NAME]


@pytest.fixture(scope="module")
def codec(codecs: dict[str, Codec]) -> Codec:
    return codecs[NAME]


@pytest.fixture(scope="module")
def reference(checkpoint: Checkpoint) -> Reference:
    return reference_of(checkpoint)


def some_tokens(codec: Codec, frames: int = FRAMES, rows: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    shape = rows, codec.geometry.num_codebooks, frames
    return torch.randint(0, codec.geometry.codebook_size, shape, generator=generator)


def noise(codec: Codec, frames: int = FRAMES) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return 0.1 * torch.randn(2, frames * codec.geometry.samples_per_frame, generator=generator)


def decoded(codec: Codec, tokens: Tensor) -> Tensor:
    return whole(codec.decoder, codec.quantizer.dequantize(tokens))


def encoded(codec: Codec, audio: Tensor) -> Tensor:
    return codec.quantizer.quantize(whole(codec.encoder, audio[:, None]))


def in_fp64(codec: Codec, tokens: Tensor) -> Tensor:
    return whole(copy.deepcopy(codec.decoder).double(), codec.quantizer.dequantize(tokens).double())


def test_decoding_equals_the_reference_in_fp64(codec: Codec, checkpoint: Checkpoint) -> None:
    """The reference computes RMSNorm and rotary phases in FP32 whatever its dtype."""
    tokens = some_tokens(codec)
    theirs = QwenTts(checkpoint.config, checkpoint.tensors, torch.float64).decode(tokens)
    assert snr_db(theirs.numpy(), in_fp64(codec, tokens).numpy()) > 120


def test_decoding_in_fp32_is_as_exact_as_the_reference(codec: Codec, reference: Reference) -> None:
    tokens = some_tokens(codec)
    exact = in_fp64(codec, tokens).numpy()
    theirs, ours = reference.decode(tokens).numpy(), decoded(codec, tokens).numpy()
    assert snr_db(exact, ours) > snr_db(exact, theirs) - 3
    assert snr_db(theirs, ours) > 105


def test_encoding_equals_the_reference_with_the_window_of_transformers_5(
    codec: Codec, checkpoint: Checkpoint
) -> None:
    audio, ours = noise(codec), encoded(codec, noise(codec))
    assert torch.equal(reference_of(checkpoint).encode(audio), ours)
    assert len(torch.unique(ours[:, 0])) > 8, "varied tokens, or this compares little"
    window = checkpoint.config["encoder_config"]["sliding_window"] // 2
    unbounded = QwenTts(checkpoint.config, checkpoint.tensors).encode(audio)
    assert torch.equal(unbounded[:, :, :window], ours[:, :, :window])
    assert not torch.equal(unbounded, ours), "transformers 4.57 has no window"


def test_more_than_300_frames_equal_the_whole_forward_of_the_reference_not_its_chunks(
    codec: Codec, checkpoint: Checkpoint
) -> None:
    tokens, peer = some_tokens(codec, 320, 1), QwenTts(checkpoint.config, checkpoint.tensors)
    ours, hop = decoded(codec, tokens).numpy(), codec.geometry.samples_per_frame
    assert snr_db(peer.decode(tokens).numpy(), ours) > 105
    chunked = peer.decode_chunked(tokens).numpy()
    assert snr_db(chunked[:, : 300 * hop], ours[:, : 300 * hop]) > 105
    assert snr_db(chunked[:, 300 * hop :], ours[:, 300 * hop :]) < 90


@pytest.mark.parametrize("chunk", [1, 7, 25])
def test_streams_equal_the_whole_beyond_all_that_a_frame_depends_on(
    chunk: int, codec: Codec, reference: Reference
) -> None:
    frames = codec.geometry.lookaround_frames + 30
    tokens = some_tokens(codec, frames, 1)
    step = ImplicitStateStep(DecodeStep(codec))
    pasts = [torch.zeros(1, *part.shape, dtype=part.dtype) for part in step.step.packing.parts]
    pieces = []
    for piece in torch.split(tokens, chunk, dim=2):
        audio, *pasts = step(piece, *pasts)
        pieces.append(audio)
    limit = measured_limit(reference, codec, tokens[0].numpy())
    assert snr_db(decoded(codec, tokens).numpy(), torch.cat(pieces, 1).numpy()) >= limit.whole_db


def test_a_frame_depends_on_exactly_the_frames_announced(codec: Codec) -> None:
    reach, hop = codec.geometry.lookaround_frames, codec.geometry.samples_per_frame
    decoder, latent = copy.deepcopy(codec.decoder).double(), torch.randn(1, 64, reach + 20).double()
    changed = latent.clone()
    changed[:, :, 3] += 1
    difference = (whole(decoder, changed) - whole(decoder, latent)).abs()[0].reshape(-1, hop).amax(1)
    assert not difference[:3].any()
    assert not difference[3 + reach + 1 :].any()
    assert difference[3 : 3 + reach - 5].all()


@pytest.mark.parametrize("first", [0, 1])
def test_frames_with_zeros_are_frames(first: int, codec: Codec, reference: Reference) -> None:
    """Other servers drop a frame of zeros, or end the audio at a zero in the first codebook."""
    tokens = some_tokens(codec, 12)
    tokens[:, first:, 4:6] = 0
    tokens[:, 0] = 0
    given = torch.full((2, 1), 12)
    latent, length = Dequantizer(codec)(tokens, given)
    assert torch.equal(length, given)
    audio = whole(codec.decoder, latent)
    assert audio.shape == (2, 12 * codec.geometry.samples_per_frame)
    assert snr_db(reference.decode(tokens).numpy(), audio.numpy()) > 100


def test_each_half_uses_its_own_codebooks(codec: Codec, checkpoint: Checkpoint) -> None:
    tokens, audio = some_tokens(codec, 20), noise(codec, 20)
    before = decoded(codec, tokens), encoded(codec, audio)
    for half, same in (("decoder", (False, True)), ("encoder", (True, False))):
        changed = {
            name: tensor.flip(0)
            if name.startswith(f"{half}.quantizer") and name.endswith(("embedding_sum", "embed_sum"))
            else tensor
            for name, tensor in checkpoint.tensors.items()
        }
        other = load_codec(Checkpoint("x", "safetensors", CONFIG, changed, ""), "x")
        after = decoded(other, tokens), encoded(other, audio)
        assert tuple(torch.equal(*pair) for pair in zip(before, after, strict=True)) == same


def test_the_geometry_takes_all_codebooks_or_none(codec: Codec) -> None:
    g = codec.geometry
    assert (g.num_codebooks, g.min_codebooks, g.default_codebooks) == (16, 16, 16)
    assert g.causal
    assert g.encode_causal
    assert checkpoint_books(CONFIG) == 32, "the encoder's configuration names twice as many"


def checkpoint_books(config: Mapping[str, Any]) -> int:
    return int(config["encoder_config"]["num_quantizers"])


def test_audio_stays_within_limits(codec: Codec) -> None:
    latent = 1e3 * codec.quantizer.dequantize(some_tokens(codec, 30))
    assert whole(codec.decoder, latent).abs().max() <= 1


def published_tensors() -> dict[str, Tensor]:
    with torch.device("meta"):
        return qwen3_tts.Network(parse(PUBLISHED)).published()


def test_the_published_geometry_has_the_published_tensors() -> None:
    tensors = published_tensors()
    assert len(tensors) == 496
    assert sum(tensor.numel() for tensor in tensors.values()) == 170_557_441
    assert sum(name.startswith("encoder.") for name in tensors) == 225
    assert tensors["decoder.pre_transformer.layers.7.self_attn.q_proj.weight"].shape == (1024, 512)
    assert tensors["decoder.decoder.1.block.4.conv1.conv.weight"].shape == (768, 768, 7)
    bare = Checkpoint("bare", "safetensors", {}, tensors, "")
    assert family_of(bare) is qwen3_tts
    assert qwen3_tts.variant_of(bare) == "qwen3_tts_12hz"
    assert VARIANTS["qwen3_tts_12hz"].config is PUBLISHED


def test_no_other_family_takes_its_checkpoint_nor_it_theirs(checkpoints: dict[str, Checkpoint]) -> None:
    bare = {name: Checkpoint("x", "", {}, each.tensors, "") for name, each in checkpoints.items()}
    for family in (nemo, mimi, moss):
        assert not family.recognises(bare[NAME])
    assert [name for name, each in bare.items() if qwen3_tts.recognises(each)] == [NAME]
    assert codec_within(bare[NAME]) is bare[NAME]


def test_the_codec_of_a_speech_model_is_found_in_its_folder(
    codec: Codec, tmp_path: Path, checkpoint: Checkpoint
) -> None:
    """As Qwen3-TTS is published: the language model's weights, and the codec in a folder beside them."""
    (tmp_path / "config.json").write_text('{"model_type": "qwen3_tts"}')
    save_file({"talker.model.norm.weight": torch.zeros(4)}, tmp_path / "model.safetensors")
    inner = write_fixture(CONFIG, tmp_path / "speech_tokenizer")
    opened = open_checkpoint(str(tmp_path))
    assert opened.sha256 == open_checkpoint(str(inner)).sha256 == checkpoint.sha256
    tokens = some_tokens(codec, 5)
    assert torch.equal(decoded(load_codec(opened, "x"), tokens), decoded(codec, tokens))


def test_every_tensor_that_is_off_is_named(checkpoint: Checkpoint) -> None:
    tensors = dict(checkpoint.tensors) | {"extra": torch.zeros(1)}
    gone = "encoder.quantizer.acoustic_residual_vector_quantizer.layers.30.codebook.embed_sum"
    unused = "decoder.quantizer.rvq_rest.input_proj.weight"
    shape, flag = "decoder.decoder.3.alpha", gone.replace("embed_sum", "initialized")
    tensors |= {unused: torch.zeros(3), shape: torch.zeros(3), flag: torch.zeros(1)}
    del tensors[gone]
    with pytest.raises(CheckpointMismatchError) as caught:
        load_codec(Checkpoint("x", "safetensors", CONFIG, tensors, ""), "x")
    for said in (gone, "extra", f"{unused} is [3]", f"{shape} is [3], expected [16]", f"{flag} is [0.0]"):
        assert said in str(caught.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write_fixture(CONFIG, tmp_path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="truncated or of another kind"):
        open_checkpoint(str(tmp_path))


def changed(half: str | None = None, **values: Any) -> dict[str, Any]:
    config = copy.deepcopy(dict(CONFIG))
    (config[half] if half else config).update(values)
    return config


def without(half: str, key: str) -> dict[str, Any]:
    config = copy.deepcopy(dict(CONFIG))
    del config[half][key]
    return config


DEFAULTS = {"latent_dim": 1024, "hidden_size": 1024, "intermediate_size": 3072, "sliding_window": 72}
"""Part of the defaults of the authors' class, which are of another network and have no codebook_dim."""


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({**CONFIG, "decoder_config": DEFAULTS}, r"has no decoder_config\.codebook_dim"),
        (without("decoder_config", "head_dim"), r"has no decoder_config\.head_dim"),
        (without("encoder_config", "sliding_window"), r"has no encoder_config\.sliding_window"),
        ({"model_type": "qwen3_tts_tokenizer_12hz"}, "has no decoder_config, encoder_config"),
        ({"model_type": "qwen3_tts_tokenizer_25hz"}, "the tokenizer of 25 Hz, is not supported"),
        (changed("decoder_config", num_key_value_heads=2), r"decoder_config\.num_key_value_heads = 2"),
        (changed("decoder_config", attention_bias=True), r"decoder_config\.attention_bias = True"),
        (changed("decoder_config", hidden_act="gelu"), r"decoder_config\.hidden_act = 'gelu'"),
        (changed("encoder_config", use_causal_conv=False), "use_causal_conv = False"),
        (changed("decoder_config", upsample_rates=[8, 4]), "product of the decoder's rates is 128"),
        (changed("encoder_config", num_quantizers=8), "the encoder has 8 codebooks, the decoder needs 16"),
        (changed("encoder_config", codebook_size=64), "codebook_size is 64, which does not fit"),
        (changed(encoder_valid_num_quantizers=8), "encoder_valid_num_quantizers is 8"),
        (changed(input_sample_rate=16000), "input_sample_rate is 16000"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(config: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedNetworkError, match=said):
        parse(config)


def test_a_key_that_the_authors_code_ignores_is_ignored() -> None:
    assert parse(changed("decoder_config", semantic_codebook_size=4096)) == parse(CONFIG)


def test_noise_of_fp32_is_far_below_the_audio(codec: Codec) -> None:
    """The seeded weights, with widely spread SnakeBeta, must not make the other comparisons blind."""
    tokens = some_tokens(codec)
    audio = in_fp64(codec, tokens)
    assert snr_db(audio.numpy(), decoded(codec, tokens).numpy()) > 100 + MARGIN_DB - 5
    assert 0.03 < float(audio.std()) < 0.3
    spread = codec.decoder.get_parameter("snake.blocks.0.act.beta")
    assert np.ptp(spread.numpy()) > 2
