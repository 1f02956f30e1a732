"""Where the time of a live step goes: by operator of ONNX Runtime, by matrix product, and around them."""

import json
import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from scripts.bench.sessions import Array, StreamSession
from scripts.bench.steps import Sound
from scripts.bench.timing import interleaved_ms
from scripts.common.report import Row

__all__ = ["Node", "Profile", "operator_rows", "profile_of", "profile_rows"]

_STREAMS: Mapping[str, int] = {"nanocodec": 1, "mimi": 8, "moss_shallow": 1}
"""Codecs that are profiled, and how many streams a step has: the slowest codecs with one stream, and Mimi
with eight, as on a server."""
_WARM, _STEPS = 10, 100
_LEAST_SHARE, _SHOWN_PRODUCTS, _SMALL_US = 0.01, 8, 10
_MOVES_NO_DATA = {"Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity", "Shape"}
_READS_PART_OF_INPUT = {"Gather", "Slice"}


@dataclass(frozen=True)
class Node:
    """One operator of the graph, as measured in one step.

    Args:
        operator: its ONNX type.
        product: for matrix products and convolutions, the type and the shapes that it multiplies; else empty.
        ms: time that it takes.
        gflop: multiplications and additions, in 10^9.
        gbytes: bytes read and written, in 10^9, weights included.
    """

    operator: str
    product: str
    ms: float
    gflop: float
    gbytes: float


@dataclass(frozen=True)
class Profile:
    """The fastest of the profiled steps: the one that other processes disturbed least.

    Args:
        whole_ms: the whole step, the profiler's own work included.
        run_ms: the part of it that ONNX Runtime took.
        plain_ms: the fastest step without a profiler.
        nodes: the operators in the step.
    """

    whole_ms: float
    run_ms: float
    plain_ms: float
    nodes: Sequence[Node]

    @property
    def between_ms(self) -> float:
        """Time between operators, in which the profiler writes its records."""
        return self.run_ms - sum(node.ms for node in self.nodes)

    @property
    def state_ms(self) -> float:
        """Time outside of ONNX Runtime, in which our code handles the state of the streams."""
        return self.whole_ms - self.run_ms


def operator_rows(codec: str, threads: int, sound: Sound) -> list[Row]:
    """Profile of a decode step; no rows for codecs that are not profiled."""
    streams = _STREAMS.get(codec)
    if streams is None:
        return []
    profile = profile_of(codec, "decode_stream", next(sound.frames("decode", streams)), threads)
    return profile_rows(codec, profile, f"a decode step, streams: {streams}")


def profile_of(codec: str, role: str, data: Array, threads: int, repository: Path | None = None) -> Profile:
    """Profile steps with the frames ``data``, one row per stream, in turn with steps without a profiler."""
    with tempfile.TemporaryDirectory() as scratch:
        plain = StreamSession(codec, role, threads, repository)
        traced = StreamSession(codec, role, threads, repository, Path(scratch, "profile"))
        for _ in range(_WARM):
            plain.step(data)
            traced.step(data)
        alone, profiled = interleaved_ms([partial(each.step, data) for each in (plain, traced)], _STEPS)
        events = json.loads(traced.runner.profiled().read_text())
    fastest = min(range(_STEPS), key=lambda step: profiled[step])
    run_ms, nodes = _nodes(events, fastest - _STEPS)
    return Profile(profiled[fastest], run_ms, min(alone), nodes)


def profile_rows(codec: str, profile: Profile, how: str) -> list[Row]:
    """Rows for the step, its operators and its matrix products by shape, each sorted by time."""
    small = [node.ms for node in profile.nodes if 1000 * node.ms < _SMALL_US]
    summary = f"{how}; {profile.plain_ms:.1f} ms without the profiler; {len(profile.nodes)} operators, "
    summary += f"{len(small)} of them under {_SMALL_US} us, {sum(small):.1f} ms together"
    parts = _grouped(profile.nodes, lambda node: node.operator)
    large = {key: nodes for key, nodes in parts.items() if _ms(nodes) >= _LEAST_SHARE * profile.whole_ms}
    rest = [node for key, nodes in parts.items() if key not in large for node in nodes]
    products = _grouped([node for node in profile.nodes if node.product], lambda node: node.product)
    return [
        _row(codec, "step_profile", profile.whole_ms, summary),
        *(_row(codec, f"operator: {key}", _ms(nodes), _formatted(nodes)) for key, nodes in large.items()),
        _row(codec, "operator: others", _ms(rest), f"{len(rest)} in a step"),
        _row(codec, "operator: between operators", profile.between_ms, "includes the profiler's own work"),
        _row(codec, "operator: outside of ONNX Runtime", profile.state_ms, "our handling of stream state"),
        *(
            _row(codec, f"product: {key}", _ms(nodes), _formatted(nodes))
            for key, nodes in list(products.items())[:_SHOWN_PRODUCTS]
        ),
    ]


