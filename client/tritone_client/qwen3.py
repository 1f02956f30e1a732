"""The decoder of :mod:`tritone_client.adapters.qwen3`, under a shorter name."""

from tritone_client.adapters.qwen3 import (
    END_OF_SPEECH,
    Qwen3TokenizerDecoder,
    Qwen3TokenizerStream,
    frames_of_payload,
)

__all__ = ["END_OF_SPEECH", "Qwen3TokenizerDecoder", "Qwen3TokenizerStream", "frames_of_payload"]
