"""Formats of audio that callers get and give: sample rates and types of samples."""
