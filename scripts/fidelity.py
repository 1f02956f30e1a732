"""Compare every codec, through a real Triton server, with its authors' implementation.

Weights are seeded random ones at full geometry, the input is the repository's speech sample.

Examples:
  make fidelity
  .venv/bin/python scripts/fidelity.py --codec lfsc
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from peers import Reference, reference_of
from prepare import REPOSITORY, build_models, seeded_checkpoint
from report import Row, step, write_report
from tritone_build.checkpoints import open_checkpoint
from tritone_build.codecs import VARIANTS
from tritone_build.fidelity import differing_share, snr_db
from tritone_client import Codec
from tritone_client.audio import read_audio
from tritone_client.transport import Transport
from tritonserver import serving

_SPEECH = Path("samples/speech.wav")
_TARGET_DB = 120.0
_TIE = 1e-4
_LONG_S = 40


def main() -> int:
    """Entry point; 1 when a row falls short."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--codec", choices=list(VARIANTS), nargs="+", default=list(VARIANTS), help="default: all"
    )
    codecs, console = parser.parse_args().codec, Console()
    build_models([(codec, seeded_checkpoint(codec)) for codec in codecs])
    rows: list[Row] = []
    with serving(REPOSITORY, codecs) as server:
        for name in codecs:
            with step(console, f"comparing {name}"), Codec(name, server.url) as codec:
                rows += _rows(codec, Transport(server.url, timeout_s=600))
    write_report("fidelity", rows, console)
    return 0 if all(row.ok for row in rows) else 1


def _rows(codec: Codec, raw: Transport) -> list[Row]:
    reference = reference_of(open_checkpoint(seeded_checkpoint(codec.name)))
    audio, rate_hz = read_audio(_SPEECH)
    tokens = codec.encode(audio, rate_hz)
    return [
        _encode_row(codec, reference, audio, tokens),
        _decode_row(codec, reference, tokens),
        _batch_row(codec, raw, tokens),
        *_long_rows(codec, raw, audio),
    ]


def _encode_row(
    codec: Codec, reference: Reference, audio: NDArray[np.float32], tokens: NDArray[np.int64]
) -> Row:
    samples = torch.tensor(audio)[None]
    theirs = reference.encode(samples)[0].numpy()
    share = differing_share(theirs, tokens)
    margins = reference.rounding_margin(samples)[0].numpy()[theirs != tokens]
    seconds = len(audio) / codec.info.sample_rate_hz
    how = f"{seconds:.1f} s of speech, {tokens.shape[1]} frames, last one partial"
    if share:
        how += f"; widest tie {margins.max():.1e} of a level"
    ok = bool((margins < _TIE).all())
    return Row(codec.name, "encode_vs_reference", share, "share", "0, or ties", ok, how)


def _decode_row(codec: Codec, reference: Reference, tokens: NDArray[np.int64]) -> Row:
    theirs = reference.decode(torch.tensor(tokens)[None])[0].numpy()
    value = snr_db(theirs, codec.decode(tokens))
    how = f"{tokens.shape[1]} frames, {len(theirs)} samples each"
    return _decibels(codec.name, "decode_vs_reference", value, how)


def _batch_row(codec: Codec, raw: Transport, tokens: NDArray[np.int64]) -> Row:
    """A batch through Triton against each of its rows alone, the samples after a row's end included."""
    frames = 40
    lengths = [frames, 23, codec.info.min_frames] if codec.info.causal else [frames] * 3
    batch = np.stack([tokens[:, start : start + frames] for start in (0, 40, 80)])
    sent = {"tokens": batch, "tokens_len": np.array(lengths, dtype=np.int64)[:, None]}
    (together,) = raw.results([(f"{codec.name}_decode", sent)], "audio")
    worst = float("inf")
    for row, length, audio in zip(batch, lengths, together, strict=True):
        alone = np.zeros_like(audio)
        alone[: length * codec.info.samples_per_frame] = codec.decode(row[:, :length])
        worst = min(worst, snr_db(alone, audio))
    how = f"rows of {', '.join(map(str, lengths))} frames in one batch, the worst row"
    return _decibels(codec.name, "batch_vs_single", worst, how)


def _long_rows(codec: Codec, raw: Transport, speech: NDArray[np.float32]) -> list[Row]:
    """Long input, which the client sends in pieces, against one request with all of it."""
    audio = np.resize(speech, _LONG_S * codec.info.sample_rate_hz)
    whole = {"audio": audio[None], "audio_len": np.array([[len(audio)]])}
    (tokens,) = raw.results([(f"{codec.name}_encode", whole)], "tokens")
    share = differing_share(tokens[0], codec.encode(audio, codec.info.sample_rate_hz))
    (decoded,) = raw.results(
        [(f"{codec.name}_decode", {"tokens": tokens, "tokens_len": np.array([[tokens.shape[2]]])})], "audio"
    )
    value = snr_db(decoded[0], codec.decode(tokens[0]))
    how = f"{_LONG_S} s in pieces against one request"
    return [
        Row(codec.name, "encode_long_vs_whole", share, "share", "0", share == 0, how),
        _decibels(codec.name, "decode_long_vs_whole", value, how),
    ]


def _decibels(codec: str, check: str, value: float, how: str) -> Row:
    return Row(codec, check, value, "dB", f">= {_TARGET_DB:.0f}", value >= _TARGET_DB, how)


if __name__ == "__main__":
    sys.exit(main())
