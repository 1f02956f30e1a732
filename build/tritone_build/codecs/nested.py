"""Codecs that are part of another model: which of its tensors are a codec's."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tritone_build.codecs.base import Family

__all__ = ["codec_prefixes"]


def codec_prefixes(names: Iterable[str], families: Sequence[Family]) -> list[str]:
    """What the names of a codec's tensors begin with, for every codec among them, sorted.

    Args:
        names: of all tensors of a checkpoint, as ``codec_model.quantizer.output_proj.weight``.
        families: whose codecs are looked for.

    Returns:
        Prefixes without their last dot; empty for a codec that is no part of anything.
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
