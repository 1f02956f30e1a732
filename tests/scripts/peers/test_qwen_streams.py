"""Streams of Qwen3-TTS by other projects, beside the authors' network in one piece."""

from typing import Any

import pytest
import torch
from torch import Tensor

from scripts.fidelity.windows import compared_ways
from scripts.peers.other_streams import other_streams
from scripts.peers.qwen.decoder import decoder_of
from scripts.peers.qwen.seeded_weights import SMALL_CONFIG, drawn
from scripts.peers.qwen.token_windows import newest_of_windows, streaming
from scripts.peers.qwen_tts import QwenTts
from scripts.peers.streaming import StepPeer, streaming_peers
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_runtime.fidelity import snr_db

CONFIG = {"decoder_config": SMALL_CONFIG["decoder_config"] | {"upsample_rates": [4, 3, 2, 2]}}
FRAMES, REACH = 44, 36
"""Frames of tokens, and frames of the past that the reduced network sees."""


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    config = SMALL_CONFIG | CONFIG
    return Checkpoint("here", "safetensors", config, drawn(config), "")


@pytest.fixture(scope="module")
def decoder(checkpoint: Checkpoint) -> Any:
    return decoder_of(checkpoint.config, checkpoint.tensors)


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(0, 64, (2, 16, FRAMES))


def test_the_decoder_here_gives_the_audio_of_the_one_with_its_own_transformers(
    decoder: Any, checkpoint: Checkpoint, tokens: Tensor
) -> None:
    assert torch.equal(decoder(tokens)[:, 0], QwenTts(checkpoint.config, checkpoint.tensors).decode(tokens))


def stepped(stream: StepPeer, tokens: Tensor) -> Tensor:
    frames = range(tokens.shape[2])
    return torch.cat([stream.decode_step(tokens[:, :, frame : frame + 1]) for frame in frames], dim=2)


@pytest.mark.parametrize(("name", "least_db"), [("sglang-omni", 80), ("window-72", 80), ("window-25", 10)])
def test_streams_are_near_the_whole(
    name: str, least_db: float, decoder: Any, checkpoint: Checkpoint, tokens: Tensor
) -> None:
    with streaming_peers(checkpoint, 16)[name](2) as stream:
        heard = stepped(stream, tokens)
    assert snr_db(decoder(tokens).numpy(), heard.numpy()) > least_db


def test_a_stream_that_only_decodes_says_so(checkpoint: Checkpoint) -> None:
    with (
        streaming_peers(checkpoint, 16)["sglang-omni"](1) as stream,
        pytest.raises(NotImplementedError, match="SglangStream decodes streams only"),
    ):
        stream.encode_step(torch.zeros(1, 1, 192))


@pytest.mark.parametrize("context", [0, 3, REACH])
def test_a_window_at_some_frames_is_what_its_stream_gives_there(
    context: int, decoder: Any, tokens: Tensor
) -> None:
    one, frames = tokens[:1], [0, 2, 11, FRAMES - 1]
    newest = newest_of_windows(decoder, context, one, frames)
    with streaming(decoder, context) as stream:
        heard = stepped(stream, one).reshape(FRAMES, -1)[frames]
    assert snr_db(heard.numpy(), newest.numpy()) > 80
    whole = decoder(one).reshape(FRAMES, -1)[frames]
    assert (snr_db(whole.numpy(), newest.numpy()) > 80) is (context == REACH)


def test_each_way_is_compared_with_the_whole(checkpoint: Checkpoint, tokens: Tensor) -> None:
    others = other_streams(checkpoint)
    assert others is not None
    found = {way: (value, how) for way, value, how in compared_ways(others, tokens[:1], 8)}
    assert list(found) == list(others.ways)
    without = "one frame at a time, 0 of context"
    assert found[without][0] < 30
    assert found["sglang-omni, one frame at a time, with state"][0] > 80
    assert min(found, key=lambda way: found[way][0]) == without
    assert "8 of 44 frames, the worst" in found[without][1]


def test_no_way_is_known_for_other_codecs(checkpoints: dict[str, Checkpoint]) -> None:
    assert other_streams(checkpoints["small_mimi"]) is None
