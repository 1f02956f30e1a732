"""The steps of live streams as models, for the two ways in which servers carry state."""

import json
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tritone_build.codecs.base import Codec
from tritone_build.graphs.role import (
    BATCH,
    Axes,
    Role,
    audio_axes,
    choice_of_codebooks,
    example_tokens,
    token_axes,
)
from tritone_build.graphs.steps import DecodeStep, EncodeStep, ImplicitStateStep, Packing, Step

__all__ = [
    "MOST_ROWS",
    "decode_stream",
    "decode_stream_engine",
    "decode_stream_program",
    "encode_stream",
    "encode_stream_engine",
    "encode_stream_program",
]


MOST_ROWS = 256
"""Streams in one step on a GPU."""


@dataclass(frozen=True)
class _StreamCall:
    """The name, input and output of a step; its data come in multiples of ``multiple`` time steps."""

    name: str
    step: Step
    data: str
    axes: Axes
    example: Tensor
    multiple: int
    output: str
    output_axes: Axes


def decode_stream(codec: Codec) -> Role:
    """The step of decoding for our runtime, which keeps the state of all streams and passes row numbers."""
    return _by_slot(_decoding(codec), {})


def encode_stream(codec: Codec) -> Role:
    """The step of encoding for our runtime."""
    return _by_slot(_encoding(codec, token_axes(codec)), choice_of_codebooks(codec))


def decode_stream_program(codec: Codec) -> Role:
    """The step of decoding for PyTorch, where our runtime records it as CUDA graphs of single frames."""
    return _recorded(decode_stream(codec))


def encode_stream_program(codec: Codec) -> Role:
    """The step of encoding for PyTorch; it returns all codebooks: choosing some makes a GPU wait."""
    return _recorded(_by_slot(_encoding(codec, _all_codebooks(codec), choice=False), {}))


def _recorded(role: Role) -> Role:
    """The role, with the shape of one stream's frame and the most streams in a batch."""
    shape, multiple = list(role.example[0].shape[1:]), int(role.metadata["multiple"])
    frame = json.dumps([*shape[:-1], multiple])
    return replace(role, metadata={**role.metadata, "frame": frame, "most_rows": str(MOST_ROWS)})


def decode_stream_engine(codec: Codec) -> Role:
    """The step of decoding for TensorRT, where Triton's implicit state brings each row its state."""
    return _by_row(_decoding(codec))


def encode_stream_engine(codec: Codec) -> Role:
    """The step of encoding for TensorRT; it returns all codebooks, as an engine has no optional inputs."""
    return _by_row(_encoding(codec, _all_codebooks(codec)))


def _all_codebooks(codec: Codec) -> Axes:
    return "batch", codec.geometry.num_codebooks, "frames"


def _decoding(codec: Codec) -> _StreamCall:
    tokens, axes = example_tokens(codec), token_axes(codec)
    step = DecodeStep(codec)
    return _StreamCall("decode_stream", step, "tokens", axes, tokens, 1, "audio", audio_axes(codec))


def _encoding(codec: Codec, axes: Axes, choice: bool = True) -> _StreamCall:
    hop, step = codec.geometry.encode_samples_per_frame, EncodeStep(codec, choice)
    audio = torch.zeros(BATCH, *codec.geometry.audio_shape(5 * hop))
    return _StreamCall("encode_stream", step, "audio", audio_axes(codec), audio, hop, "tokens", axes)


def _by_slot(call: _StreamCall, options: dict[str, list[list[int]]]) -> Role:
    packing = call.step.packing
    inputs: dict[str, Axes] = {call.data: call.axes, **dict.fromkeys(options, (1, 1)), "slot": ("batch",)}
    outputs: dict[str, Axes] = {call.output: call.output_axes, "valid": ("batch",)}
    for part in packing.parts:
        inputs[f"past_{part.name}"] = ("slots", *part.shape)
        axis = None if part.ring is None else part.ring.axis
        steps = [f"{part.places}_steps" if n == axis else size for n, size in enumerate(part.shape)]
        outputs[f"next_{part.name}"] = ("batch", *steps)
    outputs |= {places: ("batch", f"{places}_steps") for places in packing.places}
    example = (call.example, *map(torch.tensor, options.values()), torch.arange(BATCH))
    return Role(
        call.name,
        call.step,
        (*example, *_pasts(packing, BATCH + 1)),
        inputs,
        outputs,
        options,
        packing,
        {
            "state": _state_text(packing),
            "rule": call.step.rule,
            "multiple": str(call.multiple),
            "flop_per_weight_byte": f"{call.step.flop_per_weight_byte:.1f}",
        },
    )


def _by_row(call: _StreamCall) -> Role:
    packing = call.step.packing
    states: dict[str, Axes] = {part.name: ("batch", *part.shape) for part in packing.parts}
    return Role(
        call.name,
        ImplicitStateStep(call.step),
        (call.example, *_pasts(packing, BATCH)),
        {call.data: call.axes} | {f"past_{name}": axes for name, axes in states.items()},
        {call.output: call.output_axes} | {f"next_{name}": axes for name, axes in states.items()},
        packing=packing,
        engine=True,
    )


def _pasts(packing: Packing, rows: int) -> list[Tensor]:
    return [torch.zeros(rows, *part.shape, dtype=part.dtype) for part in packing.parts]


def _state_text(packing: Packing) -> str:
    """Describe the state tensors of a stream as JSON; rings have an axis and the name of their places."""
    return json.dumps(
        [
            {
                "name": part.name,
                "shape": part.shape,
                "dtype": str(part.dtype).removeprefix("torch."),
                "ring_axis": None if part.ring is None else part.ring.axis,
                "places": part.places,
            }
            for part in packing.parts
        ]
    )
