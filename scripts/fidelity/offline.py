"""Offline results: against the authors' networks, in batches, and in several requests."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from scripts.common.prepare import default_checkpoint
from scripts.common.report import Row
from scripts.fidelity.case import Case, Direction, decibels
from scripts.peers import Reference, references_of
from tritone_build.checkpoints.checkpoint import Checkpoint, open_checkpoint
from tritone_build.codecs import load_codec
from tritone_build.state import whole
from tritone_runtime.fidelity import differing_share, snr_db

__all__ = ["offline_rows", "reference_rows"]

_MAX_TIE_MARGIN = 1e-4
"""A token may differ if the reference chose it by a smaller margin than this."""
_BATCH_FRAMES = 40


def reference_rows(case: Case) -> list[Row]:
    """Both directions against every other implementation, and all of them against FP64."""
    info, seconds = case.codec.info, case.durations.reference
    checkpoint = open_checkpoint(default_checkpoint(case.name))
    references = references_of(checkpoint)
    audio = case.audio(seconds)[..., : -info.encode_samples_per_frame // 3]
    rows = []
    for books in sorted({info.default_codebooks, info.num_codebooks}):
        tokens = case.codec.encode(audio, info.encode_sample_rate_hz, books)
        decoded = case.codec.decode(tokens)
        for name, reference in references.items():
            rows.append(_encode_row(case, name, reference, audio, tokens))
            value = snr_db(reference.decode(torch.tensor(tokens)[None])[0].numpy(), decoded)
            how = f"{name}, {books} codebooks, {tokens.shape[1]} frames, {decoded.shape[-1]} samples each"
            rows.append(decibels(case, "decode_vs_reference", value, how))
    return rows + _exact_rows(case, checkpoint, references)


def _encode_row(
    case: Case, name: str, reference: Reference, audio: NDArray[np.float32], tokens: NDArray[np.int64]
) -> Row:
    samples, info = torch.tensor(audio)[None], case.codec.info
    books = len(tokens) if info.min_codebooks < info.num_codebooks else None
    theirs = reference.encode(samples, books)[0].numpy()
    differs, share = theirs != tokens, differing_share(theirs, tokens)
    how = f"{name}, {len(tokens)} codebooks, {audio.shape[-1] / info.encode_sample_rate_hz:.1f} s of speech, "
    how += f"{tokens.shape[1]} frames, last one partial"
    if books is not None:  # after a token that differs, the finer codebooks of its frame differ as well
        differs &= np.cumsum(differs, axis=0) == 1
    widest = 0.0
    if share:
        widest = float(reference.rounding_margin(samples, books)[0].numpy()[differs].max())
        how += f"; {differs.sum()} decided by less than {widest:.1e} " + (
            "of a level" if books is None else "of the distance"
        )
    return Row(case.name, "encode_vs_reference", share, "share", "0, or ties", widest < _MAX_TIE_MARGIN, how)


def _exact_rows(case: Case, checkpoint: Checkpoint, references: Mapping[str, Reference]) -> list[Row]:
    """Distance of every implementation from our decoder in double precision; without a target."""
    tokens = Direction(case, "decode").input_frames(0, case.frames(case.durations.exact))
    batch, ours = torch.tensor(tokens)[None], load_codec(checkpoint, case.name)
    with torch.no_grad():
        exact = whole(ours.decoder.double(), ours.quantizer.dequantize(batch).double())[0].numpy()
    sounds = {"ours": case.codec.decode(tokens)}
    sounds |= {name: reference.decode(batch)[0].numpy() for name, reference in references.items()}
    how = f"{tokens.shape[1]} frames against our decoder in double precision"
    return [
        Row(case.name, "decode_vs_exact", snr_db(exact, sound), "dB", "none", True, f"{name}, {how}")
        for name, sound in sounds.items()
    ]


def offline_rows(case: Case) -> list[Row]:
    """Batching, and cutting a long input into several requests, must not change the result."""
    return [_batch_row(case), *_long_rows(case)]


def _batch_row(case: Case) -> Row:
    """A batch through Triton against each of its rows alone; samples after a row's end must be zero."""
    info, tokens, frames = case.codec.info, case.tokens, _BATCH_FRAMES
    unequal = case.codec.stream_info is not None
    lengths = [frames, 23, info.min_frames] if unequal else [frames] * 3
    batch = np.stack([tokens[:, start : start + frames] for start in (0, 40, 80)])
    sent = {"tokens": batch, "tokens_len": np.array(lengths, dtype=np.int64)[:, None]}
    (batched,) = case.raw.results([(f"{case.name}_decode", sent)], "audio")
    worst = float("inf")
    for row, length, audio in zip(batch, lengths, batched, strict=True):
        alone = np.zeros_like(audio)
        heard = case.codec.decode(row[:, :length])
        alone[..., : heard.shape[-1]] = heard
        worst = min(worst, snr_db(alone, audio))
    how = f"rows of {', '.join(map(str, lengths))} frames in one batch, the worst row"
    return decibels(case, "batch_vs_single", worst, how)


def _long_rows(case: Case) -> list[Row]:
    """Long input, which the client sends in pieces, against a single request."""
    info, seconds = case.codec.info, case.durations.pieces
    audio = case.audio(seconds)
    tokens = Direction(case, "encode").offline(audio)
    share = differing_share(tokens, case.codec.encode(audio, info.encode_sample_rate_hz))
    value = snr_db(Direction(case, "decode").offline(tokens), case.codec.decode(tokens))
    how = f"{seconds:g} s in pieces against one request"
    return [
        Row(case.name, "encode_long_vs_whole", share, "share", "0", share == 0, how),
        decibels(case, "decode_long_vs_whole", value, how),
    ]
