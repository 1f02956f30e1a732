"""Files that are not what their name says: one typed error each, with what was found and what to do."""

import io
import json
import os
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.archives import packed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from scripts.common.small_codecs import SMALL
from tritone_build.checkpoints.checkpoint import open_checkpoint
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.cli import main
from tritone_build.codecs import load_codec
from tritone_build.errors import CheckpointError, CheckpointNotFoundError, TritoneBuildError

NAMES = ("codec.nemo", "model.safetensors", "last.ckpt", "no_suffix")
LIGHTNING = {
    "epoch": 3,
    "global_step": 70_000,
    "pytorch-lightning_version": "2.5.1",
    "state_dict": {"audio_decoder.pre_conv.conv.bias": torch.zeros(4)},
    "hyper_parameters": {"cfg": Path("only code can make this")},
}


def saved(content: Any, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def archive_of(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


MAKE_NEMO = r"PyTorch Lightning.*never loaded.*load_from_checkpoint\('last.ckpt'\).save_to\('codec.nemo'\)"
NO_TENSORS = "a Python pickle, which can hold code and is never loaded, not a file of torch.save"
FOREIGN: dict[str, tuple[bytes, str]] = {
    "a Lightning checkpoint": (saved(LIGHTNING), MAKE_NEMO),
    "a Lightning checkpoint of an old PyTorch": (saved(LIGHTNING, zipped=False), MAKE_NEMO),
    "a pickle": (pickle.dumps({"weight": 1}), NO_TENSORS),
    "half a file of torch.save": (saved(LIGHTNING)[:-200], "truncated PyTorch or ZIP file .*fetch it again"),
    "a git-lfs pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 155298816\n",
        "git-lfs pointer to a file of 155298816 bytes, .*'git lfs pull'.* hub id",
    ),
    "a web page": (
        b"\n<!DOCTYPE html>\n<html><head><title>nvidia / codec\n- Log in</title></head></html>",
        r"web page \('nvidia / codec - Log in'\).*resolve/main",
    ),
    "a long web page": (b"<html>" + "seit\u00e4 ".encode() * 4096, "a web page, not a checkpoint"),
    "a server's error": (b"Invalid username or password.\n", "begins 'Invalid username .*fetch it again"),
    "an error in JSON": (b'{"error": "Repository not found"}', "text, not a checkpoint; it begins"),
    "an empty file": (b"", "empty: .*fetch it again"),
    "zeros": (bytes(1 << 20), "full of zeros: .*fetch it again"),
    "a ZIP archive": (archive_of("codec.nemo", b"x"), "ZIP archive that begins with codec.nemo; unpack it"),
    "a recording": (b"RIFF\x24\x00\x00\x00WAVEfmt \x10", "an audio file"),
    "an array": (array(), "an array of NumPy"),
    "noise": (b"\xff\xfe\x00\x81" * 500, "nor of any other known kind .*fetch it again"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_told_by_its_content(kind: str, name: str, tmp_path: Path) -> None:
    content, said = FOREIGN[kind]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"(?s)^{path} is .*{said}"):
        open_checkpoint(str(path))


@pytest.mark.parametrize("command", [["inspect"], ["models", "--checkpoint"], ["engines", "--checkpoint"]])
@pytest.mark.parametrize(
    "kind", ["a Lightning checkpoint", "a git-lfs pointer", "a web page", "an empty file"]
)
def test_every_command_says_it_in_one_line(
    kind: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "codec.nemo"
    path.write_bytes(FOREIGN[kind][0])
    assert main([*command, str(path)]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"tritone-build: {path} is ")
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_code_in_a_foreign_file_never_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Exploit:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("code of the file ran",))

    for zipped in (True, False):
        path = tmp_path / "last.ckpt"
        path.write_bytes(saved({"state_dict": {"a": torch.zeros(1)}, "metadata": Exploit()}, zipped))
        with pytest.raises(CheckpointError, match=f"{path} holds pickled code .*never loaded; take the file"):
            open_checkpoint(str(path))
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("layout", ["nemo", "nemo.gz", "safetensors"])
@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_may_have_any_name(layout: str, name: str, tmp_path: Path) -> None:
    written = write_fixture(SMALL["small_nanocodec"], tmp_path / "written", layout=layout)
    path = written.rename(tmp_path / name)
    if layout == "safetensors":
        (tmp_path / "written" / "config.json").rename(tmp_path / "config.json")
    assert load_codec(open_checkpoint(str(path)), "small").geometry.num_codebooks == 4


def test_devices_and_sockets_are_no_checkpoints(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nemo")  # which would be read for ever
    for path in (Path(os.devnull), tmp_path / "pipe.nemo"):
        with pytest.raises(CheckpointError, match=f"{path} is no regular file; give the .nemo"):
            open_checkpoint(str(path))


def test_a_missing_training_checkpoint_is_not_sought_on_the_hub() -> None:
    for source in ("runs/last.ckpt", "runs/model.pt", ""):
        with pytest.raises(CheckpointNotFoundError, match=r"expected a .nemo file, a folder or a hub id"):
            open_checkpoint(source)


FOLDERS: dict[str, tuple[dict[str, bytes], str]] = {
    "training": (
        {"last.ckpt": saved(LIGHTNING), "hparams.yaml": b"cfg: {}"},
        f"last.ckpt is {MAKE_NEMO[:8]}",
    ),
    "half a model": ({"pytorch_model.bin": saved({})[:-40], "config.json": b"{}"}, "truncated PyTorch"),
    "unpacked": (
        {"model_config.yaml": b"", "model_weights.ckpt": b""},
        "unpacked .nemo file; pack it: tar -cf",
    ),
    "pointers": ({"model.safetensors": FOREIGN["a git-lfs pointer"][0]}, "model.safetensors is a git-lfs"),
    "no index": ({"model.safetensors.index.json": FOREIGN["a git-lfs pointer"][0]}, "not an index of shards"),
    "a shard that is a pointer": (
        {
            "model.safetensors.index.json": json.dumps({"weight_map": {"a": "one.safetensors"}}).encode(),
            "one.safetensors": FOREIGN["a git-lfs pointer"][0],
        },
        "one.safetensors is a git-lfs pointer",
    ),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_without_a_checkpoint_says_what_it_has(kind: str, tmp_path: Path) -> None:
    files, said = FOLDERS[kind]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=said.replace("PyTorch ", "a checkpoint of PyTorch ")):
        open_checkpoint(str(tmp_path))


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sound")
    return {
        layout: write_fixture(SMALL["small_nanocodec"], folder / layout, layout=layout).read_bytes()
        for layout in ("nemo", "nemo.gz", "safetensors")
    }


def refused(path: Path) -> str:
    """What is said of a file, which may be read after all."""
    try:
        return open_checkpoint(str(path)).source
    except TritoneBuildError as error:
        return str(error)


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("layout", ["nemo", "nemo.gz", "safetensors"])
def test_whatever_is_damaged_the_error_is_ours(
    layout: str, data: st.DataObject, contents: dict[str, bytes], tmp_path: Path
) -> None:
    """Bytes of the headers are changed, and the end is cut off: it is read, or refused in words."""
    content = bytearray(contents[layout])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, min(len(content), 6000) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2, 600, 9]))])
    assert refused(path).startswith(str(path))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pth"])
