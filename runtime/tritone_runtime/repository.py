"""A built model repository: its codecs, and whether their files can be used."""

from collections.abc import Sequence
from pathlib import Path

from tritone_runtime.errors import RepositoryError
from tritone_runtime.fit import engines_among
from tritone_runtime.manifests import FORMAT, ONNX_FILE, PROGRAM_FILE, read_manifest

__all__ = ["ROLES", "codecs_in", "models_of", "pipeline_of"]

_PARTS, _WHOLE, _STREAMS = ("dequantize", "vocoder"), ("decode", "encode"), ("decode_stream", "encode_stream")
ROLES = (*_PARTS, *_WHOLE, *_STREAMS)
_CONFIG = "config.pbtxt"


def codecs_in(repository: Path) -> list[str]:
    """Names of the codecs of a repository.

    Raises:
        RepositoryError: the folder is missing or holds no models.
    """
    found = sorted(
        path.parent.name.removesuffix("_decode") for path in repository.glob(f"*_decode/{_CONFIG}")
    )
    if not found:
        problem = "has no models in it" if repository.is_dir() else "is no folder"
        raise RepositoryError(
            f"{repository} {problem}; 'tritone-build models NAME --repository {repository}' builds a codec"
        )
    return found


def models_of(repository: Path, codec: str) -> list[str]:
    """Models of a codec that callers use: those for whole inputs, then those for streams, if any.

    Raises:
        RepositoryError: files of the codec are missing, or another version of tritone-build wrote them.
    """
    streams = [role for role in _STREAMS if (repository / f"{codec}_{role}").exists()]
    names = [f"{codec}_{role}" for role in (*_WHOLE, *streams)]
    engines = engines_among(repository, names)
    folders = [repository / name for name in (*pipeline_of(codec), *names)]
    for folder in folders:
        needed = [folder / _CONFIG]
        needed += [] if folder.name == f"{codec}_decode" or engines else [_file(folder / "1")]
        _refuse_missing(needed, codec)
    for folder in [] if engines else folders:
        _refuse_other_format(folder, codec)
    return names


def _file(version: Path) -> Path:
    """The file that the model was built as."""
    return version / (PROGRAM_FILE if read_manifest(version).get("target") == "cuda" else ONNX_FILE)


def pipeline_of(codec: str) -> list[str]:
    """The models that make up the decoder of whole inputs."""
    return [f"{codec}_{role}" for role in _PARTS]


def _refuse_missing(needed: Sequence[Path], codec: str) -> None:
    for path in needed:
        if not path.exists():
            raise RepositoryError(f"{path} is missing; build it with {_build(codec)}")


def _refuse_other_format(folder: Path, codec: str) -> None:
    manifest = read_manifest(folder / "1")
    if not manifest:
        raise RepositoryError(f"{folder} was not built to its end; build it again with {_build(codec)}")
    found = manifest.get("format", 1)
    if found != FORMAT:
        raise RepositoryError(
            f"{folder} was written by another version of tritone-build (format {found}, this version reads "
            f"{FORMAT}); build it again with {_build(codec)}"
        )


def _build(codec: str) -> str:
    return f"'tritone-build models {codec}' (in a clone: make models CODEC={codec})"
