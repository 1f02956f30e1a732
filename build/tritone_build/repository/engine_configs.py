"""Configs of the models that NVIDIA's Triton container serves, with TensorRT engines."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from tritonclient.grpc import model_config_pb2 as pb

from tritone_build.codecs.base import Codec
from tritone_build.engines.capacity import USUAL, Capacity
from tritone_build.engines.profiles import MAX_STEP_FRAMES, Profile, Shapes, profiles_of, shapes_of
from tritone_build.graphs.role import Role, choice_of_codebooks
from tritone_build.repository.configs import (
    IDLE_LIMIT_US,
    NATIVE_BACKEND,
    add_parameters,
    add_tensors,
    decode_config,
    model_config,
    model_name,
    parameters,
    stream_parameters,
)
from tritone_runtime.manifests import ENGINE_FILE

__all__ = ["engine_configs"]

_CONTEXTS = {"execution_context_allocation_strategy": "ON_PROFILE_CHANGE"}
"""Working memory for the shapes in use; by default each profile keeps that of its largest shapes."""
_QUEUE_LIMIT, _QUEUE_LIMIT_US = 256, 10_000_000
_STATE_DTYPES = {torch.float16: pb.TYPE_FP16, torch.float32: pb.TYPE_FP32, torch.int64: pb.TYPE_INT64}


def engine_configs(
    codec: Codec, parts: Sequence[Role], capacity: Capacity = USUAL
) -> dict[str, pb.ModelConfig]:
    """Return the configs of all models of a codec by role, the ensemble last.

    They are the same for any weights: only the engines' manifests hold the hash of the checkpoint.

    Raises:
        CapacityError: the GPU has too little memory for the live streams.
    """
    codec = replace(codec, checkpoint_sha256="")
    streams = capacity.streams(codec.name, parts)
    configs = {role.name: _config(codec, role, capacity, streams) for role in parts}
    decode = decode_config(codec, parts[0], parts[1], configs["vocoder"].max_batch_size)
    return configs | {"decode": decode}


def _config(codec: Codec, role: Role, capacity: Capacity, streams: int) -> pb.ModelConfig:
    """Return a config; without an engine, of the container's ONNX Runtime backend on the CPU."""
    if not role.engine:
        return model_config(codec, role, NATIVE_BACKEND)
    profiles = profiles_of(role, codec.geometry, capacity)
    config = pb.ModelConfig(
        name=model_name(codec.name, role.name),
        backend="tensorrt",
        default_model_filename=ENGINE_FILE,
        max_batch_size=profiles[0].batch.most,
        instance_group=[
            pb.ModelInstanceGroup(
                kind=pb.ModelInstanceGroup.KIND_GPU,
                count=1,
                profile=[str(number) for number in range(len(profiles))],
            )
        ],
    )
    add_tensors(config, role.inputs, role.outputs)
    add_parameters(config, parameters(codec, role.name) | _CONTEXTS)
    if role.name.startswith("encode") and choice_of_codebooks(codec):
        add_parameters(config, {"encoded_codebooks": str(codec.geometry.num_codebooks)})
    if role.packing is None:
        _add_batching(config)
    else:
        _add_sequences(config, codec, role, streams)
        _add_graphs(config, shapes_of(role, codec.geometry, profiles[0]), profiles[0])
    return config


def _add_batching(config: pb.ModelConfig) -> None:
    """Batch the waiting requests without delay, and refuse requests that would wait for too long."""
    policy = config.dynamic_batching.default_queue_policy
    policy.timeout_action = pb.ModelQueuePolicy.REJECT
    policy.default_timeout_microseconds = _QUEUE_LIMIT_US
    policy.allow_timeout_override = True
    policy.max_queue_size = _QUEUE_LIMIT


def _add_sequences(config: pb.ModelConfig, codec: Codec, role: Role, streams: int) -> None:
    """Add implicit state: zeros for a new stream, updated in place on the GPU.

    Sequences beyond ``streams`` wait in Triton; the client gives up on a START that waits too long.
    """
    assert role.packing is not None
    batching = config.sequence_batching
    batching.max_sequence_idle_microseconds = IDLE_LIMIT_US
    batching.oldest.max_candidate_sequences = streams
    for part in role.packing.parts:
        dtype, dims = _STATE_DTYPES[part.dtype], list(part.shape)
        batching.state.add(
            input_name=f"past_{part.name}",
            output_name=f"next_{part.name}",
            data_type=dtype,
            dims=dims,
            use_same_buffer_for_input_output=True,
            initial_state=[
                pb.ModelSequenceBatching.InitialState(name="zero", data_type=dtype, dims=dims, zero_data=True)
            ],
        )
    # An engine takes no empty request, so a stream ends with a frame whose audio is discarded.
    limits = {"end_frames": "1", "max_step_frames": str(MAX_STEP_FRAMES)}
    add_parameters(config, stream_parameters(codec, role, streams) | limits)


def _add_graphs(config: pb.ModelConfig, shapes: Shapes, profile: Profile) -> None:
    """Specify CUDA graphs of a step of one frame, for every batch: the next power of two serves it, padded.

    They stay off until they are shown to be bit-equal: replays have returned data of an earlier request
    (triton-inference-server/server#8550). Without a lower bound, a graph serves its own shape only
    (tensorrt_backend, src/instance_state.cc). Models without state have too many shapes for graphs.
    """
    cuda, dims = config.optimization.cuda, _usual(shapes)
    cuda.graphs = False
    below, size = 0, 1
    while size <= profile.batch.most:
        spec = cuda.graph_spec.add(batch_size=size)
        spec.graph_lower_bound.batch_size = below + 1
        for name, each in dims.items():
            spec.input[name].dim.extend(each)
            spec.graph_lower_bound.input[name].dim.extend(each)
        below, size = size, 2 * size


def _usual(shapes: Shapes) -> Mapping[str, Sequence[int]]:
    """The usual shapes without the batch axis."""
    return {name: usual[1:] for name, (_, usual, _) in shapes.items()}
