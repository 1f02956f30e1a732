"""The graphs that TensorRT compiles: streams by row, buckets of frames, and rules that mark."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from helpers.engine_graphs import STREAMED, EngineGraphs, Running

from scripts.common.rounding import measured_limit
from scripts.peers import Reference
from tritone_build.codecs import VARIANTS, outline_of
from tritone_build.codecs.base import Codec
from tritone_build.engines.buckets import BUCKETS, bucket_of, most_frames, wasted_share
from tritone_build.graphs.roles import roles
from tritone_build.graphs.steps import DecodeStep, ImplicitStateStep
from tritone_build.state import whole
from tritone_client.codec_models import DECODE
from tritone_runtime.fidelity import snr_db


def fresh(name: str, rows: int, codecs: dict[str, Codec], direction: str = "decode_stream") -> dict[str, Any]:
    step = next(role for role in roles(codecs[name], "tensorrt") if role.name == direction)
    examples = list(zip(step.inputs, step.example, strict=True))[1:]
    return {past: torch.zeros(rows, *like.shape[1:], dtype=like.dtype).numpy() for past, like in examples}


class Stream:
    """Steps of the exported graph; states go from outputs to inputs by order of names, as in Triton."""

    def __init__(self, graphs: Running, past: dict[str, Any]):
        self.graphs, self.past = graphs, past

    def push(self, tokens: Any) -> Any:
        audio, *states = self.graphs("decode_stream", tokens=tokens, **self.past)
        self.past = dict(zip(sorted(self.past), states, strict=True))
        return audio


@pytest.mark.parametrize("name", STREAMED)
def test_streams_of_different_age_share_a_batch_and_equal_each_alone(
    name: str, engine_graphs: EngineGraphs, codecs: dict[str, Codec]
) -> None:
    g, graphs = codecs[name].geometry, engine_graphs.running(name)
    tokens = np.random.default_rng(0).integers(0, g.codebook_size, (2, g.default_codebooks, 60))
    alone = [Stream(graphs, fresh(name, 1, codecs)) for _ in tokens]
    expected = [stream.push(row[None])[0] for stream, row in zip(alone, tokens, strict=True)]
    older = Stream(graphs, fresh(name, 1, codecs))
    heard = [older.push(tokens[:1, :, :9])[0]]
    younger = fresh(name, 1, codecs)
    pair = Stream(graphs, {k: np.concatenate([older.past[k], younger[k]]) for k in younger})
    for at in range(0, 50, 2):
        rows = np.stack([tokens[0, :, at + 9 : at + 11], tokens[1, :, at : at + 2]])
        pieces = pair.push(rows)
        heard.append(pieces[0])
        if at == 0:
            second = [pieces[1]]
        else:
            second.append(pieces[1])
    hop = g.samples_per_frame
    # Equal but for FP16's rounding, which depends on the order of sums in a kernel.
    assert snr_db(expected[0][..., : 59 * hop], np.concatenate(heard, axis=-1)) > 55
    assert snr_db(expected[1][..., : 50 * hop], np.concatenate(second, axis=-1)) > 55


@pytest.mark.parametrize("name", STREAMED)
@pytest.mark.parametrize("sizes", [[1] * 45, [7] * 6, [40, 3], [1, 44]], ids=str)
def test_rings_are_whole_after_every_step(
    name: str, sizes: Sequence[int], codecs: dict[str, Codec], references: dict[str, Reference]
) -> None:
    """In FP32 and PyTorch: longer than the window, shorter, and more at once than a ring holds."""
    codec = codecs[name]
    g, step = codec.geometry, ImplicitStateStep(DecodeStep(codec))
    tokens = torch.randint(g.codebook_size, (2, g.default_codebooks, sum(sizes)))
    past = tuple(torch.zeros(2, *part.shape, dtype=part.dtype) for part in step.step.packing.parts)
    pieces = []
    for piece in torch.split(tokens, list(sizes), dim=2):
        audio, *past_next = step(piece, *past)
        past = tuple(past_next)
        pieces.append(audio)
    expected = whole(codec.decoder, codec.quantizer.dequantize(tokens))
    limit = measured_limit(references[name], codec, tokens[0].numpy())
    assert snr_db(expected.numpy(), torch.cat(pieces, -1).numpy()) >= limit.whole_db


@pytest.mark.parametrize("name", STREAMED)
def test_a_bad_token_turns_its_own_stream_to_nan_and_leaves_the_others_bit_equal(
    name: str, engine_graphs: EngineGraphs, codecs: dict[str, Codec]
) -> None:
    g, graphs = codecs[name].geometry, engine_graphs.running(name)
    tokens = np.random.default_rng(1).integers(0, g.codebook_size, (3, g.default_codebooks, 4))
    good = Stream(graphs, fresh(name, 3, codecs))
    expected = good.push(tokens)
    for bad in (-1, g.codebook_size, 2**40, -(2**62)):
        spoilt = tokens.copy()
        spoilt[1, 0, 2] = bad
        stream = Stream(graphs, fresh(name, 3, codecs))
        audio = stream.push(spoilt)
        assert np.isnan(audio[1]).all()
        assert np.array_equal(audio[[0, 2]], expected[[0, 2]])
        for state, theirs in zip(stream.past.values(), good.past.values(), strict=True):
            assert np.isfinite(state).all()
            assert np.array_equal(state[[0, 2]], theirs[[0, 2]])


def test_an_encoder_marks_the_rows_it_refuses_and_answers_the_others(
    engine_graphs: EngineGraphs, codecs: dict[str, Codec]
) -> None:
    for name in STREAMED:
        g, encode = codecs[name].geometry, engine_graphs.running(name)
        hop = g.samples_per_frame
        shape = (3, *g.audio_shape(8 * hop))
        audio = 0.1 * np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        length = np.full((3, 1), 8 * hop)
        expected, _ = encode("encode", audio=audio, audio_len=length)
        length[0], audio[2].reshape(-1, 8 * hop)[-1, 5] = 8 * hop + 1, np.nan
        tokens, tokens_len = encode("encode", audio=audio, audio_len=length)
        assert (tokens_len < 0).tolist() == [[True], [False], [True]]
        assert tokens_len[1] == 8
        assert np.array_equal(tokens[1], expected[1])


@pytest.mark.parametrize("name", ["small_mimi", "small_moss_nano"])
def test_an_encoding_stream_marks_what_is_not_finite(
    name: str, engine_graphs: EngineGraphs, codecs: dict[str, Codec]
) -> None:
    g, past = codecs[name].geometry, fresh(name, 2, codecs, "encode_stream")
    audio = np.zeros((2, g.num_channels, 3 * g.samples_per_frame), np.float32)
    audio[1, -1, 7] = np.inf
    given = audio.reshape(2, *g.audio_shape(3 * g.samples_per_frame))
    tokens, *_ = engine_graphs.running(name)("encode_stream", audio=given, **past)
    assert tokens.shape == (2, g.num_codebooks, 3)
    assert (tokens[0] >= 0).all()
    assert (tokens[1] == -1).all()


def test_a_bucket_holds_what_falls_into_it_and_wastes_little() -> None:
    for frames in range(1, BUCKETS[-1] + 1):
        bucket = bucket_of(frames)
        assert bucket in BUCKETS
        assert 1 - frames / bucket <= wasted_share() <= 0.25


@pytest.mark.parametrize("frames", [1, 8, 9, 17, 33, 100])
def test_a_latent_is_filled_up_to_its_bucket_and_sounds_the_same(
    frames: int, engine_graphs: EngineGraphs, codecs: dict[str, Codec]
) -> None:
    g, graphs = codecs["small_nanocodec"].geometry, engine_graphs.running("small_nanocodec")
    tokens = np.random.default_rng(0).integers(0, g.codebook_size, (2, g.num_codebooks, frames))
    length = np.array([[frames], [max(1, frames - 1)]])
    latent, latent_len = graphs("dequantize", tokens=tokens, tokens_len=length)
    assert latent.shape == (2, g.latent_dim, bucket_of(frames))
    assert np.array_equal(latent_len, length)
    assert not latent[:, :, frames:].any()
    audio, audio_len = graphs("vocoder", latent=latent, latent_len=latent_len)
    assert np.array_equal(audio_len, length * g.samples_per_frame)
    bare, _ = graphs("vocoder", latent=latent[:, :, :frames], latent_len=latent_len)
    assert snr_db(bare, audio[:, : bare.shape[1]]) > 60
    assert not audio[:, frames * g.samples_per_frame :].any()


@pytest.mark.parametrize(
    ("name", "frames"), [("nanocodec", 256), ("nanocodec_mini", 384), ("lfsc", 384), ("mimi", 224)]
)
def test_the_largest_bucket_holds_the_clients_longest_piece_and_its_context(name: str, frames: int) -> None:
    with torch.device("meta"):
        g = outline_of(VARIANTS[name]).geometry
    assert most_frames(g.frame_rate_hz, g.lookaround_frames, g.causal) == frames
    piece = DECODE.longest_s * g.frame_rate_hz
    before = g.lookaround_frames if g.lookaround_frames < piece else 0
    assert piece + before + (0 if g.causal else before) <= frames


def test_more_frames_than_the_largest_bucket_are_refused(
    engine_graphs: EngineGraphs, codecs: dict[str, Codec]
) -> None:
    tokens = np.zeros((1, 4, 385), np.int64)
    with pytest.raises(Exception, match="tokens must have at most 384 frames in a request"):
        engine_graphs.running("small_nanocodec")("dequantize", tokens=tokens, tokens_len=np.array([[385]]))


def test_no_engine_looks_up_what_a_caller_sends_unguarded(engine_graphs: EngineGraphs) -> None:
    """The rule that fails by a lookup outside its table is for ONNX Runtime alone."""
    for name in STREAMED:
        for role, model in engine_graphs.of(name).items():
            guards = [n.op_type for n in model.graph.node if " must " in n.name]
            assert set(guards) <= {"Gather"} if role == "dequantize" else set(guards) <= {"ReduceMin"}
