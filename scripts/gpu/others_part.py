"""Part ``others``: the step of live streams by ONNX Runtime and TensorRT, where they are installed.

Both run the graph that Triton's TensorRT backend serves: each row brings its whole state and takes away its
whole next state, in FP16. Values are ms for one step.
"""

from collections.abc import Iterator
from importlib.util import find_spec

from scripts.common.prepare import PrepareError, build_engines
from scripts.gpu.models import Models, checkpoint_of
from scripts.gpu.points import Point, Reading, SkippedError
from scripts.gpu.runtimes import MissingRuntimeError, OnnxRuntime, Runtime, TensorRt
from scripts.gpu.steps import at_work, frame_of, state_of_stream
from scripts.gpu.timing import timed
from tritone_build.repository.configs import model_name

__all__ = ["measured"]

_EXPORTERS = ("onnxscript", "onnx_ir")


def measured(point: Point, models: Models) -> Iterator[Reading]:
    """The duration of one step."""
    try:
        runtime = _runtime(point, models)
    except (MissingRuntimeError, PrepareError) as error:
        raise SkippedError(str(error)) from error
    role = models.role(point.codec, point.model, point.weights, "tensorrt")
    with at_work(models):
        data = frame_of(role, models.codec(point.codec).geometry, point.batch, models.device)
        stream = state_of_stream(role, models.device)
        state = [tensor.expand(point.batch, *tensor.shape).contiguous() for tensor in stream]
        inputs = dict(zip(role.inputs, [data, *state], strict=True))
        yield timed(lambda: runtime(inputs), models.device, models.settings.tiny)


def _runtime(point: Point, models: Models) -> Runtime:
    """The model, loaded; its graph is exported and its engine compiled at the first use."""
    runtime = OnnxRuntime if point.kind == "onnxruntime" else TensorRt
    runtime.refuse_missing(models.settings.device)
    missing = [name for name in _EXPORTERS if find_spec(name) is None]
    if missing:
        raise SkippedError(f"exporting to ONNX needs {' and '.join(missing)}, which this Python lacks")
    folder = models.repository(point.codec, "tensorrt")
    if runtime is TensorRt:
        build_engines([(point.codec, checkpoint_of(point.codec))], folder, "tensorrt")
    version = folder / model_name(point.codec, point.model) / "1"
    return runtime(version, models.settings.device)
