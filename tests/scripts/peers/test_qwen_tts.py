"""The authors' Qwen3-TTS tokenizer in a process of its own."""

import pytest
import torch
from torch import Tensor

from scripts.peers import Reference, references_of
from scripts.peers.qwen.seeded_weights import SMALL_CONFIG, drawn
from scripts.peers.qwen_tts import QwenTts
from scripts.peers.worker_process import WorkerError
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_runtime.fidelity import snr_db

HOP = 1920


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return drawn(SMALL_CONFIG)


@pytest.fixture(scope="module")
def found(tensors: dict[str, Tensor]) -> dict[str, Reference]:
    return references_of(Checkpoint("here", "safetensors", SMALL_CONFIG, tensors, ""))


@pytest.fixture(scope="module")
def peer(found: dict[str, Reference]) -> QwenTts:
    assert isinstance(found["qwen-tts"], QwenTts)
    return found["qwen-tts"]


def some_tokens(frames: int) -> Tensor:
    return torch.randint(0, 64, (2, 16, frames))


def noise(samples: int) -> Tensor:
    return 0.1 * torch.randn(2, samples)


def test_it_is_recognised_by_its_tensors(found: dict[str, Reference]) -> None:
    assert list(found) == ["qwen-tts"]


def test_decoding_is_the_network_after_the_dequantizer(peer: QwenTts) -> None:
    tokens = some_tokens(12)
    latent, audio = peer.dequantize(tokens), peer.decode(tokens)
    assert latent.shape == (2, 32, 12)
    assert audio.shape == (2, 12 * HOP)
    assert torch.equal(peer.network(latent), audio)
    assert torch.equal(peer.decode(tokens), audio), "the network's own dequantizer is back"


def test_chunks_with_too_little_context_differ_from_the_whole(peer: QwenTts) -> None:
    tokens = some_tokens(60)
    whole = peer.decode(tokens).numpy()
    assert snr_db(whole, peer.decode_chunked(tokens).numpy()) > 90, "one chunk"
    assert snr_db(whole, peer.decode_chunked(tokens, 30, 5).numpy()) < 60


def test_a_partial_frame_is_completed_with_zeros(peer: QwenTts) -> None:
    audio = noise(3 * HOP + 100)
    whole = torch.nn.functional.pad(audio, (0, HOP - 100))
    tokens = peer.encode(audio)
    assert tokens.shape == (2, 16, 4)
    assert torch.equal(peer.encode(whole), tokens)
    assert torch.equal(peer.encode(audio, 3), tokens[:, :3])


@pytest.mark.parametrize("books", [1, 5, None])
def test_margins_are_those_of_the_tokens(books: int | None, peer: QwenTts) -> None:
    audio = noise(8 * HOP)
    margin = peer.rounding_margin(audio, books)
    assert margin.shape == peer.encode(audio, books).shape
    assert ((margin >= 0) & (margin < 1)).all()
    moved = peer.encode(audio + 1e-4 * torch.randn(audio.shape), books) != peer.encode(audio, books)
    if moved[:, 0].any():
        assert margin[:, 0][moved[:, 0]].max() < margin[:, 0].median()


def test_an_unbounded_encoder_differs_only_after_the_window(
    peer: QwenTts, tensors: dict[str, Tensor]
) -> None:
    audio = noise(40 * HOP)
    unbounded = QwenTts(SMALL_CONFIG, tensors).encode(audio)
    seen = SMALL_CONFIG["encoder_config"]["sliding_window"] // 2  # two steps of the transformer per frame
    assert torch.equal(unbounded[..., :seen], peer.encode(audio)[..., :seen])
    assert not torch.equal(unbounded, peer.encode(audio))


def test_half_and_double_precision_are_near_single(peer: QwenTts, tensors: dict[str, Tensor]) -> None:
    tokens = some_tokens(6)
    exact = QwenTts(SMALL_CONFIG, tensors, torch.float64).decode(tokens)
    assert exact.dtype == torch.float64
    single = snr_db(exact.numpy(), peer.decode(tokens).numpy())
    half = snr_db(exact.numpy(), QwenTts(SMALL_CONFIG, tensors, torch.float16).decode(tokens).numpy())
    assert single > 80
    assert 10 < half < single - 20


def test_every_tensor_must_be_used(tensors: dict[str, Tensor]) -> None:
    others = tensors | {"another": torch.zeros(1)}
    del others["decoder.pre_conv.conv.bias"]
    with pytest.raises(WorkerError, match=r"(?s)Missing.*decoder\.pre_conv\.conv\.bias.*Unexpected.*another"):
        QwenTts(SMALL_CONFIG, others)


def test_what_the_class_refuses_is_told_and_the_process_goes_on(peer: QwenTts) -> None:
    with pytest.raises(WorkerError, match="Expected 16 layer of codes, got 8"):
        peer.decode(some_tokens(4)[:, :8])
    assert peer.decode(some_tokens(4)).shape == (2, 4 * HOP)
