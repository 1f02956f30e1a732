"""How far FP32 rounding alone changes a codec's audio: the limit for comparing a stream with the whole.

A network amplifies the rounding of its layers. How much depends on its weights and on the tokens: little on
speech, a thousandfold on loud noise. The authors' own network is the measure: the distance of its FP32 audio
from FP64, for the same tokens. A stream may be :data:`MARGIN_DB` further from the whole than that.
"""

import copy
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from scripts.common.prepare import checkpoint_behind
from scripts.peers import Reference, reference_of
from tritone_build.codecs import base, load_codec
from tritone_build.state import whole
from tritone_client import Codec
from tritone_runtime.fidelity import snr_db
from tritone_server.stream_check import Limit, frames_db

__all__ = ["MARGIN_DB", "limit_of", "measured_limit"]

MARGIN_DB = 15.0
"""Allowance in dB: the whole and the stream are two more FP32 results, and a stream sums in another order.

The worst of 70 random inputs lost 5 dB, and 8 dB in one frame; the authors' network, alone and in a batch,
differs from itself by up to 5 dB. Frames of another stream are near 0 dB; a stream that lost its past is
below 60 dB."""

_measured: dict[tuple[str, bytes], Limit] = {}


def limit_of(client: Codec, tokens: NDArray[np.int64]) -> Limit:
    """The limit for a served codec's streams of tokens [K, T]; it also holds for the tokens reordered.

    It is measured once per checkpoint and tokens, which takes seconds to a minute.

    Raises:
        PrepareError: the checkpoint that the server's models were built from is not on this machine.
    """
    sha256 = client.info.checkpoint_sha256
    key = sha256, np.ascontiguousarray(tokens).tobytes()
    if key not in _measured:
        _measured[key] = measured_limit(*_networks(client.name, sha256), tokens)
    return _measured[key]


@lru_cache(maxsize=1)
def _networks(name: str, sha256: str) -> tuple[Reference, base.Codec]:
    checkpoint = checkpoint_behind(name, sha256)
    return reference_of(checkpoint), load_codec(checkpoint, name)


@torch.no_grad()
def measured_limit(reference: Reference, codec: base.Codec, tokens: NDArray[np.int64]) -> Limit:
    """The limit for tokens [K, T], from the authors' network in FP32 and ours in FP64, with the same weights.

    Ours is the FP64 side because some of the authors' networks always compute parts in FP32.
    """
    batch = torch.tensor(tokens)[None]
    latent = codec.quantizer.dequantize(batch).double()
    exact = whole(copy.deepcopy(codec.decoder).double(), latent)[0].numpy()
    theirs = reference.decode(batch)[0].numpy()
    worst = float(frames_db(exact, theirs, codec.geometry.samples_per_frame).min())
    return Limit(snr_db(exact, theirs) - MARGIN_DB, worst - MARGIN_DB)
