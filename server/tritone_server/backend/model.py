"""Triton's backend ``tritone``, which is Python-based: ONNX Runtime, and the state of live streams.

Models say ``backend: "tritone"`` and hold a ``model.onnx``. NVIDIA's native backend for ONNX Runtime cannot
run them: it does not know the inputs of a step (``slot``, and ``past_*`` of all streams).
A bad request fails alone: stateless ones are answered one by one, and steps of live streams, which run
as one batch, are told apart by row.
"""

import json
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import triton_python_backend_utils as pb_utils

from tritone_runtime.errors import BadInputError, FullError
from tritone_runtime.events import Journal
from tritone_runtime.executors.device import chosen_device
from tritone_runtime.executors.onnx_runtime import Runner
from tritone_runtime.huge_pages import settle_pages
from tritone_runtime.limits import LONGEST_CALL_S, LONGEST_STEP_S, RequestLimits
from tritone_runtime.scheduler import Limits, Step, StreamScheduler
from tritone_server.backend.metrics import Meter
from tritone_server.backend.process_guard import ProcessGuard, TritonQueue
from tritone_server.backend.shapes import survive_impossible_shapes
from tritone_server.backend.tensors import NONCE, Inputs, answer_of, failure, parameters_of

_MODEL_FAILED = "UNKNOWN"
"""Not INTERNAL, which is what Triton says where it has lost the process of a model."""


class TritonPythonModel:
    """One instance of one model."""

    def initialize(self, args: dict[str, Any]) -> None:
        """Load the model; a failure here is what the server reports for it."""
        survive_impossible_shapes(lambda: pb_utils.Tensor("any", np.zeros(1)))
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        path = Path(args["model_repository"], args["model_version"])
        path /= config.get("default_model_filename") or "model.onnx"
        batching = config.get("sequence_batching")
        device = chosen_device(say=pb_utils.Logger.log_warn)
        runner = Runner(path, int(parameters.get("intra_op_thread_count", "0")), device)
        inputs = [tensor["name"] for tensor in config["input"]]
        self._guard = _guard(args["model_name"])
        if batching is None:
            self.served: _Served = _Calls(runner, Inputs(inputs, RequestLimits(parameters, LONGEST_CALL_S)))
        else:
            idle_s = int(batching["max_sequence_idle_microseconds"]) / 1e6
            frame_s = int(parameters["samples_per_frame"]) / int(parameters["sample_rate"])
            limits = Limits(_most_streams(int(parameters["max_streams"])), idle_s, frame_s)
            journal = Journal(args["model_name"], everything=bool(os.environ.get("TRITONE_LOG_STREAMS")))
            streams = StreamScheduler(runner, inputs[0], config["output"][0]["name"], limits, journal)
            given = Inputs(inputs, RequestLimits(parameters, LONGEST_STEP_S))
            self.served = _Steps(streams, given, Meter(pb_utils, args["model_name"], streams), self._guard)
        settle_pages()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with its outputs or its error."""
        answers = self.served.execute(requests)
        self._guard.end_if_given_up()
        return answers

    def finalize(self) -> None:
        """Stop what runs beside the requests."""
        self._guard.close()
        self.served.close()


def _guard(model: str) -> ProcessGuard:
    try:
        # The interpreter is embedded in Triton's stub, so that sys.argv is empty.
        arguments = Path("/proc/self/cmdline").read_text().split("\0")
        queue: TritonQueue | None = TritonQueue(arguments)
    except ValueError as error:
        pb_utils.Logger.log_warn(f"{model} cannot see whether Triton gives it up, only callers can: {error}")
        queue = None
    return ProcessGuard(model, os.getppid(), queue)


class _Served(Protocol):
    def execute(self, requests: list[Any]) -> list[Any]: ...

    def close(self) -> None: ...


class _Calls:
    """A stateless model: requests are answered one by one."""

    def __init__(self, runner: Runner, inputs: Inputs):
        self._runner, self._inputs = runner, inputs

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def close(self) -> None:
        pass

    def _answer(self, request: Any) -> Any:
        try:
            wanted = [name for name in request.requested_output_names() if name != NONCE]
            inputs = self._inputs.of(request)
            results = self._runner.run(inputs, wanted) if wanted else []
            return answer_of(request, dict(zip(wanted, results, strict=True)))
        except BadInputError as error:
            return failure(str(error), "INVALID_ARG")
        except Exception as error:
            return failure(f"the model failed: {error}", _MODEL_FAILED)


class _Steps:
    """A stateful model: the requests of a batch belong to as many streams."""

    def __init__(self, streams: StreamScheduler, inputs: Inputs, meter: Meter, guard: ProcessGuard):
        self._streams, self._inputs, self._meter, self._guard = streams, inputs, meter, guard

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
        self._meter.close()

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
        return answer_of(request, dict.fromkeys(wanted, answer))


def _most_streams(configured: int) -> int:
    """The model's limit, or a lower one of the operator, who knows how many this machine serves in time."""
    return min(configured, int(os.environ.get("TRITONE_MAX_STREAMS") or configured))
