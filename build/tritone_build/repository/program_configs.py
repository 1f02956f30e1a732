"""Configs of the models that our runtime runs on a GPU, as programs of PyTorch."""

from collections.abc import Sequence

from tritonclient.grpc import model_config_pb2 as pb

from tritone_build.codecs.base import Codec
from tritone_build.engines.capacity import USUAL, Capacity
from tritone_build.graphs.role import Role, choice_of_codebooks
from tritone_build.graphs.stream_roles import MOST_ROWS
from tritone_build.repository.configs import add_parameters, decode_config, model_config

__all__ = ["program_configs"]


def program_configs(
    codec: Codec, parts: Sequence[Role], capacity: Capacity = USUAL
) -> dict[str, pb.ModelConfig]:
    """Return the configs of all models of a codec by role, the ensemble last.

    Triton leaves the GPU to our backend: requests arrive in main memory, so every model is one for the CPU.

    Raises:
        CapacityError: the GPU has too little memory for the live streams.
    """
    streams = capacity.streams(codec.name, parts, copies=1)
    configs = {role.name: _config(codec, role, streams) for role in parts}
    return configs | {"decode": decode_config(codec, parts[0], parts[1], echoes=True)}


def _config(codec: Codec, role: Role, streams: int) -> pb.ModelConfig:
    config = model_config(codec, role)
    # An encoder returns all codebooks, and the client keeps those it wants.
    if role.name.startswith("encode") and choice_of_codebooks(codec):
        add_parameters(config, {"encoded_codebooks": str(codec.geometry.num_codebooks)})
    if role.packing is not None:
        config.max_batch_size = MOST_ROWS
        add_parameters(config, {"max_streams": str(streams)})
    return config
