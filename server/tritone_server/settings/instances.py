"""Several processes for each model of live streams."""

import os
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from tritone_server.binaries import ServerError

__all__ = ["run_in_processes"]

_CONFIG, _BACKEND, _THREADS = "config.pbtxt", "tritone", "intra_op_thread_count"


def run_in_processes(folder: Path, models: list[str], count: int) -> None:
    """Let Triton run each model of live streams in ``count`` processes; other models stay as they are.

    The link to such a model becomes a folder with a changed config and links to all other files, so the
    repository that was built stays as it is. The processes share the cores.

    Args:
        folder: links to the models that are served.
        models: their names.
        count: the number of processes.

    Raises:
        ServerError: another backend runs a model of live streams.
    """
    for model in models:
        source = (folder / model).resolve()
        config = text_format.Parse((source / _CONFIG).read_text(), pb.ModelConfig())
        if not config.HasField("sequence_batching"):
            continue
        if config.backend != _BACKEND:
            raise ServerError(
                f"{model} runs on the backend {config.backend or config.platform}, where each instance would "
                "have a limit of streams of its own; serve it without --instances, or serve what "
                "'tritone-build models' builds"
            )
        _divide(config, count)
        (folder / model).unlink()
        _copy_links(source, folder / model)
        (folder / model / _CONFIG).write_text(text_format.MessageToString(config))


def _divide(config: pb.ModelConfig, count: int) -> None:
    config.instance_group[0].count = count
    if _THREADS not in config.parameters:
        threads = max(1, len(os.sched_getaffinity(0)) // count)
        config.parameters[_THREADS].string_value = str(threads)


def _copy_links(source: Path, target: Path) -> None:
    target.mkdir()
    for path in source.iterdir():
        if path.name != _CONFIG:
            (target / path.name).symlink_to(path)
