"""Streaming equals offline: the same network, whatever way a signal is cut."""

from collections.abc import Sequence
from math import lcm
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from scripts.common.rounding import measured_limit
from scripts.common.small_codecs import CAUSAL
from scripts.peers import Reference
from tritone_build.codecs.base import Codec
from tritone_build.graphs.steps import DecodeStep, Packing, packing_of
from tritone_build.layers.conv import Causal, Conv1d, UpsampleConv1d
from tritone_build.layers.transformer import Transformer, TransformerConfig
from tritone_build.state import TURN, State, ring_capacity, whole
from tritone_runtime.executors.onnx_runtime import OnnxExecutor
from tritone_runtime.executors.state import state_tensors
from tritone_runtime.fidelity import snr_db
from tritone_runtime.streams.slots import Slots
from tritone_server.stream_check import compared


def in_chunks(network: nn.Module, x: Tensor, sizes: Sequence[int]) -> Tensor:
    """A network over a signal cut along its last axis, states handed on."""
    past: dict[str, Tensor] | None = None
    pieces = []
    for chunk in torch.split(x, list(sizes), dim=-1):
        state = State(network, past)
        pieces.append(network(chunk, state))
        past = state.next
    return torch.cat(pieces, -1)


@pytest.mark.parametrize(
    "layer",
    [
        Conv1d(3, 4, 7, Causal.of(7)),
        Conv1d(3, 4, 3, Causal.of(3, 5), dilation=5),
        Conv1d(3, 4, 1, Causal.of(1)),
        Conv1d(3, 4, 3, Causal.of(3, 5), dilation=5, few_steps=True),
        UpsampleConv1d(4, 2, 3),
    ],
    ids=["wide", "dilated", "pointwise", "as a product", "upsampling"],
)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8))
@settings(max_examples=20)
def test_a_layer_gives_the_same_for_any_cutting(layer: nn.Module, sizes: list[int]) -> None:
    torch.manual_seed(0)
    layer = layer.requires_grad_(False).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, layer.get_parameter("weight").shape[1 if isinstance(layer, Conv1d) else 0], sum(sizes))
    torch.testing.assert_close(
        in_chunks(layer, x.double(), sizes), whole(layer, x.double()), rtol=0, atol=1e-12
    )


def test_a_past_of_zeros_is_a_fresh_stream() -> None:
    layer = Conv1d(1, 1, 5, Causal.of(5)).requires_grad_(False)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x, fresh = torch.randn(2, 1, 9), State(layer)
    expected = layer(x, fresh)
    zeros = {entry.name: torch.zeros(2, *entry.shape, dtype=entry.dtype) for entry in fresh.entries}
    assert torch.equal(layer(x, State(layer, zeros)), expected)


def test_a_layer_may_ask_once_per_call() -> None:
    layer = Conv1d(1, 1, 5, Causal.of(5)).requires_grad_(False)
    state = State(layer)
    layer(torch.zeros(1, 1, 4), state)
    with pytest.raises(ValueError, match="may ask once per call"):
        layer(torch.zeros(1, 1, 4), state)


def test_a_count_turns_over_without_ever_being_small_again() -> None:
    counter = nn.Identity()
    like, count = torch.zeros(1, 1), torch.full((1, 1), TURN + (1 << 24) - 3)
    state = State(counter, {".count": count})
    assert torch.equal(state.count(counter, 2, like).before, count)
    assert state.next[".count"].item() == TURN + (1 << 24) - 1
    state = State(counter, state.next)
    state.count(counter, 5, like)
    assert state.next[".count"].item() == (1 << 24) + 4


@pytest.mark.parametrize(
    ("context", "capacity"),
    [(1, 8), (9, 8), (10, 16), (72, 72), (125, 128), (250, 256), (400, 400), (500, 504), (1600, 1600)],
)
def test_a_ring_holds_the_past_of_a_window_and_at_most_seven_steps_more(context: int, capacity: int) -> None:
    assert ring_capacity(context) == capacity


@pytest.mark.parametrize("context", [1, 10, 20, 40])
@pytest.mark.parametrize("most", [1, 5, 70], ids=["single steps", "pieces", "more than the ring holds"])
@pytest.mark.parametrize("turning", ["phases", "count"])
def test_attention_goes_on_where_phases_or_the_count_begin_again(
    context: int, most: int, turning: str
) -> None:
    """The first steps see the empty ring of a stream whose count was set; the steps beyond see none of it."""
    torch.manual_seed(0)
    network = Transformer(TransformerConfig(32, 2, 2, 48, context)).requires_grad_(False)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    network = network.double()
    x, period = torch.randn(1, 6 * context + 150, 32).double(), lcm(TURN, ring_capacity(context))
    start = (TURN if turning == "phases" else period + (1 << 24)) - 3 * context - 20
    step = packed_step(network, x[:, :1])
    past = [torch.zeros(1, *part.shape, dtype=part.dtype) for part in step.parts]
    past = [tensor + start if tensor.dtype == torch.int64 else tensor.double() for tensor in past]
    pieces = []
    for piece in torch.split(x, most, 1):
        state = step.state(network, past, None)
        pieces.append(network(piece, state))
        past = list(step.next_by_row(state, past))
    (count,) = (tensor.item() for tensor in past if tensor.dtype == torch.int64)
    assert count == (start + x.shape[1] if turning == "phases" else start + x.shape[1] - period)
    seen = slice(2 * context, None)
    assert snr_db(whole(network, x)[:, seen].numpy(), torch.cat(pieces, 1)[:, seen].numpy()) > 100


