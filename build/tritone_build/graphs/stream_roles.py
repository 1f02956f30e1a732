"""The steps of live streams as models, for the two ways in which servers carry their state."""

import json
from dataclasses import dataclass

import torch
from torch import Tensor

from tritone_build.codecs.base import Codec
from tritone_build.graphs.role import BATCH, Axes, Role, choice_of_codebooks, example_tokens, token_axes
from tritone_build.graphs.steps import DecodeStep, EncodeStep, OwnRows, Packing, Step

__all__ = ["decode_stream", "decode_stream_engine", "encode_stream", "encode_stream_engine"]


@dataclass(frozen=True)
class _Call:
    """A step's name, its data and what it makes of them; data come in multiples of so many steps."""

    name: str
    step: Step
    data: str
    axes: Axes
    example: Tensor
    multiple: int
    made: str
    made_axes: Axes


def decode_stream(codec: Codec) -> Role:
    """For our backend, which keeps the past of all streams in memory and names rows of it."""
    return _by_slot(_decoding(codec), {})


def encode_stream(codec: Codec) -> Role:
    """The same the other way."""
    return _by_slot(_encoding(codec, token_axes(codec)), choice_of_codebooks(codec))


def decode_stream_engine(codec: Codec) -> Role:
    """For TensorRT under Triton's implicit state, which brings each row its past."""
    return _by_row(_decoding(codec))


def encode_stream_engine(codec: Codec) -> Role:
    """The same the other way; it always gives all codebooks, since an engine has no optional inputs."""
    return _by_row(_encoding(codec, ("batch", codec.geometry.num_codebooks, "frames")))


def _decoding(codec: Codec) -> _Call:
    tokens, axes = example_tokens(codec), token_axes(codec)
    step = DecodeStep(codec)
    return _Call("decode_stream", step, "tokens", axes, tokens, 1, "audio", ("batch", "samples"))


def _encoding(codec: Codec, axes: Axes) -> _Call:
    hop = codec.geometry.samples_per_frame
    audio, step = torch.zeros(BATCH, 5 * hop), EncodeStep(codec)
    return _Call("encode_stream", step, "audio", ("batch", "samples"), audio, hop, "tokens", axes)


def _by_slot(call: _Call, options: dict[str, list[list[int]]]) -> Role:
    packing = call.step.packing
    inputs: dict[str, Axes] = {call.data: call.axes, **dict.fromkeys(options, (1, 1)), "slot": ("batch",)}
    outputs: dict[str, Axes] = {call.made: call.made_axes, "valid": ("batch",)}
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
        {"state": _state_text(packing), "rule": call.step.rule, "multiple": str(call.multiple)},
    )


def _by_row(call: _Call) -> Role:
    packing = call.step.packing
    states: dict[str, Axes] = {part.name: ("batch", *part.shape) for part in packing.parts}
    return Role(
        call.name,
        OwnRows(call.step),
        (call.example, *_pasts(packing, BATCH)),
        {call.data: call.axes} | {f"past_{name}": axes for name, axes in states.items()},
        {call.made: call.made_axes} | {f"next_{name}": axes for name, axes in states.items()},
        packing=packing,
        engine=True,
    )


def _pasts(packing: Packing, rows: int) -> list[Tensor]:
    return [torch.zeros(rows, *part.shape, dtype=part.dtype) for part in packing.parts]


def _state_text(packing: Packing) -> str:
    """What a server must keep for a stream, as JSON: one row per tensor, rings with axis and places."""
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
