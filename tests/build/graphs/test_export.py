"""ONNX: the same numbers as PyTorch, named and shaped as the contract says, with its rules inside."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from scripts.common.small_codecs import CAUSAL, SMALL
from tritone_build.codecs.base import Codec
from tritone_build.codecs.stateless import Dequantizer, Encoder
from tritone_build.state import whole
from tritone_runtime.fidelity import snr_db

Arrays = dict[str, NDArray[Any]]

MARGIN_DB = 4.0
"""ONNX Runtime sums in another order, which takes up to 2 dB from the distance to FP64."""


class Models:
    """The ONNX models of one codec."""

    def __init__(self, repository: Path, name: str):
        self.paths = {
            role: repository / f"{name}_{role}" / "1" / "model.onnx"
            for role in ("dequantize", "vocoder", "encode")
        }

    def run(self, role: str, **inputs: NDArray[Any]) -> Arrays:
        session = onnxruntime.InferenceSession(self.paths[role])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, inputs), strict=True))


@pytest.fixture(params=list(SMALL))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def models(repository: Path, name: str) -> Models:
    return Models(repository, name)


def tokens_of(codec: Codec, batch: int, frames: int) -> NDArray[np.int64]:
    g = codec.geometry
    return np.random.default_rng(frames).integers(0, g.codebook_size, (batch, g.default_codebooks, frames))


def noise_of(codec: Codec, batch: int, samples: int, seed: int) -> NDArray[np.float32]:
    """Audio [B, S], or [B, C, S] with another noise in each channel."""
    shape = (batch, *codec.geometry.audio_shape(samples))
    return (0.3 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def lengths(batch: int, value: int) -> NDArray[np.int64]:
    return np.full((batch, 1), value)


def test_graphs_have_the_contracts_names_and_axes(
    models: Models, name: str, codecs: dict[str, Codec]
) -> None:
    g = codecs[name].geometry
    books = "codebooks" if g.min_codebooks < g.num_codebooks else g.num_codebooks
    choice = {"num_codebooks": (1, 1)} if g.min_codebooks < g.num_codebooks else {}
    audio = ("batch", *g.audio_shape(0)[:-1], "samples")
    expected = {
        "dequantize": (
            {"tokens": ("batch", books, "frames"), "tokens_len": ("batch", 1)},
            {"latent": ("batch", g.latent_dim, "frames"), "latent_len": ("batch", 1)},
        ),
        "vocoder": (
            {"latent": ("batch", g.latent_dim, "frames"), "latent_len": ("batch", 1)},
            {"audio": audio, "audio_len": ("batch", 1)},
        ),
        "encode": (
            {"audio": audio, "audio_len": ("batch", 1), **choice},
            {"tokens": ("batch", books, "frames"), "tokens_len": ("batch", 1)},
        ),
    }
    for role, path in models.paths.items():
        graph = onnx.load(path).graph
        onnx.checker.check_model(path)
        found = tuple(
            {v.name: tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}
            for values in (graph.input, graph.output)
        )
        assert found == expected[role]
        assert {node.domain for node in graph.node} == {""}, "only standard operators"
        assert "ConvTranspose" not in {node.op_type for node in graph.node}


def assert_as_exact_as_pytorch(codec: Codec, latent: torch.Tensor, audio: NDArray[np.float32]) -> None:
    """The distance from FP64, which each network has its own of, is that of PyTorch in FP32."""
    exact = whole(copy.deepcopy(codec.decoder).double(), latent.double()).numpy()
    pytorch_db = snr_db(exact, whole(codec.decoder, latent).numpy())
    assert pytorch_db > 115, "or the limit would mean little"
    assert snr_db(exact, audio) > pytorch_db - MARGIN_DB


@pytest.mark.parametrize(("batch", "frames"), [(1, 4), (1, 17), (3, 9)])
def test_onnx_equals_pytorch(
    batch: int, frames: int, models: Models, name: str, codecs: dict[str, Codec]
) -> None:
    codec = codecs[name]
    tokens, length = tokens_of(codec, batch, frames), lengths(batch, frames)
    latent = models.run("dequantize", tokens=tokens, tokens_len=length)["latent"]
    expected = Dequantizer(codec)(torch.tensor(tokens), torch.tensor(length))[0]
    assert snr_db(expected.numpy(), latent) > 125
    spoken = models.run("vocoder", latent=latent, latent_len=length)
    assert_as_exact_as_pytorch(codec, expected, spoken["audio"])
    spoken_len = frames * codec.geometry.samples_per_frame - codec.geometry.short_samples
    assert spoken["audio_len"].tolist() == [[spoken_len]] * batch
    samples = frames * codec.geometry.encode_samples_per_frame - 3
    audio = noise_of(codec, batch, samples, seed=0)
    encoded = models.run("encode", audio=audio, audio_len=lengths(batch, samples))
    ours = Encoder(codec)(torch.tensor(audio), torch.tensor(lengths(batch, samples)))
    assert np.array_equal(encoded["tokens"], ours[0][:, : codec.geometry.default_codebooks].numpy())
    assert encoded["tokens_len"].tolist() == [[frames]] * batch


def refusal(models: Models, role: str, **inputs: NDArray[Any]) -> str:
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument) as caught:
        models.run(role, **inputs)
    return str(caught.value)


@pytest.mark.parametrize("bad", [-1, "size", 2**40])
def test_a_token_out_of_range_is_refused_by_the_graph(
    bad: int | str, models: Models, name: str, codecs: dict[str, Codec]
) -> None:
    size = codecs[name].geometry.codebook_size
    tokens = tokens_of(codecs[name], 2, 5)
    tokens[1, -1, -1] = size if bad == "size" else bad
    assert f"tokens must be in 0..{size - 1}" in refusal(
        models, "dequantize", tokens=tokens, tokens_len=lengths(2, 5)
    )


def test_lengths_are_held_to_what_was_sent(models: Models, name: str, codecs: dict[str, Codec]) -> None:
    codec, g = codecs[name], codecs[name].geometry
    tokens = tokens_of(codec, 1, 6)
    assert "tokens_len must be" in refusal(models, "dequantize", tokens=tokens, tokens_len=lengths(1, 7))
    for frames in (0, -3):
        assert " must " in refusal(models, "dequantize", tokens=tokens, tokens_len=lengths(1, frames))
    samples = 6 * g.encode_samples_per_frame
    audio = np.zeros((1, *g.audio_shape(samples)), np.float32)
    assert "at most S" in refusal(models, "encode", audio=audio, audio_len=lengths(1, samples + 1))
    few = lengths(1, g.min_samples - 1)
    assert "must be at least" in refusal(models, "encode", audio=audio[..., : few[0, 0]], audio_len=few)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_audio_that_is_not_finite_is_refused(
    value: float, models: Models, name: str, codecs: dict[str, Codec]
) -> None:
    g = codecs[name].geometry
    samples = 6 * g.encode_samples_per_frame
    audio = np.zeros((2, *g.audio_shape(samples)), np.float32)
    audio.reshape(2, g.num_channels, samples)[-1, -1, 5] = value
    assert "must be finite" in refusal(models, "encode", audio=audio, audio_len=lengths(2, samples))


@pytest.mark.parametrize("name", [*CAUSAL, "small_snac_24khz", "small_dac_24khz", "small_higgs_v2"])
def test_a_padded_row_gives_what_it_gives_alone(
    name: str, repository: Path, codecs: dict[str, Codec]
) -> None:
    models, codec = Models(repository, name), codecs[name]
    tokens, length = tokens_of(codec, 3, 12), np.array([[12], [7], [1]])
    for row, frames in enumerate(length[:, 0]):
        tokens[row, :, frames:] = -1  # whatever the padding holds
    latent = models.run("dequantize", tokens=tokens, tokens_len=length)
    audio = models.run("vocoder", **latent)["audio"]
    for row, frames in enumerate(length[:, 0]):
        alone = models.run(
            "dequantize", tokens=tokens[row : row + 1, :, :frames], tokens_len=lengths(1, frames)
        )
        spoken = models.run("vocoder", **alone)["audio"][0]
        samples = spoken.shape[-1]
        assert samples == frames * codec.geometry.samples_per_frame - codec.geometry.short_samples
        assert snr_db(spoken, audio[row, ..., :samples]) > 120
        assert not audio[row, ..., samples:].any()


def test_a_codec_that_looks_ahead_takes_whole_rows_only(repository: Path, codecs: dict[str, Codec]) -> None:
    models, codec = Models(repository, "small_lfsc"), codecs["small_lfsc"]
    tokens = tokens_of(codec, 2, 9)
    assert "equal length" in refusal(models, "dequantize", tokens=tokens, tokens_len=np.array([[9], [8]]))
    few = tokens_of(codec, 1, 3)
    assert "at least 4" in refusal(models, "dequantize", tokens=few, tokens_len=lengths(1, 3))


def test_rows_of_an_encoded_batch_may_differ_within_the_last_frame(
    models: Models, name: str, codecs: dict[str, Codec]
) -> None:
    hop = codecs[name].geometry.encode_samples_per_frame
    audio = noise_of(codecs[name], 2, 8 * hop, seed=1)
    length = np.array([[8 * hop], [7 * hop + 5]])
    together = models.run("encode", audio=audio, audio_len=length)["tokens"]
    alone = models.run("encode", audio=audio[1:, ..., : 7 * hop + 5], audio_len=length[1:])["tokens"]
    assert np.array_equal(together[1:], alone)
    if codecs[name].geometry.encode_stepwise:
        return
    length[1] = 7 * hop
    assert "same number of frames" in refusal(models, "encode", audio=audio, audio_len=length)


@pytest.mark.parametrize("name", ["small_mimi", "small_moss_nano", "small_snac_24khz", "small_dac_24khz"])
def test_rows_of_an_encoder_that_runs_step_by_step_may_differ_in_length(
    name: str, models: Models, codecs: dict[str, Codec]
) -> None:
    hop = codecs[name].geometry.encode_samples_per_frame
    audio = noise_of(codecs[name], 2, 8 * hop, seed=1)
    length = np.array([[8 * hop], [3 * hop + 5]])
    together = models.run("encode", audio=audio, audio_len=length)
    alone = models.run("encode", audio=audio[1:, ..., : 3 * hop + 5], audio_len=length[1:])["tokens"]
    assert together["tokens_len"].tolist() == [[8], [4]]
    assert np.array_equal(together["tokens"][1:, :, :4], alone)
    assert not together["tokens"][1, :, 4:].any()


def test_the_number_of_codebooks_may_be_left_out_and_is_held_to_its_range(
    repository: Path, codecs: dict[str, Codec]
) -> None:
    models, hop = Models(repository, "small_mimi"), codecs["small_mimi"].geometry.samples_per_frame
    audio, length = noise_of(codecs["small_mimi"], 2, 4 * hop, 0), lengths(2, 4 * hop)
    given: Any = {"audio": audio, "audio_len": length}
    all_of_them = Encoder(codecs["small_mimi"])(torch.from_numpy(audio), torch.from_numpy(length))[0].numpy()
    assert np.array_equal(models.run("encode", **given)["tokens"], all_of_them[:, :8])
    for count in (1, 5, 8, 9, 32):
        chosen = models.run("encode", **given, num_codebooks=np.array([[count]]))["tokens"]
        assert np.array_equal(chosen, all_of_them[:, :count])
    for count in (0, 33, -1):
        refused = refusal(models, "encode", **given, num_codebooks=np.array([[count]]))
        assert "num_codebooks must be in 1..32" in refused


@pytest.mark.parametrize("role", ["encode", "encode_stream"])
def test_codebooks_that_nobody_asked_for_are_not_searched(repository: Path, role: str) -> None:
    graph = onnx.load(repository / f"small_mimi_{role}" / "1" / "model.onnx").graph
    (choice,) = (node for node in graph.node if node.op_type == "If")
    searches = [
        sum(node.op_type == "ArgMax" for node in nodes) + sum(node.op_type == "ArgMin" for node in nodes)
        for nodes in (graph.node, *(branch.g.node for branch in choice.attribute))
    ]
    assert sorted(searches) == [0, 8, 24]
