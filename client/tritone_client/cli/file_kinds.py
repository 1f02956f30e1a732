"""The kind of a file, by its first bytes; its name may be wrong."""

__all__ = ["AUDIO", "kind_of"]

AUDIO = "an audio file"
_BEGINNINGS = (
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\x03\x04", "a zip archive"),
    (b"RIFF", AUDIO),
    (b"fLaC", AUDIO),
    (b"OggS", AUDIO),
    (b"ID3", AUDIO),
    (b"FORM", AUDIO),
    (b"\xff\xfb", AUDIO),
    (b"\x80", "a Python pickle"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a pointer of git-lfs; fetch the file itself with 'git lfs pull'"),
    (b"<", "a web page or other markup"),
)


_LONGEST_HEADER = 100_000_000
"""Bytes; a file of safetensors begins with the length of its header, and sound with any eight bytes."""


def kind_of(data: bytes) -> str | None:
    """The kind of a file, in words; None for text and unknown kinds."""
    if not data:
        return "empty"
    if data[8:10] == b'{"' and int.from_bytes(data[:8], "little") < _LONGEST_HEADER:
        return "a safetensors file"
    return next((kind for beginning, kind in _BEGINNINGS if data.startswith(beginning)), None)
