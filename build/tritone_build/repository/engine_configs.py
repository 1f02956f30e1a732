"""Configs of the models that NVIDIA's Triton container serves, with TensorRT engines."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from tritonclient.grpc import model_config_pb2 as pb

from tritone_build.codecs.base import Codec
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

MAX_STREAMS, _MOST_STATE_BYTES = 1024, 24 << 30
"""Live streams per model, and the limit of their state. Further sequences wait in Triton; the client gives up
on a START that waits too long."""
_QUEUE_LIMIT, _QUEUE_LIMIT_US = 256, 10_000_000
_STATE_DTYPES = {torch.float16: pb.TYPE_FP16, torch.float32: pb.TYPE_FP32, torch.int64: pb.TYPE_INT64}


def engine_configs(codec: Codec, parts: Sequence[Role]) -> dict[str, pb.ModelConfig]:
    """Return the configs of all models of a codec by role, the ensemble last.

    They are the same for any weights: only the engines' manifests hold the hash of the checkpoint.
    """
    codec = replace(codec, checkpoint_sha256="")
    configs = {role.name: _config(codec, role) for role in parts}
    decode = decode_config(codec, parts[0], parts[1], configs["vocoder"].max_batch_size)
    return configs | {"decode": decode}


def _config(codec: Codec, role: Role) -> pb.ModelConfig:
    """Return a config; without an engine, of the container's ONNX Runtime backend on the CPU."""
    if not role.engine:
        return model_config(codec, role, NATIVE_BACKEND)
    profiles = profiles_of(role, codec.geometry)
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
    add_parameters(config, parameters(codec, role.name))
    if role.name.startswith("encode") and choice_of_codebooks(codec):
        add_parameters(config, {"encoded_codebooks": str(codec.geometry.num_codebooks)})
    if role.packing is None:
        _add_batching(config)
    else:
        _add_sequences(config, codec, role)
    _add_graphs(config, [shapes_of(role, codec.geometry, profile) for profile in profiles], profiles)
    return config


def _add_batching(config: pb.ModelConfig) -> None:
    """Batch the waiting requests without delay, and refuse requests that would wait for too long."""
    policy = config.dynamic_batching.default_queue_policy
    policy.timeout_action = pb.ModelQueuePolicy.REJECT
    policy.default_timeout_microseconds = _QUEUE_LIMIT_US
    policy.allow_timeout_override = True
    policy.max_queue_size = _QUEUE_LIMIT


def _add_sequences(config: pb.ModelConfig, codec: Codec, role: Role) -> None:
    """Add implicit state: zeros for a new stream, updated in place on the GPU."""
    assert role.packing is not None
    streams = min(MAX_STREAMS, _MOST_STATE_BYTES // role.packing.state_bytes)
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


def _add_graphs(config: pb.ModelConfig, shapes: Sequence[Shapes], profiles: Sequence[Profile]) -> None:
    """Specify CUDA graphs of each profile's usual shape, for batches of powers of four.

    They stay off until they are shown to be bit-equal: replays have returned data of an earlier request
    (triton-inference-server/server#8550).
    """
    cuda = config.optimization.cuda
    cuda.graphs = False
    for of_inputs, profile in zip(shapes, profiles, strict=True):
        size = 1
        while size <= profile.batch.usual:
            spec = cuda.graph_spec.add(batch_size=size)
            for name, dims in _usual(of_inputs).items():
                spec.input[name].dim.extend(dims)
            size *= 4


def _usual(shapes: Shapes) -> Mapping[str, Sequence[int]]:
    """The usual shapes without the batch axis."""
    return {name: usual[1:] for name, (_, usual, _) in shapes.items()}
