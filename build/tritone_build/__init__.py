"""Builds the models that Triton serves from a codec's published checkpoint."""

__version__ = "0.1.0"
