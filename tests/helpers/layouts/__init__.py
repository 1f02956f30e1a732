"""Tokens and ids of language models, drawn and cut."""
