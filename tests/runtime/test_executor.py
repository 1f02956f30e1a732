"""The executor on ONNX Runtime: rules of a model, and missing files."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tritone_runtime.errors import BadInputError
from tritone_runtime.executors.onnx_runtime import OnnxExecutor


@pytest.fixture
def dequantize(repository: Path) -> OnnxExecutor:
    return OnnxExecutor(repository / "small_nanocodec_dequantize" / "1" / "model.onnx")


def test_a_broken_rule_is_reported_as_a_sentence(dequantize: OnnxExecutor) -> None:
    tokens = np.full((1, 4, 3), 4032)
    with pytest.raises(BadInputError) as caught:
        dequantize.run({"tokens": tokens, "tokens_len": np.array([[3]])})
    assert str(caught.value) == "tokens must be in 0..4031"


def test_outputs_come_in_the_models_order(dequantize: OnnxExecutor) -> None:
    latent, length = dequantize.run(
        {"tokens": np.zeros((2, 4, 3), np.int64), "tokens_len": np.full((2, 1), 3)}
    )
    assert list(dequantize.outputs) == ["latent", "latent_len"]
    assert latent.shape == (2, 16, 3)
    assert length.tolist() == [[3], [3]]


def test_other_failures_keep_their_own_error(dequantize: OnnxExecutor) -> None:
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="tokens"):
        dequantize.run({"tokens": np.zeros((1, 5, 3), np.int64), "tokens_len": np.array([[3]])})


def test_a_missing_file_is_reported_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="tritone-build models"):
        OnnxExecutor(tmp_path / "model.onnx")
