"""Folders of models as a codec in this process finds them: given wrongly, moved, or built again."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.signals import tokens_of

from tritone_client import AddressError, Codec, RepositoryError, ServerFullError, served_codecs

NAME = "small_nanocodec"


@pytest.fixture
def copied(repository: Path, tmp_path: Path) -> Path:
    """A repository of one codec, under a name with a space."""
    folder = tmp_path / "my models"
    for model in repository.glob(f"{NAME}_[dev]*"):
        shutil.copytree(model, folder / model.name)
    return folder


def build_again(folder: Path, model: str) -> None:
    """As the builder does: the folder is another one."""
    old = folder / f"{model} before"
    (folder / model).rename(old)
    shutil.copytree(old, folder / model)
    shutil.rmtree(old)
    manifest = folder / model / "1" / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")


def test_a_folder_that_is_given_as_text_is_told(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository.parent)
    for text in (str(repository), "artifacts/models", "./models", repository.name):
        for call in (lambda: Codec(NAME, text), lambda: served_codecs(text)):  # noqa: B023
            with pytest.raises(AddressError, match=rf"is given as Path\('{re.escape(text)}'\)"):
                call()


def test_what_is_neither_an_address_nor_a_folder_is_told(repository: Path) -> None:
    strange: list[Any] = [[repository], ["127.0.0.1:8001", repository], None, b"127.0.0.1:8001", 8001]
    for place in strange:
        with pytest.raises(AddressError, match=r"give host:port as text.*or one Path"):
            Codec(NAME, place)


def test_streams_beyond_what_the_environment_allows_are_refused(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for strange in ("few", "0", "-3"):
        monkeypatch.setenv("TRITONE_MAX_STREAMS", strange)
        with (
            Codec(NAME, copied) as codec,
            codec.decode_stream() as stream,
            pytest.raises(RepositoryError, match=f"TRITONE_MAX_STREAMS is a number.*got '{strange}'"),
        ):
            stream.push(tokens_of(codec.info, 9))
    monkeypatch.setenv("TRITONE_MAX_STREAMS", "2")
    with Codec(NAME, copied) as codec:
        tokens = tokens_of(codec.info, 9)
        first, second, third = (codec.decode_stream() for _ in range(3))
        assert len(first.push(tokens)) == len(second.push(tokens))
        with pytest.raises(ServerFullError, match="in this process takes no more streams now"):
            third.push(tokens)
        first.close()
        with codec.decode_stream() as another:
            assert len(another.push(tokens)) == len(second.push(tokens))


def test_a_relative_path_stays_the_folder_it_was(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copied.parent)
    with Codec(NAME, Path(copied.name)) as codec:
        monkeypatch.chdir("/")
        tokens = tokens_of(codec.info, 9)
        assert len(codec.decode(tokens)) == len(np.concatenate(list(codec.stream(tokens.T))))


def test_models_that_were_built_again_are_used_by_codecs_that_are_opened_afterwards(copied: Path) -> None:
    with Codec(NAME, copied) as before:
        tokens = tokens_of(before.info, 9)
        stream = before.decode_stream()
        stream.push(tokens)
        for role in ("decode", "decode_stream", "vocoder"):
            build_again(copied, f"{NAME}_{role}")
        with Codec(NAME, copied) as after:
            assert len(after.decode(tokens)) == len(stream.push(tokens)) == 441
        with pytest.raises(RepositoryError, match=r"was replaced or removed.*open them again"):
            before.decode(tokens)
        shutil.rmtree(copied)
        with pytest.raises(RepositoryError, match=r"was replaced or removed.*open them again"):
            before.decode(tokens)
