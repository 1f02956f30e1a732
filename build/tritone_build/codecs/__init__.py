"""The codec families, one module each, and the one way to load a codec of any of them.

A family is a module with the members of :class:`tritone_build.codecs.base.Family`.
"""

import re
from pathlib import Path

import torch

from tritone_build.checkpoints.checkpoint import Checkpoint, narrowed, open_checkpoint
from tritone_build.codecs import mimi, moss, nemo
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

FAMILIES: tuple[Family, ...] = (nemo, mimi, moss)
VARIANTS = {variant.name: variant for family in FAMILIES for variant in family.VARIANTS}


def variant(name: str) -> Variant:
    """The published variant of that name; UnknownCodecError lists the names there are."""
    if name not in VARIANTS:
        raise UnknownCodecError(name, list(VARIANTS))
    return VARIANTS[name]


def shallow_variants() -> dict[str, Variant]:
    """Codecs with fewer layers than a published one, by name: not to be had as checkpoints."""
    return {
        f"{name}_shallow": Variant(f"{name}_shallow", "", each.shallow)
        for name, each in VARIANTS.items()
        if each.shallow is not None
    }


def open_published(source: str, revision: str | None = None) -> Checkpoint:
    """Open a checkpoint; the name or hub id of a published codec means its pinned revision and hash.

    Args:
        source: name of a published codec, path, or hub id.
        revision: commit or branch on the hub instead of the pinned one; the hash is not checked then.

    Raises:
        CheckpointError: as :func:`open_checkpoint`, or the hash is not the published one.
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
    """The codec in a checkpoint of a model that contains one; the checkpoint itself where it is a codec's.

    Raises:
        CheckpointError: it contains several; names their prefixes, and how to choose one.
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
    return narrowed(checkpoint, prefixes[0])


def family_of(checkpoint: Checkpoint) -> Family:
    """The family a checkpoint is of, supported or not; CheckpointError where there is none."""
    for family in FAMILIES:
        if family.recognises(checkpoint):
            return family
    raise CheckpointError(
        f"{checkpoint.source}: a checkpoint of no known codec; its configuration has "
        f"{sorted(checkpoint.config)}"
    )


def outline_of(published: Variant) -> Codec:
    """A published codec without weights, on the meta device: its geometry, and the shapes of its models."""
    family = family_of(Checkpoint(published.name, "", published.config, {}, ""))
    with torch.device("meta"):
        return family.outline(published.name, published.config)


def load_codec(checkpoint: Checkpoint, name: str | None = None) -> Codec:
    """Load a checkpoint of any family, strictly; of another model, the one codec that it contains.

    Args:
        checkpoint: what :func:`tritone_build.checkpoints.checkpoint.open_checkpoint` read.
        name: what the models shall be called; a published variant's name is kept for checkpoints
            of its geometry, and is the default for them.

    Raises:
        CheckpointError: of no known family, of several codecs, of another than named, or damaged.
        UnsupportedNetworkError: of a known family, with an option that is not implemented.
    """
    checkpoint = codec_within(checkpoint)
    family = family_of(checkpoint)
    published = family.variant_of(checkpoint)
    name = name or published
    if name is None:
        raise CheckpointError(f"{checkpoint.source}: not of a published geometry; name the codec yourself")
    if name in VARIANTS and name != published:
        raise CheckpointError(
            f"{checkpoint.source}: the checkpoint is of {published or 'an unpublished geometry'}, "
            f"not of {name}; "
            f"call it {published or 'by a name of your own'} or give the checkpoint of {name}"
        )
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise CheckpointError(f"{name!r} cannot name a codec; use lower-case letters, digits and underscores")
    return family.load(name, checkpoint)
