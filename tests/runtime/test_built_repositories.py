"""A repository that cannot be used is refused with a reason before it is used."""

import json
import shutil
from pathlib import Path

import pytest

from tritone_runtime.errors import DamagedModelError, EngineMisfitError, RepositoryError
from tritone_runtime.local_models import LocalModels, local_models
from tritone_runtime.manifests import MANIFEST
from tritone_runtime.repository import codecs_in, models_of

NAME = "small_nanocodec"


@pytest.fixture
def copy(repository: Path, tmp_path: Path) -> Path:
    for folder in repository.glob(f"{NAME}_*"):
        shutil.copytree(folder, tmp_path / folder.name)
    return tmp_path


def test_all_that_is_built_can_be_used(repository: Path) -> None:
    for codec in codecs_in(repository):
        assert models_of(repository, codec)[:2] == [f"{codec}_decode", f"{codec}_encode"]


@pytest.mark.parametrize(("make", "message"), [(False, "is no folder"), (True, "has no models in it")])
def test_a_path_that_is_no_repository_is_reported(make: bool, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    if make:
        folder.mkdir()
    with pytest.raises(RepositoryError, match=f"{message}; 'tritone-build models NAME"):
        local_models(folder)


def half_built(folder: Path) -> None:
    (folder / f"{NAME}_vocoder" / "1" / MANIFEST).unlink()


def cut_off(folder: Path) -> None:
    (folder / f"{NAME}_vocoder" / "1" / MANIFEST).write_text("{")


def without_graph(folder: Path) -> None:
    (folder / f"{NAME}_vocoder" / "1" / "model.onnx").unlink()


def of_another_version(folder: Path) -> None:
    path = folder / f"{NAME}_vocoder" / "1" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))


def damaged(folder: Path) -> None:
    path = folder / f"{NAME}_vocoder" / "1" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (half_built, RepositoryError, "was not built to its end; build it again"),
        (cut_off, RepositoryError, "was not built to its end; build it again"),
        (without_graph, RepositoryError, r"_vocoder/1/model.onnx is missing; build it with"),
        (of_another_version, RepositoryError, r"another version of tritone-build \(format 99"),
        (damaged, DamagedModelError, "a disk or a copy has damaged them"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_files_that_are_not_what_was_built_are_refused(
    spoil: object, error: type[RepositoryError], message: str, copy: Path
) -> None:
    assert callable(spoil)
    spoil(copy)
    with pytest.raises(error, match=message):
        local_models(copy).stateless(f"{NAME}_decode")


def test_engines_are_refused_where_only_this_process_could_run_them() -> None:
    with pytest.raises(EngineMisfitError, match="is a TensorRT engine, which needs a GPU"):
        local_models(Path("model_repository")).stateless("nanocodec_mini_decode")


def test_a_codec_whose_name_begins_another_is_not_taken_for_it(repository: Path) -> None:
    models = local_models(repository)
    for codec in models.codecs():
        assert models.description(f"{codec}_decode").pipeline == [f"{codec}_dequantize", f"{codec}_vocoder"]
    with pytest.raises(KeyError):
        models.description(f"{NAME}_yodel")


def test_all_callers_share_the_models_of_a_folder(repository: Path) -> None:
    first, second = local_models(repository), local_models(repository.parent / "." / repository.name)
    assert first is second
    assert isinstance(first, LocalModels)
