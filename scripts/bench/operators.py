"""Where the time of a live step goes: by operator of ONNX Runtime, by product, and outside of both."""

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
"""In a step of each codec that is profiled: where a frame takes longest, and Mimi as a server runs it."""
_WARM, _STEPS = 10, 100
_LEAST_SHARE, _PRODUCTS, _SMALL_US = 0.01, 8, 10
_NO_WORK = {"Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity", "Shape"}
_PART_READ = {"Gather", "Slice"}


@dataclass(frozen=True)
class Node:
    """One operator of the graph, as a step runs it.

    Args:
        operator: its kind.
        product: the shapes that it multiplies; empty if it is no product.
        ms: that it takes.
        gflop: products and sums, in 10^9.
        gbytes: read and written, weights included.
    """

    operator: str
    product: str
    ms: float
    gflop: float
    gbytes: float


@dataclass(frozen=True)
class Profile:
    """The quickest of some steps, which others on the machine have disturbed least.

    Args:
        whole_ms: with the profile's own work.
        run_ms: of it in ONNX Runtime.
        plain_ms: the quickest step without a profile.
        nodes: the operators in the step.
    """

    whole_ms: float
    run_ms: float
    plain_ms: float
    nodes: Sequence[Node]

    @property
    def between_ms(self) -> float:
        """From one operator to the next, which the profile notes down."""
        return self.run_ms - sum(node.ms for node in self.nodes)

    @property
    def state_ms(self) -> float:
        """Outside of ONNX Runtime: our work with the state of the streams."""
        return self.whole_ms - self.run_ms


def operator_rows(codec: str, threads: int, sound: Sound) -> list[Row]:
    """Of a decode step; none of codecs that are not among the slowest."""
    streams = _STREAMS.get(codec)
    if streams is None:
        return []
    profile = profile_of(codec, "decode_stream", next(sound.frames("decode", streams)), threads)
    return profile_rows(codec, profile, f"a decode step, streams: {streams}")


def profile_of(codec: str, role: str, data: Array, threads: int, repository: Path | None = None) -> Profile:
    """Steps of these frames, one row per stream, in turns with and without a profile."""
    with tempfile.TemporaryDirectory() as scratch:
        plain = StreamSession(codec, role, threads, repository)
        live = StreamSession(codec, role, threads, repository, Path(scratch, "profile"))
        for _ in range(_WARM):
            plain.step(data)
            live.step(data)
        alone, profiled = interleaved_ms([partial(each.step, data) for each in (plain, live)], _STEPS)
        events = json.loads(live.runner.profiled().read_text())
    quickest = min(range(_STEPS), key=lambda step: profiled[step])
    run_ms, nodes = _nodes(events, quickest - _STEPS)
    return Profile(profiled[quickest], run_ms, min(alone), nodes)


def profile_rows(codec: str, profile: Profile, how: str) -> list[Row]:
    """The step, its operators, and its products by shape; the longest first."""
    small = [node.ms for node in profile.nodes if 1000 * node.ms < _SMALL_US]
    told = f"{how}; {profile.plain_ms:.1f} ms without the profile; {len(profile.nodes)} operators, "
    told += f"{len(small)} of them under {_SMALL_US} us, {sum(small):.1f} ms together"
    parts = _grouped(profile.nodes, lambda node: node.operator)
    large = {key: nodes for key, nodes in parts.items() if _ms(nodes) >= _LEAST_SHARE * profile.whole_ms}
    rest = [node for key, nodes in parts.items() if key not in large for node in nodes]
    products = _grouped([node for node in profile.nodes if node.product], lambda node: node.product)
    return [
        _row(codec, "step_profile", profile.whole_ms, told),
        *(_row(codec, f"operator: {key}", _ms(nodes), _told(nodes)) for key, nodes in large.items()),
        _row(codec, "operator: others", _ms(rest), f"{len(rest)} in a step"),
        _row(codec, "operator: between operators", profile.between_ms, "the profile's own work is there"),
        _row(codec, "operator: outside of ONNX Runtime", profile.state_ms, "the state of the streams"),
        *(
            _row(codec, f"product: {key}", _ms(nodes), _told(nodes))
            for key, nodes in list(products.items())[:_PRODUCTS]
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


def _told(nodes: Sequence[Node]) -> str:
    """How many there are, and how fast they compute and read."""
    seconds = max(_ms(nodes) / 1000, 1e-9)
    gflop, gbytes = (sum(getattr(node, name) for node in nodes) for name in ("gflop", "gbytes"))
    told = [f"{len(nodes)} in a step"]
    told += [f"{gflop / seconds:.0f} GFLOP/s"] if gflop else []
    told += [f"{gbytes / seconds:.0f} GB/s"] if gbytes else []
    return ", ".join(told)


def _nodes(events: Sequence[Mapping[str, Any]], step: int) -> tuple[float, list[Node]]:
    """Milliseconds of such a run, counted from the last one, and the operators in it."""
    run = [event for event in events if event["name"] == "model_run"][step]
    begins, ends = run["ts"], run["ts"] + run["dur"]
    nodes = [
        _node(event["args"], event["dur"] / 1000)
        for event in events
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time") and begins <= event["ts"] < ends
    ]
    return run["dur"] / 1000, nodes


def _node(event: Mapping[str, Any], ms: float) -> Node:
    inputs, outputs = (_shapes(event[f"{side}_type_shape"]) for side in ("input", "output"))
    operator, read, written = event["op_name"], _bytes(event, "activation"), _bytes(event, "output")
    if operator in _NO_WORK:
        return Node(operator, "", ms, 0.0, 0.0)
    factors = _factors(operator, inputs, outputs)
    if factors is None:
        moved = 2 * written if operator in _PART_READ else read + _bytes(event, "parameter") + written
        return Node(operator, "", ms, 0.0, moved / 1e9)
    left, right = factors
    # Weights that the session has packed are not among the inputs.
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
    """The shapes that an operator multiplies; None if it is no product."""
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
