"""Half precision: what is FP16 in a graph, what is not, and what does not fit."""

import copy
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from helpers.engine_graphs import GRAPHS, EngineGraphs

from tritone_build.codecs.base import Codec
from tritone_build.codecs.stateless import Encoder
from tritone_build.errors import PrecisionError
from tritone_build.graphs.precision import in_fp16, unfit_weights, zeros_text
from tritone_build.state import whole
from tritone_runtime.fidelity import snr_db

FLOAT, HALF, INT64 = (getattr(onnx.TensorProto, name) for name in ("FLOAT", "FLOAT16", "INT64"))


@pytest.mark.parametrize("name", GRAPHS)
def test_callers_see_fp32_and_integers_and_state_is_fp16(name: str, engine_graphs: EngineGraphs) -> None:
    for graph in engine_graphs.of(name).values():
        for value in (*graph.graph.input, *graph.graph.output):
            dtype = value.type.tensor_type.elem_type
            if "tails" in value.name or "keys" in value.name or "values" in value.name:
                assert dtype == HALF
            else:
                assert dtype == (FLOAT if value.name in ("audio", "latent") else INT64), value.name


@pytest.mark.parametrize("name", GRAPHS)
def test_weights_are_fp16_but_for_quantizers_and_what_must_be_wide(
    name: str, engine_graphs: EngineGraphs
) -> None:
    weights = engine_graphs.of(name)["vocoder"].graph.initializer
    sizes = {dtype: sum(np.prod(w.dims) for w in weights if w.data_type == dtype) for dtype in (FLOAT, HALF)}
    assert sizes[HALF] > 5 * sizes[FLOAT]


@pytest.mark.parametrize("name", GRAPHS)
def test_sine_exponential_norm_and_softmax_are_computed_in_fp32(
    name: str, engine_graphs: EngineGraphs
) -> None:
    for model in engine_graphs.of(name).values():
        typed = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
        dtypes = {value.name: value.type.tensor_type.elem_type for value in typed.value_info}
        wide = {"Sin", "Cos", "Exp", "Softmax", "LayerNormalization", "ArgMin", "Round", "Tan"}
        for node in typed.node:
            if node.op_type in wide:
                assert dtypes.get(node.input[0], FLOAT) != HALF, node.name


@pytest.mark.parametrize("name", GRAPHS)
def test_fp16_sounds_like_fp32(name: str, engine_graphs: EngineGraphs, codecs: dict[str, Codec]) -> None:
    codec, graphs = codecs[name], engine_graphs.running(name)
    g = codec.geometry
    tokens = np.random.default_rng(0).integers(0, g.codebook_size, (1, g.default_codebooks, 40))
    latent = codec.quantizer.dequantize(torch.tensor(tokens))
    exact = whole(codec.decoder, latent).numpy()
    audio, length = graphs("vocoder", latent=latent.numpy(), latent_len=np.array([[40]]))
    assert length.tolist() == [[40 * g.samples_per_frame]]
    assert 45 < snr_db(exact, audio) < 100


@pytest.mark.parametrize("name", GRAPHS)
def test_fp16_encodes_as_fp32(name: str, engine_graphs: EngineGraphs, codecs: dict[str, Codec]) -> None:
    codec = codecs[name]
    shape = (1, *codec.geometry.audio_shape(60 * codec.geometry.encode_samples_per_frame))
    audio = 0.1 * np.random.default_rng(0).standard_normal(shape)
    length = np.array([[audio.shape[-1]]])
    given = audio.astype(np.float32)
    exact = Encoder(codec)(torch.tensor(given), torch.tensor(length))[0].numpy()
    tokens, _ = engine_graphs.running(name)("encode", audio=given, audio_len=length)
    assert tokens.shape == exact.shape
    assert np.mean(tokens[:, 0] == exact[:, 0]) > 0.95


def with_weight(codec: Codec, value: float) -> Codec:
    decoder = copy.deepcopy(codec.decoder)
    decoder.get_parameter("pre_conv.weight").data[0, 0, 0] = value
    return replace(codec, decoder=decoder)


def test_weights_that_would_be_infinite_are_refused_by_name(codecs: dict[str, Codec]) -> None:
    codec = with_weight(codecs["small_nanocodec"], 7e4)
    with pytest.raises(PrecisionError, match=r"decoder\.pre_conv\.weight: 1 of 1792 values above 65504.*cpu"):
        in_fp16(codec)


def test_weights_that_would_be_zero_are_reported_by_name(codecs: dict[str, Codec]) -> None:
    assert unfit_weights(codecs["small_nanocodec"]) == []
    codec = with_weight(codecs["small_nanocodec"], -1e-8)
    assert [str(unfit) for unfit in unfit_weights(codec)] == [
        "decoder.pre_conv.weight: 1 of 1792 values below 3.0e-08"
    ]
    assert in_fp16(codec).dtype == torch.float16


def test_what_becomes_zero_is_counted_in_one_line_for_each_model_that_has_the_weight(
    codecs: dict[str, Codec],
) -> None:
    codec = with_weight(codecs["small_nanocodec"], -1e-8)
    words = "1 of 1,792 values become zero in FP16 (weights with such values: 1; largest: 1.0e-08)"
    said = {role: zeros_text(unfit_weights(codec, role)) for role in ("vocoder", "decode_stream")}
    assert said == {"vocoder": words, "decode_stream": words}
    assert {zeros_text(unfit_weights(codec, role)) for role in ("encode", "dequantize")} == {""}
