"""What DAC, SNAC and Higgs Audio v2 share: DAC's encoder and decoder, and a factorized quantizer."""

from collections.abc import Mapping

from torch import Tensor, nn

from tritone_build.codecs.base import Geometry
from tritone_build.codecs.names.factorized import CONVOLUTIONS, from_published, to_published
from tritone_build.codecs.strict import check_strictly
from tritone_build.layers.ahead.dac import DacConfig, late
from tritone_build.layers.quantizers.factorized import FactorizedQuantizer

__all__ = ["PublishedNetwork", "geometry_of", "give_weights"]


class PublishedNetwork(nn.Module):
    """A network that knows its tensors by their published names, with weight norm folded.

    ``BOOKS`` is the path of the factorized quantizer, ``BOOK_NAMES`` are the published names of its tensors.
    """

    BOOKS = "quantizer"
    BOOK_NAMES: Mapping[str, str] = CONVOLUTIONS

    def own_names(self) -> Mapping[str, str]:
        """Published names of all parameters but the factorized quantizer's, and their names here."""
        raise NotImplementedError

    def published(self) -> dict[str, Tensor]:
        """Tensors by their published names; without data on the meta device."""
        tensors = {there: self.get_parameter(here) for there, here in self.own_names().items()}
        return tensors | to_published(self._books(), self.BOOK_NAMES)

    def assign(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the tensors of :meth:`published`; those in FP32 are not copied."""
        state = {here: tensors[there].float() for there, here in self.own_names().items()}
        books = from_published(tensors, self._books(), self.BOOK_NAMES)
        self.load_state_dict(
            state | {f"{self.BOOKS}.{name}": each for name, each in books.items()}, assign=True
        )

    def _books(self) -> FactorizedQuantizer:
        books = self.get_submodule(self.BOOKS)
        assert isinstance(books, FactorizedQuantizer)
        return books


def give_weights(
    network: PublishedNetwork, tensors: Mapping[str, Tensor], constants: Mapping[str, Tensor], source: str
) -> None:
    """Give a network on the meta device its weights, strictly: see :mod:`tritone_build.codecs.strict`."""
    expected = {name: tensor.shape for name, tensor in network.published().items()}
    check_strictly(expected, constants, tensors, source)
    network.assign(tensors)


def geometry_of(
    network: DacConfig, sample_rate_hz: int, rows: int, codebook_size: int, fewest_rows: int = 1
) -> Geometry:
    """The facts of a codec with these networks and ``rows`` tokens in a frame."""
    lateness = late(network)
    return Geometry(
        sample_rate_hz=sample_rate_hz,
        samples_per_frame=network.hop,
        num_channels=1,
        num_codebooks=rows,
        min_codebooks=fewest_rows,
        default_codebooks=rows,
        codebook_size=codebook_size,
        latent_dim=network.latent_rate * network.latent_dim,
        causal=False,
        encode_causal=False,
        min_frames=1,
        lookaround_frames=lateness.decoder_reach,
        encode_lookaround_frames=lateness.encoder_reach,
        delay_samples=lateness.decoder_samples,
        encode_delay_frames=lateness.encoder_frames,
        short_samples=lateness.short_samples,
        position_frames=network.noise_frames,
    )
