"""Finds codecs that are part of another model, by the names of their tensors."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tritone_build.codecs.base import Family

__all__ = ["codec_prefixes", "has_signature"]


def codec_prefixes(names: Iterable[str], families: Sequence[Family]) -> list[str]:
    """Return the prefixes of all codecs among tensors of these names, sorted.

    Args:
        names: names of all tensors of a checkpoint, such as ``codec_model.quantizer.output_proj.weight``.
        families: families whose codecs are looked for.

    Returns:
        Prefixes without the last dot; an empty string for a codec that is not part of another model.
    """
    begun: dict[str, set[str]] = defaultdict(set)
    beginnings = {beginning for family in families for beginning in family.SIGNATURE}
    for name in names:
        for beginning in beginnings:
            before, found, _ = f".{name}".partition(f".{beginning}")
            if found:
                begun[before.removeprefix(".")].add(beginning)
    return sorted(
        prefix
        for prefix, there in begun.items()
        if any(there.issuperset(family.SIGNATURE) for family in families)
    )


def has_signature(names: Iterable[str], signature: Sequence[str]) -> bool:
    """Whether each beginning in ``signature`` begins a name, as in a codec that is on its own."""
    begun = {beginning for name in names for beginning in signature if name.startswith(beginning)}
    return begun.issuperset(signature)
