"""MOSS-Audio-Tokenizer-v2 and -Nano, with two channels: ours against OpenMOSS's own code, and their order."""

import copy
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from scripts.common.small_codecs import SMALL
from scripts.peers.openmoss import OpenMoss
from tritone_build.checkpoints.checkpoint import Checkpoint, open_checkpoint
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.codecs import VARIANTS, load_codec, moss
from tritone_build.codecs.base import Codec
from tritone_build.codecs.configs.moss import parse
from tritone_build.graphs.steps import packing_of
from tritone_build.state import State, whole
from tritone_runtime.fidelity import snr_db

CONFIG = SMALL["small_moss_nano"]
FRAMES = {"small_moss_nano": 90, "moss_nano": 53}
"""Eleven windows of the small transformers; of the full size, more than the window of the fastest one."""
TIE = 1e-4


@pytest.fixture(scope="module")
def checkpoint(checkpoints: dict[str, Checkpoint]) -> Checkpoint:
    return checkpoints["small_moss_nano"]


@pytest.fixture(scope="module")
def codec(codecs: dict[str, Codec]) -> Codec:
    return codecs["small_moss_nano"]


@pytest.fixture(scope="module", params=list(FRAMES))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Codec, OpenMoss]:
    """A codec of either size, and the authors' network with the same weights."""
    config = CONFIG if request.param == "small_moss_nano" else VARIANTS[request.param].config
    written = open_checkpoint(str(write_fixture(config, tmp_path_factory.mktemp(request.param))))
    return load_codec(written, request.param), OpenMoss(written.config, written.tensors)


def noise(codec: Codec, samples: int, rows: int = 1) -> Tensor:
    return 0.1 * torch.randn(rows, 2, samples, generator=torch.Generator().manual_seed(samples))


def some_tokens(codec: Codec, frames: int, books: int | None = None) -> Tensor:
    g, generator = codec.geometry, torch.Generator().manual_seed(frames)
    return torch.randint(0, g.codebook_size, (1, books or g.num_codebooks, frames), generator=generator)


def decoded(codec: Codec, tokens: Tensor) -> Tensor:
    return whole(codec.decoder, codec.quantizer.dequantize(tokens))


def encoded(codec: Codec, audio: Tensor) -> Tensor:
    padded = nn.functional.pad(audio, (0, -audio.shape[2] % codec.geometry.samples_per_frame))
    return codec.quantizer.quantize(whole(codec.encoder, padded))


def db(expected: Tensor, found: Tensor) -> float:
    return snr_db(expected.numpy(), found.numpy())


def in_chunks(network: nn.Module, x: Tensor, sizes: Sequence[int]) -> Tensor:
    """A network over a signal cut along its last axis, in steps of one stream."""
    empty = State(network)
    network(x[..., : sizes[0]], empty)
    packing = packing_of(empty.entries)
    pasts = [torch.zeros(len(x), *part.shape, dtype=part.dtype) for part in packing.parts]
    pieces = []
    for chunk in torch.split(x, list(sizes), dim=-1):
        state = packing.state(network, pasts, None)
        pieces.append(network(chunk, state))
        pasts = list(packing.next_by_row(state, pasts))
    return torch.cat(pieces, -1)


def test_decoding_equals_the_reference(pair: tuple[Codec, OpenMoss]) -> None:
    codec, reference = pair
    tokens = some_tokens(codec, FRAMES[codec.name])
    ours, theirs = decoded(codec, tokens), reference.decode(tokens)
    assert ours.shape == theirs.shape == (1, 2, FRAMES[codec.name] * codec.geometry.samples_per_frame)
    latent = codec.quantizer.dequantize(tokens).double()
    exact = whole(copy.deepcopy(codec.decoder).double(), latent)
    assert db(exact, ours) > db(exact, theirs) - 1
    assert db(exact, reference.network(latent.float())) > 100


