"""Run other implementations of the codecs, with the same weights as ours."""

from typing import Protocol

from torch import Tensor

from scripts.peers import moshi, nemo, openmoss, qwen_tts, transformers_mimi
from scripts.peers.ahead import descript, higgs, snac, transformers_dac
from scripts.peers.layouts import all_layouts
from tritone_build.checkpoints.checkpoint import Checkpoint

__all__ = ["Reference", "reference_of", "references_of"]

_PEERS = {
    "nemo": nemo,
    "moshi": moshi,
    "transformers": transformers_mimi,
    "openmoss": openmoss,
    "qwen-tts": qwen_tts,
    "descript-audio-codec": descript,
    "snac": snac,
    "transformers DAC": transformers_dac,
    "transformers Higgs Audio": higgs,
}


class Reference(Protocol):
    """An implementation of a codec other than ours, usually by its authors.

    Audio [B, S] is [B, C, S] for a codec of several channels.
    """

    def encode(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio FP32 [B, S] -> tokens [B, K, T]; K is the implementation's default unless given."""
        ...

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, T] -> audio FP32 [B, T * hop]."""
        ...

    def network(self, latent: Tensor) -> Tensor:
        """Decoder network alone: latent FP32 [B, D, T] -> audio FP32 [B, T * hop]."""
        ...

    def rounding_margin(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """The margin by which each token was chosen, FP32 [B, K, T]; zero is a tie.

        For scalar quantizers it is the distance to the nearest rounding edge, in levels; for residual ones
        the gap between the squared distances of the two nearest codes, relative to the larger one.
        """
        ...


def reference_of(checkpoint: Checkpoint) -> Reference:
    """The authors' network with these weights; its wheel is fetched on first use.

    Raises:
        LookupError: no implementation recognizes these tensors.
    """
    for peer in _PEERS.values():
        if peer.recognises(checkpoint):
            made: Reference = peer.reference(checkpoint)
            return made
    raise LookupError(
        f"no implementation in scripts/peers recognizes {checkpoint.source}; "
        f"its first tensors are {', '.join(sorted(checkpoint.tensors)[:3])}"
    )


def references_of(checkpoint: Checkpoint) -> dict[str, Reference]:
    """Every implementation of this network by package, each with the weights in the layout that it reads."""
    made: dict[str, Reference] = {}
    for each in all_layouts(checkpoint):
        made |= {name: peer.reference(each) for name, peer in _PEERS.items() if peer.recognises(each)}
    return {name: made[name] for name in _PEERS if name in made}
