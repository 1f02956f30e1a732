"""The decoder of :mod:`tritone_client.adapters.orpheus`, under a shorter name."""

from tritone_client.adapters.orpheus import (
    convert_to_audio,
    ids_of_text,
    tokens_decoder,
    tokens_decoder_sync,
    turn_token_into_id,
)

__all__ = ["convert_to_audio", "ids_of_text", "tokens_decoder", "tokens_decoder_sync", "turn_token_into_id"]
