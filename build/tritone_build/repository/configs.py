"""Configs of the models that Triton serves, as protobuf messages, derived from their roles."""

from collections.abc import Mapping
from math import inf

from tritonclient.grpc import model_config_pb2 as pb

from tritone_build.codecs.base import Codec
from tritone_build.graphs.call_limit import longest_call_s
from tritone_build.graphs.role import Axes, Role
from tritone_runtime.limits import LONGEST_CALL_S
from tritone_runtime.manifests import ModelDescription

__all__ = [
    "IDLE_LIMIT_US",
    "MAX_STREAMS",
    "NATIVE_BACKEND",
    "OUR_BACKEND",
    "add_parameters",
    "add_tensors",
    "decode_config",
    "description_of",
    "model_config",
    "model_name",
    "parameters",
    "stream_parameters",
]

OUR_BACKEND, NATIVE_BACKEND = "tritone", "onnxruntime"
NONCE, LATENT_NONCE = "nonce", "latent_nonce"
AUDIO, AUDIO_INT16 = "audio", "audio_int16"
MAX_BATCH_SIZE = 64
MAX_STEP_BATCH_SIZE = 16
MAX_STREAMS, _MOST_STATE_BYTES = 64, 4 << 30
"""Live streams per model, and the limit of their state."""
IDLE_LIMIT_US = 5_000_000
_CANDIDATES = 4096
"""Streams that Triton passes to the backend, which refuses those above MAX_STREAMS at once. Triton itself
would let them wait without an answer."""

_LENGTHS = ("tokens_len", "latent_len", "audio_len", "num_codebooks")
_DTYPES = {"tokens": pb.TYPE_INT64, "latent": pb.TYPE_FP32, "audio": pb.TYPE_FP32} | dict.fromkeys(
    _LENGTHS, pb.TYPE_INT64
)


def model_name(codec: str, role: str) -> str:
    """Return the name of the model of that role."""
    return f"{codec}_{role}"


def parameters(codec: Codec, role: str) -> dict[str, str]:
    """Return the facts about a model that a client must know, as strings for Triton's ``parameters``."""
    g, encodes = codec.geometry, role.startswith("encode")
    return {
        "sample_rate": str(g.encode_sample_rate_hz if encodes else g.sample_rate_hz),
        "samples_per_frame": str(g.encode_samples_per_frame if encodes else g.samples_per_frame),
        "num_channels": str(g.num_channels),
        "num_codebooks": str(g.num_codebooks),
        "min_codebooks": str(g.min_codebooks),
        "default_codebooks": str(g.default_codebooks),
        "codebook_size": str(g.codebook_size),
        "min_frames": str(g.min_frames),
        "min_samples": str(g.min_samples),
        "lookaround_frames": str(g.encode_lookaround_frames if encodes else g.lookaround_frames),
        "causal": str(g.encode_causal if encodes else g.causal).lower(),
    } | _only_where_stated(codec, role)


def _only_where_stated(codec: Codec, role: str) -> dict[str, str]:
    """Parameters that most codecs do not have."""
    g, encodes = codec.geometry, role.startswith("encode")
    stated = {
        "codebook_rows": ",".join(map(str, g.codebook_rows)),
        "checkpoint_sha256": codec.checkpoint_sha256,
    }
    if not encodes and g.short_samples:
        stated["short_samples"] = str(g.short_samples)
    if not encodes and g.encode_sample_rate_hz != g.sample_rate_hz:
        stated["encode_sample_rate"] = str(g.encode_sample_rate_hz)
        stated["encode_samples_per_frame"] = str(g.encode_samples_per_frame)
    if not encodes and g.position_frames:
        stated["position_frames"] = str(g.position_frames)
    longest_s = inf if role.endswith("_stream") else longest_call_s(codec, encodes)
    if longest_s < LONGEST_CALL_S:
        stated["longest_call_s"] = f"{longest_s:.1f}"
    if encodes and g.encode_whole_s:
        stated["whole_utterances_s"] = str(g.encode_whole_s)
    return {name: value for name, value in stated.items() if value}


