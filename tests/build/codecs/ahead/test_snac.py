"""SNAC: ours against the authors' class, and its streams and padded rows against the whole."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from scripts.common.small_codecs import small
from scripts.peers.ahead import snac as peer
from tritone_build.checkpoints.checkpoint import Checkpoint, open_checkpoint, with_settings
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.codecs import VARIANTS, family_of, load_codec, snac
from tritone_build.codecs.base import Codec
from tritone_build.codecs.configs.snac import SNAC_24KHZ, SNAC_32KHZ, parse
from tritone_build.errors import CheckpointMismatchError, UnsupportedNetworkError
from tritone_build.graphs.steps import DecodeStep, EncodeStep, ImplicitStateStep
from tritone_build.state import whole
from tritone_runtime.fidelity import snr_db

KINDS = {"plain": "snac_24khz", "attention": "snac_32khz", "noise": "snac_24khz"}
FRAMES = 12


@pytest.fixture(scope="module", params=KINDS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    config = small(VARIANTS[KINDS[request.param]].config)
    opened = open_checkpoint(str(write_fixture(config, tmp_path_factory.mktemp(request.param))))
    return with_settings(opened, {"noise": "position"}) if request.param == "noise" else opened


@pytest.fixture(scope="module")
def codec(checkpoint: Checkpoint) -> Codec:
    return load_codec(checkpoint, "small_snac")


@pytest.fixture(scope="module")
def precise(checkpoint: Checkpoint) -> Codec:
    """The codec in FP64, where what is exact differs by 1e-12 or less."""
    loaded = load_codec(checkpoint, "small_snac")
    for part in (loaded.quantizer, loaded.decoder, loaded.encoder):
        assert isinstance(part, torch.nn.Module)
        part.double()
    return replace(loaded, dtype=torch.float64)


def tokens_of(codec: Codec, frames: int = FRAMES) -> Tensor:
    return torch.randint(0, codec.geometry.codebook_size, (2, codec.geometry.num_codebooks, frames))


def decoded(codec: Codec, tokens: Tensor, frames: Tensor | None = None) -> Tensor:
    return whole(codec.decoder, codec.quantizer.dequantize(tokens), frames)


def test_decoding_equals_the_reference(codec: Codec, checkpoint: Checkpoint) -> None:
    reference, tokens = peer.reference(checkpoint), tokens_of(codec)
    expected = reference.decode(tokens)
    assert expected.shape[1] == FRAMES * codec.geometry.samples_per_frame
    assert snr_db(expected.numpy(), decoded(codec, tokens).numpy()) > 120
    assert 0.02 < expected.std() < 0.6, "as loud as speech, or this compares little"


@pytest.mark.parametrize("missing", [0, 5])
def test_encoding_equals_the_reference(missing: int, codec: Codec, checkpoint: Checkpoint) -> None:
    samples = FRAMES * codec.geometry.samples_per_frame
    audio = 0.1 * torch.randn(2, samples - missing)
    padded = torch.nn.functional.pad(audio, (0, missing))[:, None]
    tokens = codec.quantizer.quantize(whole(codec.encoder, padded))
    assert torch.equal(peer.reference(checkpoint).encode(audio), tokens)
    assert all(len(row.unique()) > 3 for row in tokens[0]), "varied tokens"


def in_steps(step: DecodeStep | EncodeStep, pieces: list[Tensor]) -> list[Tensor]:
    """What a fresh stream answers to these pieces."""
    stream = ImplicitStateStep(step)
    pasts = [torch.zeros(2, *part.shape, dtype=part.dtype) for part in step.packing.parts]
    answers = []
    for piece in pieces:
        answer, *pasts = stream(piece, *pasts)
        answers.append(answer)
    return answers


def followed(data: Tensor, value: float, steps: int) -> Tensor:
    return torch.cat([data, data.new_full((*data.shape[:-1], steps), value)], -1)


@pytest.mark.parametrize("sizes", [[1] * 20, [2] * 10, [5, 1, 7, 2, 4, 1]], ids=["ones", "twos", "drawn"])
def test_a_stream_is_the_whole(sizes: list[int], precise: Codec) -> None:
    g, tokens = precise.geometry, tokens_of(precise)
    pieces = torch.split(followed(tokens, -1, sum(sizes) - FRAMES), sizes, -1)
    heard = torch.cat(in_steps(DecodeStep(precise), list(pieces)), -1)[:, g.delay_samples :]
    expected = decoded(precise, tokens)
    assert (heard[:, : expected.shape[1]] - expected).abs().max() < 1e-12
    audio, hop, late = (
        0.1 * torch.randn(2, FRAMES * g.samples_per_frame).double(),
        g.samples_per_frame,
        g.encode_delay_frames,
    )
    filled = followed(audio, torch.nan, (sum(sizes) - FRAMES) * hop)
    pieces = torch.split(filled, [each * hop for each in sizes], -1)
    found = torch.cat(in_steps(EncodeStep(precise), list(pieces)), -1)[..., late:]
    expected = precise.quantizer.quantize(whole(precise.encoder, audio[:, None]))
    assert torch.equal(found[..., :FRAMES], expected)


def test_rows_of_a_batch_may_end_at_different_times(precise: Codec) -> None:
    """What is beyond a row's end does not matter, in a whole signal and in a stream."""
    g, tokens, short = precise.geometry, tokens_of(precise), FRAMES // 3
    expected = decoded(precise, tokens[1:, :, :short])[0]
    padded = decoded(precise, tokens, torch.tensor([[FRAMES], [short]]))
    assert (padded[1, : len(expected)] - expected).abs().max() < 1e-12
    ends = followed(tokens, -1, 8)
    ends[1, :, short:] = -1
    heard = torch.cat(in_steps(DecodeStep(precise), list(torch.split(ends, 1, -1))), -1)[:, g.delay_samples :]
    assert (heard[1, : len(expected)] - expected).abs().max() < 1e-12
    whole_row = decoded(precise, tokens[:1])[0]
    assert (heard[0, : len(whole_row)] - whole_row).abs().max() < 1e-12


