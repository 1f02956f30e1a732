"""Mimi: ours against Kyutai's moshi and Hugging Face's transformers, in either published format."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from scripts.common.rounding import MARGIN_DB
from scripts.common.small_codecs import SMALL
from scripts.peers import reference_of
from tritone_build.checkpoints.checkpoint import Checkpoint, open_checkpoint
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.codecs import VARIANTS, load_codec, mimi
from tritone_build.codecs.base import Codec
from tritone_build.codecs.configs.mimi import parse
from tritone_build.errors import CheckpointMismatchError, UnsupportedNetworkError
from tritone_build.state import State, whole
from tritone_runtime.fidelity import snr_db

CONFIG = SMALL["small_mimi"]
FRAMES = 90
"""More than four windows of the reduced transformer."""


@pytest.fixture(scope="module", params=mimi.LAYOUTS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("mimi")
    return open_checkpoint(str(write_fixture(CONFIG, folder / "mimi.safetensors", layout=request.param)))


@pytest.fixture(scope="module")
def codec(checkpoint: Checkpoint) -> Codec:
    return load_codec(checkpoint, "small_mimi")


def noise(codec: Codec, frames: int = FRAMES) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames)
    return 0.3 * torch.randn(2, frames * codec.geometry.samples_per_frame, generator=generator)


def some_tokens(codec: Codec, books: int, frames: int = FRAMES) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.randint(0, codec.geometry.codebook_size, (2, books, frames), generator=generator)


@pytest.mark.parametrize("books", [1, 2, 8, 32])
def test_decoding_equals_the_reference(books: int, codec: Codec, checkpoint: Checkpoint) -> None:
    tokens = some_tokens(codec, books)
    ours = whole(codec.decoder, codec.quantizer.dequantize(tokens))
    assert snr_db(reference_of(checkpoint).decode(tokens).numpy(), ours.numpy()) > 115


@pytest.mark.parametrize("books", [1, 8, 32])
def test_encoding_equals_the_reference(books: int, codec: Codec, checkpoint: Checkpoint) -> None:
    audio = noise(codec)
    ours = codec.quantizer.quantize(whole(codec.encoder, audio[:, None]))[:, :books]
    assert torch.equal(reference_of(checkpoint).encode(audio, books), ours)
    assert len(torch.unique(ours[:, 0])) > 8, "varied tokens, or this compares little"


def test_both_formats_hold_the_same_network(tmp_path: Path) -> None:
    loaded = [
        load_codec(
            open_checkpoint(str(write_fixture(CONFIG, tmp_path / layout / "x.safetensors", layout=layout))),
            "x",
        )
        for layout in mimi.LAYOUTS
    ]
    tokens = some_tokens(loaded[0], 8)
    first, second = (whole(codec.decoder, codec.quantizer.dequantize(tokens)) for codec in loaded)
    assert torch.equal(first, second)


def test_the_published_geometry_needs_no_configuration() -> None:
    with torch.device("meta"):
        tensors = mimi.Network(parse(VARIANTS["mimi"].config)).published()
    assert len(tensors) == 318
    assert sum(tensor.numel() for tensor in tensors.values()) == 96_151_393
    assert tensors["encoder_transformer.transformer.layers.7.self_attn.in_proj_weight"].shape == (1536, 512)
    assert mimi.variant_of(Checkpoint("bare", "safetensors", {}, tensors, "")) == "mimi"
    assert len(mimi.in_layout(tensors, "safetensors", VARIANTS["mimi"].config)) == 350


def test_every_tensor_that_is_off_is_named(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = write_fixture(CONFIG, tmp_path / "x.safetensors", layout="kyutai")
    tensors = load_file(path)
    gone = "quantizer.rvq_rest.vq.layers.30._codebook.cluster_usage"
    del tensors[gone]
    tensors["decoder.model.0.conv.conv.bias"] = torch.zeros(3)
    tensors["extra"] = torch.zeros(1)
    save_file(tensors, path)
    with pytest.raises(CheckpointMismatchError) as caught:
        load_codec(open_checkpoint(str(path)), "x")
    for said in (gone, "decoder.model.0.conv.conv.bias is [3], expected [16]", "extra"):
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_residual_layers": 2}, "num_residual_layers = 2 is not supported; supported: 1"),
        ({"use_causal_conv": False}, "use_causal_conv"),
        ({"upsample_groups": 1}, "upsample_groups"),
        ({"num_key_value_heads": 1}, "num_key_value_heads"),
        ({"frame_rate": 13}, "not a whole multiple"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedNetworkError, match=said):
        parse({**CONFIG, **change})


def test_the_window_bounds_what_a_frame_sees(codec: Codec) -> None:
    """A change further back than the announced reach changes nothing; one just inside does."""
    reach = codec.geometry.lookaround_frames
    latent = torch.randn(1, 64, reach + 40, dtype=torch.float64)
    decoder = load_codec_double(codec)
    before = whole(decoder, latent)
    changed = latent.clone()
    changed[:, :, 3] += 1
    hop = codec.geometry.samples_per_frame
    difference = (whole(decoder, changed) - before).abs()[0].reshape(-1, hop).amax(1)
    assert not difference[:3].any()
    assert not difference[3 + reach + 1 :].any()
    assert difference[3 : 3 + reach - 2].all()


def load_codec_double(codec: Codec) -> Any:
    return copy.deepcopy(codec.decoder).double()


@pytest.mark.parametrize(
    "start",
    [0, 2**20 + 3, 2**32 - 37, 3 * 2**32 + 2**24 - 37],
    ids=["fresh", "old", "phases about to begin again", "count about to begin again"],
)
def test_a_stream_of_any_age_gives_what_a_young_one_gives(
    start: int, codec: Codec, checkpoint: Checkpoint
) -> None:
    """Only differences of positions matter: the count may stand anywhere, and may turn over."""
    latent = torch.randn(1, 64, FRAMES)
    pieces = {}
    for first in (0, start):
        past: dict[str, torch.Tensor] | None = None
        out = []
        for frame in torch.split(latent, 1, 2):
            state = State(codec.decoder, past)
            out.append(codec.decoder(frame, state))
            if past is None:
                past = fresh_rings(state, first)
            store(past, state)
        pieces[first] = torch.cat(out, 1)
    hop, reach = codec.geometry.samples_per_frame, codec.geometry.lookaround_frames
    expected = whole(codec.decoder, latent)
    exact = whole(load_codec_double(codec), latent.double())
    least = snr_db(exact.numpy(), reference_of(checkpoint).network(latent).numpy()) - MARGIN_DB
    assert snr_db(expected.numpy(), pieces[0].numpy()) >= least
    tail = slice((reach + 1) * hop, None)
    assert snr_db(expected[:, tail].numpy(), pieces[start][:, tail].numpy()) >= least


def fresh_rings(state: State, first: int) -> dict[str, torch.Tensor]:
    """An empty past whose counts stand at ``first``."""
    past = {entry.name: torch.zeros(1, *entry.shape, dtype=entry.dtype) for entry in state.entries}
    for entry in state.entries:
        if entry.dtype == torch.int64:
            past[entry.name] += first
    state.next |= {n: t + first for n, t in state.next.items() if t.dtype == torch.int64}
    state.places = {key: (places + first) % key[1] for key, places in state.places.items()}
    return past


def store(past: dict[str, torch.Tensor], state: State) -> None:
    for entry in state.entries:
        if entry.ring is None:
            past[entry.name] = state.next[entry.name]
            continue
        places = state.places[entry.ring.count, entry.ring.capacity][0]
        axis = entry.ring.axis + 1
        past[entry.name] = past[entry.name].index_copy(axis, places, state.next[entry.name])
