"""Other people's implementations, run beside ours with the same weights."""

from typing import Protocol

from torch import Tensor

from scripts.peers import moshi, nemo, openmoss, transformers_mimi
from scripts.peers.layouts import all_layouts
from tritone_build.checkpoints.checkpoint import Checkpoint

__all__ = ["Reference", "reference_of", "references_of"]

_PEERS = {"nemo": nemo, "moshi": moshi, "transformers": transformers_mimi, "openmoss": openmoss}


class Reference(Protocol):
    """A codec's own authors' implementation."""

    def encode(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio FP32 [B, S] -> tokens [B, K, T]; K is the implementation's choice unless told."""
        ...

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, K, T] -> audio FP32 [B, T * hop]."""
        ...

    def network(self, latent: Tensor) -> Tensor:
        """Decoder network alone: latent FP32 [B, D, T] -> audio FP32 [B, T * hop]."""
        ...

    def rounding_margin(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """How clearly each token was decided, FP32 [B, K, T]; zero is a tie.

        Scalar quantizers give the distance to the nearest rounding edge, in levels; residual ones
        the gap between the two nearest codes, relative to the second's squared distance.
        """
        ...


def reference_of(checkpoint: Checkpoint) -> Reference:
    """The authors' network with these weights; its wheel is fetched on first use.

    Raises:
        LookupError: no peer knows these tensors.
    """
    for peer in _PEERS.values():
        if peer.recognises(checkpoint):
            made: Reference = peer.reference(checkpoint)
            return made
    raise LookupError(
        f"no peer implements {checkpoint.source}; its tensors start {sorted(checkpoint.tensors)[:3]}"
    )


def references_of(checkpoint: Checkpoint) -> dict[str, Reference]:
    """Every implementation of this network, by package, with weights in the layout that it reads."""
    made: dict[str, Reference] = {}
    for each in all_layouts(checkpoint):
        made |= {name: peer.reference(each) for name, peer in _PEERS.items() if peer.recognises(each)}
    return {name: made[name] for name in _PEERS if name in made}
