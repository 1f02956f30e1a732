"""Memory of live streams on a GPU: it never leaves the device.

Rows are written by small graphs that run there too. Each reads all rows of a state tensor and writes them,
with the new ones, into a second tensor; the two change places.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from tritone_runtime.executors.device import Device
from tritone_runtime.executors.onnx_runtime import OnnxExecutor
from tritone_runtime.slots import Slots, StateTensor

__all__ = ["DeviceSlots"]

Array = NDArray[np.generic]
_OPSET, _IR_VERSION = 18, 9


class _DeviceRows:
    """All rows of one state tensor, and one more for what is not to be kept."""

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
    """The same as :class:`Slots`, on a device.

    Args:
        tensors: of the model's state.
        count: streams that fit.
        device: whose memory it is.
    """

    def __init__(self, tensors: Sequence[StateTensor], count: int, device: Device):
        super().__init__([], count)
        self._rows = {tensor.name: _DeviceRows(tensor, count + 1, device) for tensor in tensors}
        self._on_device = {f"next_{tensor.name}" for tensor in tensors}
        self._on_device |= {tensor.places for tensor in tensors if tensor.places is not None}

    def clear(self, slot: int) -> None:
        """Make a stream fresh."""
        for rows in self._rows.values():
            rows.clear(slot)

    def run(self, executor: OnnxExecutor, given: Mapping[str, Array], keep_memory: bool) -> dict[str, Any]:
        """One step; what it leaves of the state stays on the device."""
        pasts = {f"past_{name}": each.rows for name, each in self._rows.items()}
        return executor.run_on_device(given, pasts, self._on_device)

    def keep(self, slots: Sequence[int], outputs: Mapping[str, Any]) -> None:
        """What a step left; of rows that are not ``valid``, in the row that nobody reads."""
        kept = np.where(outputs["valid"], slots, self.count)
        for rows in self._rows.values():
            rows.write(kept, outputs)


def _put(tensor: StateTensor, ring: bool) -> ModelProto:
    """``rows`` [R, ...] with ``new`` ones [B, ...] at ``slots`` [B, 1]; of a ring new steps at ``places``."""
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
    """``replaced`` [B, ...]: rows at ``slots`` with the last steps of ``new``, as many as a ring holds."""
    axis = (tensor.ring_axis or 0) + 1
    # A place for every number of a step: [B, steps] to [B, 1, ..., steps, ..., 1], spread over the steps.
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
