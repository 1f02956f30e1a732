"""The codec families, one module each, and the functions that load a codec of any family.

A family is a module with the members of :class:`tritone_build.codecs.base.Family`.
"""

import re
from pathlib import Path

import torch

from tritone_build.checkpoints.checkpoint import Checkpoint, checkpoint_part, open_checkpoint
from tritone_build.codecs import dac, higgs_v2, mimi, moss, nemo, qwen3_tts, snac, spectral
from tritone_build.codecs.base import Codec, Family, Variant
from tritone_build.codecs.nested import codec_prefixes
from tritone_build.errors import CheckpointError, UnknownCodecError

__all__ = [
    "FAMILIES",
    "VARIANTS",
    "codec_within",
    "family_of",
    "load_codec",
    "open_published",
    "outline_of",
    "shallow_variants",
    "variant",
]

FAMILIES: tuple[Family, ...] = (nemo, mimi, moss, qwen3_tts, snac, dac, higgs_v2, spectral)
VARIANTS = {variant.name: variant for family in FAMILIES for variant in family.VARIANTS}


def variant(name: str) -> Variant:
    """Return the published variant of that name; UnknownCodecError lists the known names."""
    if name not in VARIANTS:
        raise UnknownCodecError(name, list(VARIANTS))
    return VARIANTS[name]


def shallow_variants() -> dict[str, Variant]:
    """Return, by name, codecs with fewer layers than a published one; no checkpoints exist for them."""
    return {
        f"{name}_shallow": Variant(f"{name}_shallow", "", each.shallow)
        for name, each in VARIANTS.items()
        if each.shallow is not None
    }


def open_published(source: str, revision: str | None = None) -> Checkpoint:
    """Open a checkpoint; for a published codec, at its pinned revision and with its hash checked.

    Args:
        source: name of a published codec, path, or hub id.
        revision: commit or branch on the hub instead of the pinned one; then the hash is not checked.

    Raises:
        CheckpointError: as for :func:`open_checkpoint`, or the hash is not the published one.
    """
    found = [each for each in VARIANTS.values() if source in (each.name, each.source)]
    if not found or Path(source).exists():
        return open_checkpoint(source, revision)
    published = found[0]
    checkpoint = open_checkpoint(published.source, revision or published.revision)
    if revision is None and published.sha256 not in (None, checkpoint.sha256):
        raise CheckpointError(
            f"{published.source}: SHA-256 is {checkpoint.sha256}, expected {published.sha256}; fetch it again"
        )
    return checkpoint


def codec_within(checkpoint: Checkpoint) -> Checkpoint:
    """Return the codec in a checkpoint of a larger model; any other checkpoint is returned as it is.

    Raises:
        CheckpointError: it contains several codecs; the message says how to choose one.
    """
    prefixes = codec_prefixes(checkpoint.tensors, FAMILIES)
    if not prefixes or "" in prefixes:
        return checkpoint
    if len(prefixes) > 1:
        raise CheckpointError(
            f"{checkpoint.source}: holds {len(prefixes)} codecs, whose tensors' names begin with "
            f"{', '.join(f'{prefix}.' for prefix in prefixes)}; choose one by its prefix: "
            f"{checkpoint.source}{'.' if checkpoint.prefix else '#'}{prefixes[0]}"
        )
    return checkpoint_part(checkpoint, prefixes[0])


def family_of(checkpoint: Checkpoint) -> Family:
    """Return the family of a checkpoint, supported or not; CheckpointError if no family knows it."""
    for family in FAMILIES:
        if family.recognises(checkpoint):
            return family
    raise CheckpointError(
        f"{checkpoint.source}: a checkpoint of no known codec; the sections of its configuration: "
        f"{sorted(checkpoint.config)}"
    )


def outline_of(published: Variant) -> Codec:
    """Return a published codec without weights, on the meta device, for its geometry and shapes."""
    family = family_of(Checkpoint(published.name, "", published.config, {}, ""))
    with torch.device("meta"):
        return family.outline(published.name, published.config)


def load_codec(checkpoint: Checkpoint, name: str | None = None) -> Codec:
    """Load a codec from a checkpoint of any family, strictly; also from a model that contains one codec.

    Args:
        checkpoint: the result of :func:`tritone_build.checkpoints.checkpoint.open_checkpoint`.
        name: name of the codec, and of its models. The name of a published variant is reserved for
            checkpoints of its geometry, and is their default.

    Raises:
        CheckpointError: the checkpoint is of no known family, contains several codecs, has another
            geometry than the named codec, or is damaged.
        UnsupportedNetworkError: the family is known, an option of the network is not implemented.
    """
    checkpoint = codec_within(checkpoint)
    family = family_of(checkpoint)
    published = family.variant_of(checkpoint)
    name = name or published
    if name is None:
        raise CheckpointError(
            f"{checkpoint.source}: its geometry is not a published one; name the codec yourself"
        )
    if name in VARIANTS and name != published:
        raise CheckpointError(
            f"{checkpoint.source}: the checkpoint is of {published or 'an unpublished geometry'}, "
            f"not of {name}; "
            f"use the name {published or 'of your choice'}, or give a checkpoint of {name}"
        )
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise CheckpointError(f"{name!r} cannot name a codec; use lower-case letters, digits and underscores")
    return family.load(name, checkpoint)