def test_tensors_of_a_pickle_are_read(name: str, zipped: bool, tmp_path: Path) -> None:
    kept = {"encoder.weight": torch.arange(3.0), "decoder.weight": torch.arange(2)}
    (tmp_path / "config.json").write_text('{"model_type": "of the folder"}')
    for content, config in (
        (kept, {"model_type": "of the folder"}),
        ({"state_dict": kept, "metadata": {"kwargs": {"rates": [2, 4]}, "logs": {}}}, {"rates": [2, 4]}),
    ):
        (tmp_path / name).write_bytes(saved(content, zipped))
        for source in (tmp_path, tmp_path / name):
            checkpoint = open_checkpoint(str(source))
            assert (checkpoint.layout, checkpoint.config) == ("pickled", config)
            assert checkpoint.tensors.keys() == kept.keys()
            assert all(torch.equal(checkpoint.tensors[each], kept[each]) for each in kept)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"state_dict": torch.zeros(1)}, {"a": 1}, {1: 2}])
def test_a_pickle_without_named_tensors_says_so(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(saved(content))
    with pytest.raises(CheckpointError, match=f"{path} is no mapping from names to tensors"):
        open_checkpoint(str(path))


def test_safetensors_are_read_before_pickles_and_two_pickles_are_told(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(saved({}))
    (tmp_path / "optimizer.bin").write_bytes(saved({}))
    with pytest.raises(CheckpointNotFoundError, match=r"found optimizer.bin, pytorch_model.bin; name the"):
        open_checkpoint(str(tmp_path))
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert open_checkpoint(str(tmp_path)).tensors.keys() == {"a"}


@given(damage=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_weights_in_a_sound_archive_are_told(damage: list[tuple[int, int]], tmp_path: Path) -> None:
    weights = bytearray(saved({f"layer.{n}.weight": torch.zeros(3) for n in range(8)}))
    for place, value in damage:
        weights[place % len(weights)] = value
    path = packed(tmp_path / "damaged.nemo", b"sample_rate: 22050", bytes(weights))
    assert refused(path).startswith(str(path))
    path = tmp_path / "damaged.bin"
    path.write_bytes(weights)
    assert refused(path).startswith(str(path))


def test_an_archive_of_something_else_says_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "samples.nemo"
    with tarfile.open(path, "w") as tar:
        tar.add(__file__, "notes.txt")
    with pytest.raises(
        CheckpointError, match=r"no model_config.yaml in the archive; it holds \['notes.txt'\]"
    ):
        open_checkpoint(str(path))