def packed_step(network: nn.Module, x: Tensor) -> Packing:
    state = State(network)
    network(x, state)
    return packing_of(state.entries)


def test_state_names_sort_alike_going_in_and_out(repository: Path) -> None:
    """Triton pairs the states of native backends by their order of names."""
    for path in repository.glob("*_stream/1/model.onnx"):
        session = onnxruntime.InferenceSession(path)
        past = sorted(i.name for i in session.get_inputs() if i.name.startswith("past_"))
        nexts = sorted(o.name for o in session.get_outputs() if o.name.startswith("next_"))
        assert [name.removeprefix("past_") for name in past] == [name.removeprefix("next_") for name in nexts]


@pytest.mark.parametrize("name", CAUSAL)
def test_every_tail_of_a_decoder_lies_in_one_tensor(name: str, codecs: dict[str, Codec]) -> None:
    step = DecodeStep(codecs[name])
    tails = [part for part in step.packing.parts if part.name == "tails"]
    kernels = [each for each in step.network.parameters() if each.ndim == 3]
    assert len(tails) == bool(kernels), "a tail is the past of a convolution"
    assert step.packing.state_bytes >= max(1, sum(4 * part.shape[0] for part in tails))
    assert packing_of([]).state_bytes == 0


class Stepper:
    """The exported step of a codec, with the memory of three streams."""

    def __init__(self, repository: Path, codec: Codec):
        path = repository / f"{codec.name}_decode_stream" / "1" / "model.onnx"
        self.runner = OnnxExecutor(path)
        self.slots = Slots(state_tensors(self.runner.metadata), 3)

    def __call__(self, tokens: Any, slots: Sequence[int]) -> Any:
        given = {"tokens": tokens, "slot": np.array(slots), **self.slots.pasts}
        found = dict(zip(self.runner.outputs, self.runner.run(given), strict=True))
        for row, slot in enumerate(slots):
            self.slots.write(slot, row, found)
        return found


@pytest.mark.parametrize("name", CAUSAL)
def test_steps_of_streams_of_different_age_equal_each_stream_alone(
    name: str, repository: Path, codecs: dict[str, Codec], references: dict[str, Reference]
) -> None:
    codec = codecs[name]
    g = codec.geometry
    tokens = np.random.default_rng(0).integers(0, g.codebook_size, (2, g.default_codebooks, 60))
    expected = whole(codec.decoder, codec.quantizer.dequantize(torch.tensor(tokens))).numpy()
    step = Stepper(repository, codec)
    first = [step(tokens[:1, :, :7], [2])["audio"][0]]
    second = []
    for at in range(0, 48, 3):
        rows = np.stack([tokens[0, :, at + 7 : at + 10], tokens[1, :, at : at + 3]])
        audio = step(rows, [2, 0])["audio"]
        first.append(audio[0])
        second.append(audio[1])
    hop = g.samples_per_frame
    for row, frames, pieces in ((0, 55, first), (1, 48, second)):
        limit = measured_limit(references[name], codec, tokens[row, :, :frames])
        heard = np.concatenate(pieces, axis=-1)
        found = compared(expected[row, ..., : frames * hop], heard, hop, limit)
        assert found.ok, found


@pytest.mark.parametrize("name", CAUSAL)
def test_a_token_out_of_range_makes_its_own_row_nan_and_no_other(
    name: str, repository: Path, codecs: dict[str, Codec]
) -> None:
    g = codecs[name].geometry
    tokens = np.zeros((2, g.default_codebooks, 3), np.int64)
    good = Stepper(repository, codecs[name])(tokens, [0, 1])
    for bad in (-1, g.codebook_size, 2**40):
        tokens[0, -1, 1] = bad
        found = Stepper(repository, codecs[name])(tokens, [0, 1])
        assert found["valid"].tolist() == [False, True]
        assert np.isnan(found["audio"][0]).all()
        assert np.array_equal(found["audio"][1], good["audio"][1])


AGES = [TURN - 40, TURN + (1 << 24) - 40, 3 * TURN - 40, 3 * TURN + (1 << 24) - 40]
"""Counts before phases and counts begin again, for rings whose length is or is no power of two (16, 24)."""


@pytest.mark.parametrize("name", ["small_mimi", "small_moss", "small_moss_nano"])
@pytest.mark.parametrize("age", AGES)
def test_an_exported_step_of_any_age_gives_what_a_young_one_gives(
    name: str, age: int, repository: Path, codecs: dict[str, Codec], references: dict[str, Reference]
) -> None:
    g = codecs[name].geometry
    frames = g.lookaround_frames + 60
    tokens = np.random.default_rng(0).integers(0, g.codebook_size, (1, g.default_codebooks, frames))
    heard = []
    for start in (1000, age):
        step = Stepper(repository, codecs[name])
        step.slots.pasts["past_counts"][:] = start
        pieces = [step(tokens[:, :, at : at + 1], [1])["audio"][0] for at in range(frames)]
        heard.append(np.concatenate(pieces, axis=-1)[..., g.lookaround_frames * g.samples_per_frame :])
    limit = measured_limit(references[name], codecs[name], tokens[0])
    assert snr_db(*heard) >= limit.whole_db
