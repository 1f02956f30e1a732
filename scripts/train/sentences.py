"""Sentences for the synthesizers, generated from the patterns and words in sentence_grammar.yaml."""

import random
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

__all__ = ["HELD_OUT_SEED", "TRAINING_SEED", "sentences"]

TRAINING_SEED, HELD_OUT_SEED = 0, 1

_WORDS = Path(__file__).with_name("sentence_grammar.yaml")


@cache
def _grammar() -> tuple[list[str], dict[str, list[str]]]:
    content: dict[str, Any] = yaml.safe_load(_WORDS.read_text())
    return content["patterns"], {
        kind: [str(word) for word in words] for kind, words in content["words"].items()
    }


def sentences(count: int, seed: int) -> list[str]:
    """``count`` different sentences; the same seed always gives the same sentences in the same order."""
    patterns, words = _grammar()
    draw = random.Random(seed)  # noqa: S311 - nothing here is secret
    made: dict[str, None] = {}
    while len(made) < count:
        text = re.sub(r"\{(\w+)\}", lambda slot: draw.choice(words[slot[1]]), draw.choice(patterns))
        made[text[0].upper() + text[1:]] = None
    return list(made)
