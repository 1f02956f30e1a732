"""How far FP32 rounding alone moves a codec's sound: the limit of whatever compares streams with wholes.

A network amplifies the rounding of its layers. How much depends on its weights and on the tokens: little on
speech, a thousandfold on loud noise. The measure is the authors' own network: how far its sound of the same
tokens in FP32 is from FP64. A stream may be :data:`MARGIN_DB` further from its whole.
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
"""Whole and stream are two more results in FP32, and a stream sums in another order. The worst of 70 random
inputs lost 5 dB, and 8 dB in one frame; the authors' own, alone and in a batch, are up to 5 dB apart. Another
stream's frames are near 0 dB; streams that lost their past are below 60."""

_measured: dict[tuple[str, bytes], Limit] = {}


def limit_of(client: Codec, tokens: NDArray[np.int64]) -> Limit:
    """The limit of a served codec's streams of these tokens [K, T], also in another order.

    Measured once per checkpoint and tokens, which takes seconds to a minute.

    Raises:
        PrepareError: the checkpoint that the server's models were built from is not here.
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
    """The limit for tokens [K, T], from the authors' network and ours with the same weights.

    The FP64 side is ours: some of the authors' networks compute parts in FP32 whatever they are given.
    """
    batch = torch.tensor(tokens)[None]
    latent = codec.quantizer.dequantize(batch).double()
    exact = whole(copy.deepcopy(codec.decoder).double(), latent)[0].numpy()
    theirs = reference.decode(batch)[0].numpy()
    worst = float(frames_db(exact, theirs, codec.geometry.samples_per_frame).min())
    return Limit(snr_db(exact, theirs) - MARGIN_DB, worst - MARGIN_DB)