def stream_parameters(codec: Codec, role: Role, streams: int) -> dict[str, str]:
    """Return the facts about a model's live streams that a client must know beside :func:`parameters`.

    ``streams`` is the limit of live streams. A fresh stream that is sent the newest ``replay_frames`` frames
    of another stream continues it. The output of a network that looks ahead is late.
    """
    assert role.packing is not None
    g, late = codec.geometry, {}
    if role.name == "encode_stream":
        replay = g.encode_lookaround_frames + g.encode_delay_frames
        if g.encode_delay_frames:
            late = {"delay_frames": str(g.encode_delay_frames)}
    else:
        replay = g.lookaround_frames + g.delay_frames
        if g.delay_samples:
            late = {"delay_samples": str(g.delay_samples)}
    return {
        "max_streams": str(streams),
        "idle_limit_ms": str(IDLE_LIMIT_US // 1000),
        "state_bytes": str(role.packing.state_bytes),
        "replay_frames": str(replay),
    } | late


def model_config(codec: Codec, role: Role, backend: str = OUR_BACKEND) -> pb.ModelConfig:
    """Return the config of a model that ONNX Runtime runs on the CPU.

    Triton batches the steps of streams; it does not batch requests to stateless models, so a bad request
    cannot make another one fail.

    Args:
        codec: the codec of the model.
        role: the role of the model.
        backend: ``tritone`` (``tritone_server.backend``), or ``onnxruntime``, the native backend of NVIDIA's
            container.
    """
    ours = backend == OUR_BACKEND
    config = pb.ModelConfig(
        name=model_name(codec.name, role.name),
        backend=backend,
        max_batch_size=MAX_BATCH_SIZE if role.packing is None else MAX_STEP_BATCH_SIZE,
        instance_group=[pb.ModelInstanceGroup(kind=pb.ModelInstanceGroup.KIND_CPU, count=1)],
    )
    add_tensors(config, role.inputs, role.outputs)
    add_parameters(config, parameters(codec, role.name))
    if ours:
        _add_int16(config)
        _add_nonce(config)
    if ours and role.name == "vocoder":
        config.input.add(name=LATENT_NONCE, data_type=pb.TYPE_INT64, dims=[1], optional=True)
    if role.name == "dequantize":
        # For a table lookup, waking a second thread takes longer than the work.
        add_parameters(config, {"intra_op_thread_count": "1"})
    if role.packing is not None:
        _add_sequences(config)
        streams = min(MAX_STREAMS, _MOST_STATE_BYTES // role.packing.state_bytes)
        add_parameters(config, stream_parameters(codec, role, streams))
    return config


def decode_config(
    codec: Codec, dequantize: Role, vocoder: Role, max_batch_size: int = MAX_BATCH_SIZE, echoes: bool = False
) -> pb.ModelConfig:
    """Return the config of the ensemble from tokens to audio; its batches are no larger than its models take.

    With ``echoes`` both models are our backend's: the nonce passes through them, and there is INT16 audio.
    """
    name = model_name(codec.name, "decode")
    config = pb.ModelConfig(name=name, platform="ensemble", max_batch_size=max_batch_size)
    add_tensors(config, dequantize.inputs, vocoder.outputs)
    for role in (dequantize, vocoder):
        config.ensemble_scheduling.step.add(
            model_name=model_name(codec.name, role.name),
            model_version=-1,
            input_map={name: name for name in role.inputs},
            output_map={name: name for name in role.outputs},
        )
    add_parameters(config, parameters(codec, "decode"))
    if echoes:
        first, second = config.ensemble_scheduling.step
        _add_int16(config)
        second.output_map[AUDIO_INT16] = AUDIO_INT16
        _add_nonce(config)
        first.output_map[NONCE] = second.input_map[LATENT_NONCE] = LATENT_NONCE
        second.output_map[NONCE] = NONCE
    return config


def description_of(config: pb.ModelConfig) -> ModelDescription:
    """What a caller must know of a config, without protobuf: for use in process."""
    stateful = config.HasField("sequence_batching")
    return ModelDescription(
        [tensor.name for tensor in config.input if tensor.name != LATENT_NONCE],
        [tensor.name for tensor in config.output if tensor.name != NONCE],
        {key: value.string_value for key, value in sorted(config.parameters.items())},
        config.max_batch_size,
        config.sequence_batching.max_sequence_idle_microseconds / 1e6 if stateful else None,
        [step.model_name for step in config.ensemble_scheduling.step],
    )


def _add_int16(config: pb.ModelConfig) -> None:
    """Beside FP32 audio, add the same audio in INT16, which our backend makes if a request asks for it."""
    for audio in [output for output in config.output if output.name == AUDIO]:
        config.output.add(name=AUDIO_INT16, data_type=pb.TYPE_INT16, dims=audio.dims)
        add_parameters(config, {"int16_output": "true"})


def _add_nonce(config: pb.ModelConfig) -> None:
    """Add the output that returns the parameter ``tritone_nonce``, by which callers know their answers."""
    config.output.add(name=NONCE, data_type=pb.TYPE_INT64, dims=[1])
    add_parameters(config, {"echoes": "true"})


def _add_sequences(config: pb.ModelConfig) -> None:
    """Let requests of different streams share a batch; those of one stream run in order."""
    batching = config.sequence_batching
    batching.max_sequence_idle_microseconds = IDLE_LIMIT_US
    batching.oldest.max_candidate_sequences = _CANDIDATES


def add_tensors(config: pb.ModelConfig, inputs: Mapping[str, Axes], outputs: Mapping[str, Axes]) -> None:
    """Add the tensors that callers see; a step's state stays between the model and the backend."""
    for name in [name for name in inputs if name in _DTYPES]:
        config.input.add(
            name=name, data_type=_DTYPES[name], dims=_dims(inputs[name]), optional=name == "num_codebooks"
        )
    for name in [name for name in outputs if name in _DTYPES]:
        config.output.add(name=name, data_type=_DTYPES[name], dims=_dims(outputs[name]))


def _dims(axes: Axes) -> list[int]:
    """Sizes of the axes after the batch; -1 for an axis that varies."""
    return [-1 if isinstance(axis, str) else axis for axis in axes[1:]]


def add_parameters(config: pb.ModelConfig, values: Mapping[str, str]) -> None:
    """Add string parameters for clients and backends."""
    for key, value in values.items():
        config.parameters[key].string_value = value
