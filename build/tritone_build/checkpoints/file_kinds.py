"""The kind of a file, from its first bytes, because its name can be wrong."""

import re
import stat
import struct
import tarfile
import zipfile
import zlib
from enum import Enum
from pathlib import Path

from tritone_build.errors import CheckpointError

__all__ = ["FileKind", "checkpoint_kind"]

_HEAD_BYTES = 4096
_MOST_HEADER_BYTES = 100_000_000
"""Limit of a safetensors header, set by the format."""
_MOST_NAMES = 5
_MOST_PICKLE_BYTES = 64 << 20
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_COMPRESSED_TAR = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
_ZIP = b"PK\x03\x04"
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_OLD_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The number with which torch.save began its files before it wrote ZIP archives, as pickled."""
_LIGHTNING = b"pytorch-lightning_version"
_AGAIN = "fetch it again"
_FOREIGN = (
    (b"GGUF", "a GGUF file of llama.cpp"),
    (b"RIFF", "an audio file"),
    (b"fLaC", "an audio file"),
    (b"OggS", "an audio file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "an array of NumPy"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
)
_WANTED = "give the .nemo, safetensors, .bin or .pth file itself"


class FileKind(Enum):
    """The kinds of checkpoint files that can be read."""

    NEMO = "nemo"
    SAFETENSORS = "safetensors"
    PICKLED = "pickled"


def checkpoint_kind(path: Path) -> FileKind:
    """Tell NeMo archives, safetensors files and files of ``torch.save`` apart.

    Raises:
        CheckpointError: it is none of them, or a training checkpoint of PyTorch Lightning; the
            message says what it is and what to do.
        OSError: the file cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise CheckpointError(f"{path} is no regular file; {_WANTED}")
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[_TAR_MAGIC_AT:].startswith(_TAR_MAGIC) or head.startswith(_COMPRESSED_TAR):
        return FileKind.NEMO
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _MOST_HEADER_BYTES:
        return FileKind.SAFETENSORS
    if _holds_tensors(path, head):
        return FileKind.PICKLED
    if (
        head.strip(b"\0") and not head.startswith(_ZIP) and tarfile.is_tarfile(path)
    ):  # an old tar format without a magic number
        return FileKind.NEMO
    raise CheckpointError(f"{path} is {_described(path, head)}")


def _holds_tensors(path: Path, head: bytes) -> bool:
    """Whether this is a file of torch.save, other than one of PyTorch Lightning."""
    if _LIGHTNING in head:
        return False
    if head.startswith(_ZIP):
        try:
            pickle = _pickle_in(path)
        except _DAMAGED:
            return False
        return pickle is not None and _LIGHTNING not in pickle
    return bool(_PICKLE.match(head)) and head[2:].startswith(_OLD_TORCH)


def _described(path: Path, head: bytes) -> str:
    """Describe a file that is not a checkpoint, and say what to do."""
    if not head:
        return f"empty: it was never written, or its download was interrupted; {_AGAIN}"
    if head.startswith(_ZIP):
        return _zip(path)
    if _PICKLE.match(head):
        return _pickle(lightning=_LIGHTNING in head)
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            return f"{name}, not a checkpoint; {_WANTED}"
    if not head.strip(b"\0"):
        return f"full of zeros: its download was not finished; {_AGAIN}"
    return _text(head) or (
        "neither a .nemo nor a safetensors file nor one of torch.save, nor of any other known kind "
        f"({path.stat().st_size} bytes); "
        f"it is truncated or of another kind: {_AGAIN}"
    )


_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    LookupError,
    RuntimeError,
    ValueError,
)
"""What reading a damaged ZIP archive raises."""


def _pickle_in(path: Path) -> bytes | None:
    """The pickle in a ZIP archive of torch.save, or None; raises one of _DAMAGED."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if Path(name).name == "data.pkl":
                with archive.open(name) as pickle:
                    return pickle.read(_MOST_PICKLE_BYTES)
    return None


def _zip(path: Path) -> str:
    """Describe a ZIP archive that is no readable file of torch.save."""
    try:
        if _pickle_in(path) is not None:
            return _pickle(lightning=True)
        with zipfile.ZipFile(path) as archive:
            shown = ", ".join(archive.namelist()[:_MOST_NAMES]) or "nothing"
        return f"a ZIP archive that begins with {shown}; unpack it, and {_WANTED}"
    except _DAMAGED as error:
        return f"a truncated PyTorch or ZIP file ({error}); {_AGAIN}, and {_WANTED}"


def _pickle(lightning: bool) -> str:
    never = "a Python pickle, which can hold code and is never loaded"
    if lightning:
        return (
            f"a checkpoint of PyTorch Lightning, as training writes it (.ckpt): {never}. Convert it to a "
            ".nemo file on a machine with NeMo: AudioCodecModel.load_from_checkpoint('last.ckpt')"
            ".save_to('codec.nemo'), with AudioCodecModel of nemo.collections.tts.models"
        )
    return (
        f"{never}, not a file of torch.save; {_WANTED}. If you trust it, write its tensors to a safetensors "
        "file with safetensors.torch.save_file"
    )


def _text(head: bytes) -> str | None:
    try:
        text = head.decode("utf-8-sig", errors="strict" if len(head) < _HEAD_BYTES else "ignore").strip()
    except UnicodeDecodeError:
        return None
    pointer = re.match(r"version https://git-lfs.*?^size (\d+)$", text, re.DOTALL | re.MULTILINE)
    if pointer:
        return (
            f"a git-lfs pointer to a file of {int(pointer[1])} bytes, not that file; run "
            "'git lfs install' and 'git lfs pull' in its clone, or give its hub id, owner/name"
        )
    if re.match(r"<!doctype html|<html", text, re.IGNORECASE):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        named = f" ({' '.join(title[1].split())[:80]!r})" if title else ""
        return (
            f"a web page{named}, not a checkpoint: the address was that of a page or of a login form. Give "
            "the hub id, owner/name, or fetch the file itself (on the hub its address contains "
            "resolve/main/, not blob/main/)"
        )
    if not all(character.isprintable() or character.isspace() for character in text):
        return None
    line = text.partition("\n")[0][:80]
    return (
        f"text, not a checkpoint; it begins {line!r}. If that is an error message of a server, {_AGAIN}; "
        f"otherwise {_WANTED}"
    )