def _row(codec: str, check: str, ms: float, how: str) -> Row:
    return Row(codec, check, ms, "ms", "none", True, how)


def _grouped(nodes: Sequence[Node], key: Callable[[Node], str]) -> dict[str, list[Node]]:
    found: defaultdict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        found[key(node)].append(node)
    return dict(sorted(found.items(), key=lambda item: -_ms(item[1])))


def _ms(nodes: Sequence[Node]) -> float:
    return sum(node.ms for node in nodes)


def _formatted(nodes: Sequence[Node]) -> str:
    """How many operators there are, and how fast they compute and move data."""
    seconds = max(_ms(nodes) / 1000, 1e-9)
    gflop, gbytes = (sum(getattr(node, name) for node in nodes) for name in ("gflop", "gbytes"))
    parts = [f"{len(nodes)} in a step"]
    parts += [f"{gflop / seconds:.0f} GFLOP/s"] if gflop else []
    parts += [f"{gbytes / seconds:.0f} GB/s"] if gbytes else []
    return ", ".join(parts)


def _nodes(events: Sequence[Mapping[str, Any]], step: int) -> tuple[float, list[Node]]:
    """Milliseconds of one run in ONNX Runtime, and its operators; ``step`` -1 is the last run."""
    run = [event for event in events if event["name"] == "model_run"][step]
    start, end = run["ts"], run["ts"] + run["dur"]
    nodes = [
        _node(event["args"], event["dur"] / 1000)
        for event in events
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time") and start <= event["ts"] < end
    ]
    return run["dur"] / 1000, nodes


def _node(event: Mapping[str, Any], ms: float) -> Node:
    inputs, outputs = (_shapes(event[f"{side}_type_shape"]) for side in ("input", "output"))
    operator, read, written = event["op_name"], _bytes(event, "activation"), _bytes(event, "output")
    if operator in _MOVES_NO_DATA:
        return Node(operator, "", ms, 0.0, 0.0)
    factors = _factors(operator, inputs, outputs)
    if factors is None:
        moved = (
            2 * written if operator in _READS_PART_OF_INPUT else read + _bytes(event, "parameter") + written
        )
        return Node(operator, "", ms, 0.0, moved / 1e9)
    left, right = factors
    # ONNX Runtime does not list weights that it has prepacked among the inputs.
    moved = read + 4 * math.prod(right) + written
    gflop = _flop(operator, left, right, outputs[0]) / 1e9
    return Node(operator, f"{operator} {left} by {right}", ms, gflop, moved / 1e9)


def _bytes(event: Mapping[str, Any], what: str) -> int:
    return int(event[f"{what}_size"])


def _shapes(listed: Sequence[Mapping[str, list[int]]]) -> list[list[int]]:
    return [shape for each in listed for shape in each.values()]


def _factors(
    operator: str, inputs: Sequence[list[int]], outputs: Sequence[list[int]]
) -> tuple[list[int], list[int]] | None:
    """The two shapes that an operator multiplies; None if it is not a matrix product or convolution."""
    if "Conv" in operator:
        return inputs[0], inputs[1]
    if "MatMul" in operator or "Gemm" in operator:
        given = inputs[1] if len(inputs) > 1 else []
        return inputs[0], given if len(given) > 1 else [inputs[0][-1], outputs[0][-1]]
    return None


def _flop(operator: str, left: list[int], right: list[int], output: list[int]) -> int:
    if "Conv" in operator:
        return 2 * math.prod(left if "Transpose" in operator else output) * math.prod(right[1:])
    return 2 * math.prod(output) * left[-1]
