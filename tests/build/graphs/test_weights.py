"""Graphs whose weights lie in files, once for all models of a codec."""

from pathlib import Path

import numpy as np
import pytest
import torch

from scripts.common.rounding import measured_limit
from scripts.peers import Reference
from tritone_build.codecs.base import Codec
from tritone_build.graphs.export import graph_of, write_onnx
from tritone_build.graphs.roles import roles
from tritone_build.graphs.weights import SharedWeights
from tritone_build.state import whole
from tritone_runtime.executors.onnx_runtime import OnnxExecutor
from tritone_runtime.fidelity import snr_db
from tritone_runtime.manifests import data_files

LEAST = 1000
FRAMES = 30


@pytest.fixture(scope="module")
def folder(codecs: dict[str, Codec], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The decoder's models of a codec, their weights aside."""
    folder, patch = tmp_path_factory.mktemp("weights"), pytest.MonkeyPatch()
    patch.setattr("tritone_build.graphs.weights._LEAST", LEAST)
    shared = SharedWeights(largest=LEAST)
    for role in roles(codecs["small_moss"]):
        if role.name in ("vocoder", "decode_stream"):
            graph = graph_of(role)
            shared.externalize(graph, folder / role.name, role.name)
            write_onnx(graph, folder / role.name / "model.onnx")
    patch.undo()
    return folder


def test_the_weights_that_two_models_have_in_common_are_one_file(folder: Path) -> None:
    vocoder, stream = (data_files(folder / name / "model.onnx") for name in ("vocoder", "decode_stream"))
    assert [file.name for file in vocoder] == ["vocoder.data"]
    assert [file.name for file in stream] == ["decode_stream.data", "vocoder.data"]
    assert vocoder[0].samefile(stream[1])
    assert stream[0].stat().st_size < vocoder[0].stat().st_size, "only what the vocoder has not: codebooks"


def test_both_compute_what_the_network_does(
    folder: Path, codecs: dict[str, Codec], references: dict[str, Reference]
) -> None:
    codec = codecs["small_moss"]
    tokens = torch.randint(128, (1, 32, FRAMES), generator=torch.Generator().manual_seed(0))
    latent = codec.quantizer.dequantize(tokens)
    expected = whole(codec.decoder, latent).numpy()
    vocoder, stream = (OnnxExecutor(folder / name / "model.onnx") for name in ("vocoder", "decode_stream"))
    audio, _ = vocoder.run({"latent": latent.numpy(), "latent_len": np.array([[FRAMES]])})
    least = measured_limit(references[codec.name], codec, tokens[0].numpy()).whole_db
    assert snr_db(expected, audio) >= least
    step = next(role for role in roles(codec) if role.name == "decode_stream")
    assert step.packing is not None
    pasts = {f"past_{p.name}": torch.zeros(1, *p.shape, dtype=p.dtype).numpy() for p in step.packing.parts}
    (audio,) = stream.run({"tokens": tokens.numpy(), "slot": np.array([0]), **pasts}, ["audio"])
    assert snr_db(expected, audio) >= least


def test_what_fits_a_message_stays_in_it(codecs: dict[str, Codec], tmp_path: Path) -> None:
    role = next(role for role in roles(codecs["small_mimi"]) if role.name == "vocoder")
    graph = graph_of(role)
    SharedWeights().externalize(graph, tmp_path, "vocoder")
    write_onnx(graph, tmp_path / "model.onnx")
    assert not data_files(tmp_path / "model.onnx")
