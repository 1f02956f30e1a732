"""Weights in INT8: which, how exact, and what has none."""

import json
import logging
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from tritone_build.codecs.base import Codec
from tritone_build.errors import PrecisionError
from tritone_build.graphs.export import write_onnx
from tritone_build.graphs.quantization import large_products, quantized_to_int8
from tritone_build.graphs.roles import roles
from tritone_build.repository import graph_files
from tritone_build.repository.graph_files import SharedWeights, write_graph
from tritone_build.repository.writing import is_current
from tritone_build.state import whole
from tritone_runtime.fidelity import snr_db

SMALL_ENOUGH = 1000
"""The reduced networks have no matrix that would count as large."""


def built(repository: Path, model: str) -> ir.Model:
    return ir.load(repository / model / "1" / "model.onnx")


def test_a_quantized_decoder_sounds_alike_and_logging_stays_as_it_was(
    codecs: dict[str, Codec], repository: Path, tmp_path: Path
) -> None:
    codec, path = codecs["small_moss"], tmp_path / "model.onnx"
    before = logging.getLogger().level, list(logging.getLogger().handlers)
    write_onnx(quantized_to_int8(built(repository, "small_moss_vocoder"), SMALL_ENOUGH), path)
    assert (logging.getLogger().level, list(logging.getLogger().handlers)) == before
    tokens = torch.randint(128, (1, 32, 60), generator=torch.Generator().manual_seed(0))
    latent, length = codec.quantizer.dequantize(tokens), np.array([[60]])
    session = onnxruntime.InferenceSession(path)
    audio, _ = session.run(None, {"latent": latent.numpy(), "latent_len": length})
    assert 30 < snr_db(whole(codec.decoder, latent).numpy(), audio) < 80


def test_only_large_matrices_are_quantized(repository: Path) -> None:
    graph = built(repository, "small_moss_encode")
    wanted = set(large_products(graph, SMALL_ENOUGH))
    quantized = {
        str(node.name).removesuffix("_Q8")
        for node in quantized_to_int8(graph, SMALL_ENOUGH).graph
        if "NBits" in node.op_type
    }
    assert quantized == wanted
    kept = [node for node in graph.graph if node.op_type == "MatMul" and node.name not in wanted]
    assert len(kept) > 3 * 32, "the search of 32 codebooks"


def test_a_search_that_is_left_out_at_times_stays_in_fp32(repository: Path) -> None:
    quantized = quantized_to_int8(built(repository, "small_mimi_encode"), SMALL_ENOUGH).graph
    assert any("NBits" in node.op_type for node in quantized)
    (choice,) = (node for node in quantized if node.op_type == "If")
    products = [
        node.op_type
        for branch in choice.attributes.values()
        for node in branch.as_graph()
        if "MatMul" in node.op_type
    ]
    assert products == ["MatMul"] * 24


def test_a_network_without_large_products_is_refused(repository: Path) -> None:
    with pytest.raises(PrecisionError, match="build it in FP32"):
        quantized_to_int8(built(repository, "small_nanocodec_vocoder"))


def test_models_with_other_weights_are_not_up_to_date(repository: Path, codecs: dict[str, Codec]) -> None:
    manifest = json.loads((repository / "small_moss_vocoder" / "1" / "manifest.json").read_text())
    assert manifest["weights"] == "fp32"
    assert is_current(repository, codecs["small_moss"])
    assert not is_current(repository, codecs["small_moss"], weights="int8")


def test_a_small_network_has_its_decoder_in_int8_and_its_search_in_fp32(
    codecs: dict[str, Codec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_files, "SMALLEST_OF_A_DECODER", SMALL_ENOUGH)
    for role in roles(codecs["small_moss_nano"]):
        (tmp_path / role.name).mkdir()
        write_graph(role, tmp_path / role.name, True, SharedWeights())
        graph = ir.load(tmp_path / role.name / "model.onnx").graph
        assert any("NBits" in node.op_type for node in graph) is (role.name in ("vocoder", "decode_stream"))