def test_streams_that_began_at_different_times_share_a_batch(precise: Codec) -> None:
    g, tokens, step = precise.geometry, tokens_of(precise), DecodeStep(precise)
    expected, stream, heard = decoded(precise, tokens), ImplicitStateStep(step), []
    pasts = [torch.zeros(2, *part.shape, dtype=part.dtype) for part in step.packing.parts]
    rows = [followed(tokens[0], -1, 20), torch.cat([tokens[1, :, :4], followed(tokens[1], -1, 16)], 1)]
    for at in range(FRAMES + 8):
        if at == 4:  # the second row begins anew
            for past in pasts:
                past[1] = 0
        answer, *pasts = stream(torch.stack([row[:, at : at + 1] for row in rows]), *pasts)
        heard.append(answer)
    audio, first = torch.cat(heard, -1), 4 * g.samples_per_frame
    for row, start in ((0, 0), (1, first)):
        found = audio[row, start + g.delay_samples :][: expected.shape[1]]
        assert (found - expected[row, : len(found)]).abs().max() < 1e-12


def test_noise_is_a_function_of_the_position(tmp_path: Path) -> None:
    """Without an end: a period after a period, in the whole signal as in a stream."""
    plain = open_checkpoint(str(write_fixture(small(SNAC_24KHZ), tmp_path)))
    codec = load_codec(with_settings(plain, {"noise": "position"}), "noisy")
    period = codec.geometry.position_frames
    assert 2 <= period * codec.geometry.samples_per_frame / codec.geometry.sample_rate_hz < 4, "seconds"
    tokens = tokens_of(codec, 8).repeat(1, 1, period // 4)
    noisy, hop = decoded(codec, tokens)[0], codec.geometry.samples_per_frame
    middle = noisy[4 * hop : (period - 4) * hop]
    assert snr_db(middle.numpy(), noisy[(period + 4) * hop : (2 * period - 4) * hop].numpy()) > 100
    quiet = decoded(load_codec(plain, "quiet"), tokens)[0]
    assert snr_db(quiet.numpy(), noisy.numpy()) < 60
    assert snr_db(noisy[4 * hop : 8 * hop].numpy(), noisy[12 * hop : 16 * hop].numpy()) < 60


def test_frames_after_the_end_are_refused(codec: Codec) -> None:
    tokens, step = tokens_of(codec, 1), DecodeStep(codec)
    over, half = torch.full_like(tokens, -1), tokens.clone()
    half[:, 0] = -1
    audio = in_steps(step, [tokens, over, tokens])
    assert [bool(each.isnan().all()) for each in audio] == [False, False, True]
    assert in_steps(step, [torch.cat([tokens, over, tokens], -1)])[0].isnan().all()
    assert in_steps(step, [half])[0].isnan().all(), "a frame is over as a whole, or not"
    sound = torch.zeros(2, codec.geometry.samples_per_frame)
    spoiled = sound.clone()
    spoiled[:, 3] = torch.nan
    found = in_steps(EncodeStep(codec), [sound, spoiled, sound.fill_(torch.nan), torch.zeros_like(sound)])
    assert [bool((each == -1).all()) for each in found] == [False, True, False, True]


@pytest.mark.parametrize(
    ("name", "count", "elements"), [("snac_24khz", 269, 19_842_914), ("snac_32khz", 286, 54_546_402)]
)
def test_the_published_geometry_has_the_published_tensors(name: str, count: int, elements: int) -> None:
    config = parse(VARIANTS[name].config)
    with torch.device("meta"):
        tensors = snac.Network(config).published()
    constants = snac._constants(config).values()
    normalized = [tensor for key, tensor in tensors.items() if key.endswith(snac.NORMALIZED)]
    assert len(tensors) + len(normalized) + len(constants) == count
    scales = sum(len(tensor) for tensor in normalized)
    assert sum(map(torch.numel, tensors.values())) + scales + sum(map(torch.numel, constants)) == elements


@pytest.mark.parametrize(
    ("name", "delay", "wait", "rows"),
    [
        ("snac_24khz", 4757, 3, (1, 2, 4)),
        ("snac_32khz", 14735, 2, (4, 8, 16, 32)),
        ("snac_44khz", 14735, 2, (4, 8, 16, 32)),
    ],
)
def test_streams_are_as_late_as_the_padding_makes_them(
    name: str, delay: int, wait: int, rows: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        g = snac.outline(name, VARIANTS[name].config).geometry
    assert (g.delay_samples, g.encode_delay_frames, g.codebook_rows) == (delay, wait, rows)
    assert g.num_codebooks == sum(rows)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"vq_strides": None}, "has no vq_strides"),
        ({"encoder_rates": [3, 3, 7, 7]}, "encoder_rates multiply to 441, decoder_rates to 512"),
        ({"depthwise": False}, "depthwise = False is not supported"),
        ({"noise": False}, "noise = False is not supported"),
        ({"noise": "random"}, "noise = 'random' is not supported"),
        ({"decoder_dim": 24}, "24 cannot be halved 4 times"),
        ({"vq_strides": [4, 3, 1]}, "must begin with a multiple of all"),
        ({"attn_window_size": 32, "encoder_dim": 3}, "multiples of 64"),
    ],
)
def test_what_cannot_be_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedNetworkError) as caught:
        parse({**SNAC_24KHZ, **change})
    assert said in str(caught.value)


def test_every_tensor_that_is_off_is_named(checkpoint: Checkpoint) -> None:
    tensors = {**checkpoint.tensors, "decoder.model.2.rel_pos.inv_freq": torch.zeros(32)}
    del tensors["encoder.block.0.bias"]
    with pytest.raises(CheckpointMismatchError) as caught:
        load_codec(replace(checkpoint, tensors=tensors), "x")
    assert caught.value.missing == ["encoder.block.0.bias"]
    assert "decoder.model.2.rel_pos.inv_freq" in str(caught.value)
    with pytest.raises(UnsupportedNetworkError, match="put config"):
        load_codec(replace(checkpoint, config={}), "x")


def test_the_family_is_told_by_the_configuration(checkpoint: Checkpoint) -> None:
    assert family_of(checkpoint) is snac
    assert parse(SNAC_24KHZ).network.hop == 2048
    assert parse(SNAC_32KHZ).network.hop == 12288
