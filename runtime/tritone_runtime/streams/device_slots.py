"""The state of live streams on a GPU; it never leaves the device.

Small graphs that run on the device write the rows. A graph reads all rows of a state tensor and writes them,
together with the new rows, into a second tensor; then the two tensors swap places.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from tritone_runtime.executors.device import Device
from tritone_runtime.executors.onnx_runtime import OnnxExecutor
from tritone_runtime.streams.slots import FreeSlots, Slots, StateTensor

__all__ = ["DeviceSlots"]

Array = NDArray[np.generic]
_OPSET, _IR_VERSION = 18, 9


class _DeviceRows:
    """All rows of one state tensor, and one more row that takes states to be discarded."""

    def __init__(self, tensor: StateTensor, rows: int, device: Device):
        self._tensor, self._device = tensor, device
        self.rows, self._other, self._fresh = (self._zeros(count) for count in (rows, rows, 1))
        options = onnxruntime.SessionOptions()
        self._put = device.session(_put(tensor, ring=False).SerializeToString(), options)
        self._put_ring = (
            device.session(_put(tensor, ring=True).SerializeToString(), options) if tensor.places else None
        )

    def _zeros(self, rows: int) -> onnxruntime.OrtValue:
        zeros = np.zeros((rows, *self._tensor.shape), self._tensor.dtype)
        return onnxruntime.OrtValue.ortvalue_from_numpy(zeros, self._device.memory)

    def clear(self, slot: int) -> None:
        self._write(self._put, np.array([slot]), {"new": self._fresh})

    def write(self, slots: Array, outputs: Mapping[str, Any]) -> None:
        new = {"new": outputs[f"next_{self._tensor.name}"]}
        if self._put_ring is None:
            self._write(self._put, slots, new)
        else:
            self._write(self._put_ring, slots, new | {"places": outputs[str(self._tensor.places)]})

    def _write(self, put: onnxruntime.InferenceSession, slots: Array, new: Mapping[str, Any]) -> None:
        binding = put.io_binding()
        binding.bind_cpu_input("slots", slots[:, None].astype(np.int64))
        for name, value in {"rows": self.rows, **new}.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output("written", self._other)
        put.run_with_iobinding(binding)
        self.rows, self._other = self._other, self.rows


class DeviceSlots(Slots):
    """:class:`Slots` on a GPU.

    Args:
        tensors: the model's state tensors.
        count: most live streams.
        device: the device that holds the rows.
        free: as of :class:`Slots`.
    """

    def __init__(
        self, tensors: Sequence[StateTensor], count: int, device: Device, free: FreeSlots | None = None
    ):
        super().__init__([], count, free)
        self._rows = {tensor.name: _DeviceRows(tensor, count + 1, device) for tensor in tensors}
        self._on_device = {f"next_{tensor.name}" for tensor in tensors}
        self._on_device |= {tensor.places for tensor in tensors if tensor.places is not None}

    def clear(self, slot: int) -> None:
        """Fill a row with zeros, which makes its stream fresh."""
        for rows in self._rows.values():
            rows.clear(slot)

    def run(self, executor: OnnxExecutor, given: Mapping[str, Array], keep_memory: bool) -> dict[str, Any]:
        """One step of the model; the new state stays on the device."""
        pasts = {f"past_{name}": each.rows for name, each in self._rows.items()}
        return executor.run_on_device(given, pasts, self._on_device)

    def keep(self, slots: Sequence[int], outputs: Mapping[str, Any]) -> None:
        """Write the new state of a step; rows that are not ``valid`` go to the extra row."""
        kept = np.where(outputs["valid"], slots, self.count)
        for rows in self._rows.values():
            rows.write(kept, outputs)


def _put(tensor: StateTensor, ring: bool) -> ModelProto:
    """A graph: write ``new`` [B, ...] into ``rows`` [R, ...] at ``slots`` [B, 1]; in rings at ``places``."""
    dtype = helper.np_dtype_to_tensor_dtype(tensor.dtype)
    rows: list[str | int | None] = ["rows", *tensor.shape]
    row = [f"steps{axis}" for axis in range(len(tensor.shape))] if ring else tensor.shape
    inputs = [
        helper.make_tensor_value_info("rows", dtype, rows),
        helper.make_tensor_value_info("slots", TensorProto.INT64, ["batch", 1]),
        helper.make_tensor_value_info("new", dtype, ["batch", *row]),
    ]
    nodes, constants = _ring_nodes(tensor) if ring else ([], [])
    if ring:
        inputs.append(helper.make_tensor_value_info("places", TensorProto.INT64, ["batch", "steps"]))
    put = helper.make_node("ScatterND", ["rows", "slots", "replaced" if ring else "new"], ["written"])
    written = helper.make_tensor_value_info("written", dtype, rows)
    return helper.make_model(
        helper.make_graph([*nodes, put], "put", inputs, [written], constants),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )


def _ring_nodes(tensor: StateTensor) -> tuple[list[NodeProto], list[TensorProto]]:
    """Nodes for ``replaced`` [B, ...]: the rows at ``slots`` with the newest steps that a ring holds."""
    axis = (tensor.ring_axis or 0) + 1
    # A place for each number of a step: [B, steps] becomes [B, 1, ..., steps, ..., 1], then expands.
    apart = [n + 1 for n in range(len(tensor.shape)) if n + 1 != axis]
    capacity = tensor.shape[axis - 1]
    constants = {"last": [-capacity], "end": [1 << 40], "axis": [axis], "one": [1], "apart": apart}
    nodes = [
        helper.make_node("GatherND", ["rows", "slots"], ["before"]),
        helper.make_node("Slice", ["new", "last", "end", "axis"], ["steps"]),
        helper.make_node("Slice", ["places", "last", "end", "one"], ["at"]),
        helper.make_node("Unsqueeze", ["at", "apart"], ["at_apart"]),
        helper.make_node("Shape", ["steps"], ["shape"]),
        helper.make_node("Expand", ["at_apart", "shape"], ["at_each"]),
        helper.make_node("ScatterElements", ["before", "at_each", "steps"], ["replaced"], axis=axis),
    ]
    return nodes, [helper.make_tensor(n, TensorProto.INT64, [len(v)], v) for n, v in constants.items()]
