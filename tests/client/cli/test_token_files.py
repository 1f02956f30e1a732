"""Token files of this and other programs, recognized by their content and not by their names."""

import io
import json
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tritone_client import TokensError
from tritone_client.cli.token_files import tokens_of_file

TOKENS = np.arange(12).reshape(4, 3)


def saved(save: Callable[..., Any], *given: Any, **named: Any) -> bytes:
    file = io.BytesIO()
    save(file, *given, **named)
    return file.getvalue()


def torch_saved(given: Any) -> bytes:
    return saved(lambda file: torch.save(given, file))


@pytest.mark.parametrize(
    "data",
    [
        saved(np.save, TOKENS),
        saved(np.save, TOKENS[None].astype(np.int32)),
        saved(np.savez, TOKENS),
        saved(np.savez_compressed, tokens=TOKENS, rate=np.array(22050)),
        torch_saved(torch.tensor(TOKENS)),
        torch_saved(torch.tensor(TOKENS)[None]),
        torch_saved({"tokens": torch.tensor(TOKENS), "step": 7}),
        torch_saved([torch.tensor(TOKENS)]),
        json.dumps(TOKENS.tolist()).encode(),
        json.dumps({"tokens": TOKENS.tolist(), "voice": "a"}, indent=1).encode(),
        b"\xef\xbb\xbf" + json.dumps({"codes": TOKENS.tolist()}).encode(),
        b"0 1 2\n3 4 5\n6 7 8\n9 10 11\n",
        b"0,1,2\r\n3,4,5\r\n\r\n6,\t7,8\r\n9,10,11",
    ],
    ids=[
        "npy", "npy with a batch axis", "npz", "npz by name",
        "torch", "torch with a batch axis", "torch by name", "torch in a list",
        "json", "json by name", "json with a mark", "text", "csv",
    ],
)  # fmt: skip
def test_tokens_are_read_from_what_other_tools_save(data: bytes) -> None:
    assert tokens_of_file(data, "file").tolist() == TOKENS.tolist()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "t is empty"),
        (b" \n", "it is blank"),
        (b"RIFF....WAVEfmt ", "is an audio file, not tokens; 'tritone encode'"),
        (b"OggS\0", "is an audio file, not tokens"),
        (pickle.dumps(TOKENS), "is a Python pickle; tokens are read from .npy, .npz, .pt, .json"),
        (b"<!DOCTYPE html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x40\0\0\0\0\0\0\0" + b'{"tokens":{}}', "is a safetensors file"),
        (b"hello there", "it has 'hello'; tokens are read from"),
        (b"1 2\n3.5 4", "it has '3.5'"),
        (bytes(range(160, 255)) * 1000, "holds no tokens"),
        (b"1 2\n3", "NumPy cannot view a list of 2, 1 to 2 in each"),
        (b"[[1, 2], [3, 4]", "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b'{"a": [[1]], "b": [[2]]}', "holds a, b; it must hold one array, or one that is called tokens"),
        (b'{"tokens": "abc"}', "got the str 'abc'"),
        (saved(np.save, TOKENS)[:-8], "cannot be read as a NumPy array"),
        (saved(np.save, np.array([TOKENS, None], object)), "cannot be read as a NumPy array: Object arrays"),
        (saved(np.savez, a=TOKENS, b=TOKENS), "holds a, b; it must hold one array"),
        (saved(np.savez, a=TOKENS)[:50], "cannot be read as an archive"),
        (torch_saved({"model": object()}), "holds more than tensors"),
        (torch_saved({"a": torch.zeros(1), "b": torch.zeros(1)}), "holds a, b; it must hold one array"),
    ],
)
def test_a_file_of_something_else_is_named_in_the_error(data: bytes, message: str) -> None:
    with pytest.raises(TokensError, match=message) as caught:
        tokens_of_file(data, "t")
    assert len(str(caught.value)) < 400


def test_a_zip_of_something_else_is_reported() -> None:
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("word/document.xml", "")
    with pytest.raises(TokensError, match=r"a zip archive of word/document\.xml"):
        tokens_of_file(file.getvalue(), "t")


def test_a_file_of_pytorch_without_pytorch_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    data = torch_saved(torch.tensor(TOKENS))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(TokensError, match=r"PyTorch, which is not installed here; save it with numpy\.save"):
        tokens_of_file(data, "t")
