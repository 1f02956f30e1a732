"""Triton's Python-based backend ``tritone``: it runs models on ONNX Runtime and keeps live streams' state.

Its models have ``backend: "tritone"`` in their configuration, and a ``model.onnx``. NVIDIA's native backend
for ONNX Runtime cannot run them, since it does not supply the inputs of a step (``slot``, and ``past_*`` of
all streams). An invalid request fails alone: a stateless model answers requests one by one, and a stateful
model checks each row of a batch of steps.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import triton_python_backend_utils as pb_utils

from tritone_runtime.errors import BadInputError, FullError
from tritone_runtime.executors.device import chosen_device
from tritone_runtime.executors.interface import Executor
from tritone_runtime.executors.opening import open_executor
from tritone_runtime.huge_pages import keep_page_sizes
from tritone_runtime.limits import LONGEST_CALL_S, LONGEST_STEP_S, RequestLimits
from tritone_runtime.pcm import AUDIO_INT16, computed_outputs, full_scale_samples, outputs_of
from tritone_runtime.streams.events import EventLog
from tritone_runtime.streams.limits import stream_limits
from tritone_runtime.streams.scheduler import Step, StreamScheduler
from tritone_server.backend.metrics import MetricsExporter
from tritone_server.backend.process_guard import ProcessGuard, TritonQueue
from tritone_server.backend.shapes import survive_impossible_shapes
from tritone_server.backend.tensors import NONCE, Inputs, answer_of, failure, parameters_of

_MODEL_FAILED = "UNKNOWN"
"""Error code of a failed model. INTERNAL is the code that Triton uses when it has lost a model's process."""


class TritonPythonModel:
    """One instance of one model."""

    def initialize(self, args: dict[str, Any]) -> None:
        """Load the model; Triton reports an exception raised here as the reason of a failed load."""
        survive_impossible_shapes(lambda: pb_utils.Tensor("any", np.zeros(1)))
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        version = Path(args["model_repository"], args["model_version"])
        batching = config.get("sequence_batching")
        threads, log = int(parameters.get("intra_op_thread_count", "0")), pb_utils.Logger.log_warn
        self._executor = executor = open_executor(version, threads, chosen_device(), log)
        if executor.notice:
            log(executor.notice)
        inputs = [tensor["name"] for tensor in config["input"]]
        self._guard = _guard(args["model_name"])
        if batching is None:
            given = Inputs(inputs, RequestLimits(parameters, LONGEST_CALL_S))
            self.handler: _ModelHandler = _StatelessModel(executor, given)
        else:
            idle_s = int(batching["max_sequence_idle_microseconds"]) / 1e6
            process = _Process.of(args, config)
            limits = stream_limits(parameters, idle_s, process.shared)
            event_log = EventLog(args["model_name"], everything=bool(os.environ.get("TRITONE_LOG_STREAMS")))
            streams = StreamScheduler(executor, inputs[0], config["output"][0]["name"], limits, event_log)
            given = Inputs(inputs, RequestLimits(parameters, LONGEST_STEP_S))
            metrics = MetricsExporter(pb_utils, args["model_name"], streams, process.number)
            self.handler = _StatefulModel(streams, given, metrics, self._guard)
        keep_page_sizes()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with its outputs or with an error."""
        answers = self.handler.execute(requests)
        self._guard.end_if_given_up()
        self._guard.end_if_broken(self._executor.broken)
        return answers

    def finalize(self) -> None:
        """Stop the background threads."""
        self._guard.close()
        self.handler.close()


@dataclass(frozen=True)
class _Process:
    """This process among those of its model; ``shared`` and ``number`` are None if it is the only one."""

    number: int | None = None
    shared: Path | None = None

    @classmethod
    def of(cls, args: Mapping[str, Any], config: Mapping[str, Any]) -> "_Process":
        """Triton ends the name of an instance with its number, if it runs several."""
        if sum(group["count"] for group in config["instance_group"]) == 1:
            return cls()
        # The name has the server's process id, since another server may serve the same folder.
        shared = Path(args["model_repository"], f".slots-{os.getppid()}")
        return cls(int(args["model_instance_name"].rpartition("_")[2]), shared)


def _guard(model: str) -> ProcessGuard:
    try:
        # The interpreter is embedded in Triton's stub, so sys.argv is empty.
        arguments = Path("/proc/self/cmdline").read_text().split("\0")
        queue: TritonQueue | None = TritonQueue(arguments)
    except ValueError as error:
        pb_utils.Logger.log_warn(
            f"{model} cannot detect that Triton has given up a batch; only clients can, by the nonce: {error}"
        )
        queue = None
    return ProcessGuard(model, os.getppid(), queue)


class _ModelHandler(Protocol):
    def execute(self, requests: list[Any]) -> list[Any]: ...

    def close(self) -> None: ...


class _StatelessModel:
    """Handler of a stateless model, which answers requests one by one."""

    def __init__(self, executor: Executor, inputs: Inputs):
        self._executor, self._inputs = executor, inputs

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def close(self) -> None:
        pass

    def _answer(self, request: Any) -> Any:
        try:
            wanted = [name for name in request.requested_output_names() if name != NONCE]
            inputs = self._inputs.of(request)
            names = computed_outputs(wanted)
            computed = dict(zip(names, self._executor.run(inputs, names), strict=True)) if names else {}
            return answer_of(request, outputs_of(computed, wanted))
        except BadInputError as error:
            return failure(str(error), "INVALID_ARG")
        except Exception as error:
            return failure(f"the model failed: {error}", _MODEL_FAILED)


class _StatefulModel:
    """Handler of a stateful model; each request of a batch belongs to another stream."""

    def __init__(
        self, streams: StreamScheduler, inputs: Inputs, metrics: MetricsExporter, guard: ProcessGuard
    ):
        self._streams, self._inputs, self._metrics, self._guard = streams, inputs, metrics, guard

    def execute(self, requests: list[Any]) -> list[Any]:
        answered = set()

        def answer_at_once(row: int, answer: Any) -> None:
            # Rejected requests need not wait for the batch.
            response = self._answer(requests[row], answer)
            self._guard.end_if_given_up()
            requests[row].get_response_sender().send(response, pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            answered.add(row)

        answers = self._streams.run([self._step(request) for request in requests], answer_at_once)
        return [
            None if row in answered else self._answer(requests[row], answer)
            for row, answer in enumerate(answers)
        ]

    def close(self) -> None:
        self._metrics.close()

    def _step(self, request: Any) -> Step:
        flags = request.flags()
        start = bool(flags & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START)
        arrays, problem = {}, None
        try:
            arrays = self._inputs.of(request, begins=start)
        except BadInputError as error:
            problem = error
        return Step(
            request.correlation_id(),
            arrays,
            start,
            bool(flags & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END),
            start and parameters_of(request).get("tritone_resumed") is True,
            problem,
        )

    def _answer(self, request: Any, answer: Any) -> Any:
        if isinstance(answer, BadInputError):
            return failure(str(answer), "INVALID_ARG")
        if isinstance(answer, FullError):
            return failure(str(answer), "UNAVAILABLE")
        if isinstance(answer, Exception):
            return failure(str(answer), _MODEL_FAILED)
        wanted = [name for name in request.requested_output_names() if name != NONCE]
        outputs = outputs_of(dict.fromkeys(computed_outputs(wanted), answer), wanted)
        if AUDIO_INT16 in outputs:
            self._streams.counters.clipped += full_scale_samples(outputs[AUDIO_INT16])
        return answer_of(request, outputs)
