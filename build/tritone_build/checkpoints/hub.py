"""Checkpoints on the Hugging Face hub."""

from pathlib import Path

from tritone_build.checkpoints.shards import (
    CODEC_FOLDER,
    INDEX_SUFFIX,
    codec_folder,
    named_weights,
    shards_of,
)
from tritone_build.errors import CheckpointNotFoundError

__all__ = ["fetched"]

_DESCRIPTIONS = [f"*{INDEX_SUFFIX}", "config.json"]
_WEIGHTS = ["*.nemo", "*.safetensors"]
_PICKLED = ["*.bin", "*.pth"]
"""Fetched only if there is no file of the kinds before, since many repositories hold the weights twice."""
_FILES = (".nemo", ".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".json")


def fetched(source: str, revision: str | None) -> Path:
    """Fetch a checkpoint from the hub and return its folder in the local cache; ``source`` is ``owner/name``.

    A repository may hold the same model in several formats. If its configuration or its only index names
    files, only those are fetched; if it has a folder for the codec, only that folder.

    Raises:
        CheckpointNotFoundError: there is no repository of that name, or it cannot be fetched.
        CheckpointError: its index of shards is damaged.
    """
    if source.count("/") != 1 or source.startswith((".", "/")) or Path(source).suffix in _FILES:
        raise CheckpointNotFoundError(
            f"no checkpoint at {source or 'an empty path'}; expected a .nemo file, a folder or a hub id"
        )
    folder = _snapshot(source, revision, [*_DESCRIPTIONS, f"{CODEC_FOLDER}/config.json"])
    if codec_folder(folder) != folder:
        inner = [f"{CODEC_FOLDER}/{pattern}" for pattern in (*_DESCRIPTIONS, *_WEIGHTS)]
        return _snapshot(source, revision, inner)
    named = named_weights(folder)
    if named is None:
        folder = _snapshot(source, revision, [*_DESCRIPTIONS, *_WEIGHTS])
        if any(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
            return folder
        return _snapshot(source, revision, [*_DESCRIPTIONS, *_PICKLED])
    files = shards_of(named, present=False) if named.name.endswith(INDEX_SUFFIX) else [named]
    return _snapshot(source, revision, [*_DESCRIPTIONS, *(file.name for file in files)])


def _snapshot(source: str, revision: str | None, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointNotFoundError(
            f"{source} is no path here and could not be fetched from the hub ({reason}); check the id, "
            "the network, and whether the repository asks you to accept its licence and log in"
        ) from error
