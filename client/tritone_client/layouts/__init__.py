"""Token layouts: from the ids that a language model writes to the tokens of its codec, and back.

>>> from tritone_client.layouts import ORPHEUS
>>> ORPHEUS.frames([128266, 132363, 136460, 140557, 144654, 148751, 152848, 128258]).T.tolist()
[[0, 1, 4, 2, 3, 5, 6]]

A layout describes one model. :meth:`Layout.frames` takes all ids of an utterance. :meth:`Layout.assembler`
takes them as the model writes them. :meth:`Layout.ids` is the way back. Nothing here needs a server.
"""

from tritone_client.layouts.base import FrameAssembler, Layout
from tritone_client.layouts.delays import DIA, HIGGS, PARLER, ZONOS, DelayLayout
from tritone_client.layouts.flat import KANITTS, ORPHEUS, FlatLayout
from tritone_client.layouts.snac import codebooks_of_tokens, tokens_of_codebooks
from tritone_client.layouts.steps import CSM, EASY_MAGPIE, QWEN3_TTS, StepLayout

__all__ = [
    "CSM",
    "DIA",
    "EASY_MAGPIE",
    "HIGGS",
    "KANITTS",
    "ORPHEUS",
    "PARLER",
    "QWEN3_TTS",
    "ZONOS",
    "DelayLayout",
    "FlatLayout",
    "FrameAssembler",
    "Layout",
    "StepLayout",
    "codebooks_of_tokens",
    "tokens_of_codebooks",
]
