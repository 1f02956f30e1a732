"""Token files, written by this program or by others."""

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone_client.cli.file_kinds import AUDIO, kind_of
from tritone_client.errors import TokensError
from tritone_client.inputs.arrays import as_array

__all__ = ["tokens_of_file"]

_TAKEN = "tokens are read from .npy, .npz, .pt, .json, or text with a line of integers for each codebook"
_BATCH_OF_ONE = 3
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


def tokens_of_file(data: bytes, name: str) -> NDArray[Any]:
    """The tokens of one utterance, [K, T]; an axis for a batch of one is dropped.

    Raises:
        TokensError: the file holds no tokens, or several arrays; the message says what it holds.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")  # the byte order mark of text editors
    tokens = as_array(_reader(data, name)(data, name), f"{name}: {_TAKEN}", TokensError)
    return tokens[0] if tokens.ndim == _BATCH_OF_ONE and len(tokens) == 1 else tokens


def _reader(data: bytes, name: str) -> Callable[[bytes, str], Any]:
    kind = kind_of(data)
    if kind == "a NumPy array":
        return _of_npy
    if kind == "a zip archive":
        return _of_zip
    if kind == AUDIO:
        raise TokensError(f"{name} is {kind}, not tokens; 'tritone encode' makes tokens of it")
    if kind is not None:
        raise TokensError(f"{name} is {kind}; {_TAKEN}")
    return _of_json if data.lstrip()[:1] in (b"[", b"{") else _of_text


def _of_npy(data: bytes, name: str) -> Any:
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OverflowError) as error:
        raise TokensError(f"{name} cannot be read as a NumPy array: {error}") from error


def _of_zip(data: bytes, name: str) -> Any:
    """An ``.npz`` archive of NumPy, or a file of ``torch.save``."""
    try:
        members = zipfile.ZipFile(io.BytesIO(data)).namelist()
        if any(member.endswith("data.pkl") for member in members):
            return _of_torch(data, name)
        if all(member.endswith(".npy") for member in members):
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return _only(dict(arrays), name)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, TokensError):
            raise
        raise TokensError(f"{name} cannot be read as an archive of arrays: {error}") from error
    raise TokensError(f"{name} is a zip archive of {', '.join(members[:3]) or 'nothing'}; {_TAKEN}")


def _of_torch(data: bytes, name: str) -> Any:
    """Load tensors only: other objects in a pickle could run code."""
    try:
        import torch
    except ImportError as error:
        raise TokensError(
            f"{name} is a file of PyTorch, which is not installed here; save it with numpy.save"
        ) from error
    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch's errors have no common class
        raise TokensError(
            f"{name} is a file of PyTorch that holds more than tensors: save the tokens alone"
        ) from error
    return _only(found, name)


def _of_json(data: bytes, name: str) -> Any:
    try:
        return _only(json.loads(data), name)
    except (ValueError, RecursionError) as error:
        if isinstance(error, TokensError):
            raise
        raise TokensError(f"{name} cannot be read as JSON: {error}") from error


def _of_text(data: bytes, name: str) -> Any:
    """One line per codebook; integers are separated by spaces, tabs or commas."""
    lines = data.decode(errors="replace").replace(",", " ").splitlines()
    rows = [line.split() for line in lines if line.strip()]
    strange = next((word for row in rows for word in row if not _INTEGER.fullmatch(word)), None)
    if strange is not None or not rows:
        found = "it is blank" if strange is None else f"it has {strange[:20]!r}"
        raise TokensError(f"{name} holds no tokens: {found}; {_TAKEN}")
    return [[int(word) for word in row] for row in rows]


def _only(found: Any, name: str) -> Any:
    """The only array of a file, or the array that is named ``tokens``."""
    if not isinstance(found, Mapping):
        return found
    if "tokens" in found:
        return found["tokens"]
    if len(found) == 1:
        return next(iter(found.values()))
    listed = ", ".join(map(str, found)) or "nothing"
    raise TokensError(f"{name} holds {listed}; it must hold one array, or one that is called tokens")