def test_fewer_codebooks_decode_as_in_the_reference(pair: tuple[Codec, OpenMoss]) -> None:
    codec, reference = pair
    for books in (1, 5):
        tokens = some_tokens(codec, 9, books)
        assert db(reference.decode(tokens), decoded(codec, tokens)) > 110


def test_encoding_equals_the_reference(pair: tuple[Codec, OpenMoss]) -> None:
    codec, reference = pair
    audio = noise(codec, FRAMES[codec.name] * codec.geometry.samples_per_frame)
    ours, theirs = encoded(codec, audio), reference.encode(audio)
    first = (ours != theirs).int().cumsum(1).cumsum(1) == 1  # later codebooks see another residual
    assert (reference.rounding_margin(audio)[first] < TIE).all()
    assert first.float().mean() < 1e-3
    assert len(torch.unique(ours[:, 0])) > 20, "varied tokens, or this compares little"


def test_a_partial_last_frame_is_completed_with_zeros(codec: Codec, checkpoint: Checkpoint) -> None:
    audio = noise(codec, 20 * codec.geometry.samples_per_frame + 3)
    reference = OpenMoss(checkpoint.config, checkpoint.tensors)
    ours = encoded(codec, audio)
    assert ours.shape[2] == 21
    assert torch.equal(ours, reference.encode(audio))


def check_cutting(codec: Codec, sizes: Sequence[int]) -> None:
    """Streams of these sizes equal the whole, in FP64, each way."""
    hop, frames = codec.geometry.samples_per_frame, sum(sizes)
    decoder, encoder = copy.deepcopy(codec.decoder).double(), copy.deepcopy(codec.encoder).double()
    latent = codec.quantizer.dequantize(some_tokens(codec, frames)).double()
    audio = noise(codec, frames * hop).double()
    streamed = in_chunks(decoder, latent, sizes), in_chunks(encoder, audio, [hop * size for size in sizes])
    for found, expected in zip(streamed, (whole(decoder, latent), whole(encoder, audio)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 7, 25])
def test_a_stream_equals_the_whole(chunk: int, codec: Codec) -> None:
    check_cutting(codec, [chunk] * (75 // chunk))


@given(sizes=st.lists(st.integers(1, 30), min_size=2, max_size=6))
@settings(max_examples=10)
def test_a_stream_equals_the_whole_however_it_is_cut(codec: Codec, sizes: list[int]) -> None:
    check_cutting(codec, [*sizes, 9, 1])


def test_the_reference_in_chunks_leaves_the_whole_after_a_window(
    codec: Codec, checkpoint: Checkpoint
) -> None:
    tokens = some_tokens(codec, 60)
    found = OpenMoss(checkpoint.config, checkpoint.tensors).decode_in_chunks(tokens, 3)
    assert found.shape == (1, 2, 60 * codec.geometry.samples_per_frame)
    assert db(decoded(codec, tokens), found) < 60


def test_the_order_of_the_channels_matters(codec: Codec, checkpoint: Checkpoint) -> None:
    audio = noise(codec, 30 * codec.geometry.samples_per_frame)
    assert not torch.equal(encoded(codec, audio), encoded(codec, audio.flip(1)))
    reference = OpenMoss(checkpoint.config, checkpoint.tensors)
    assert torch.equal(encoded(codec, audio.flip(1)), reference.encode(audio.flip(1)))


def test_the_second_channel_is_the_right_one() -> None:
    """A network that only patches gives back its input: silence on the left, a signal on the right."""
    patches = parse(CONFIG).encoder[:1]
    encoder, decoder = moss.MossEncoder(patches), moss.MossDecoder(patches, 2)
    audio = torch.stack([torch.zeros(1, 16), torch.randn(1, 16)], 1)
    latent = whole(encoder, audio)
    assert (latent[:, ::2] == 0).all()
    assert torch.equal(latent[0, 1::2].T.flatten(), audio[0, 1])
    assert torch.equal(whole(decoder, latent), audio)
