"""From a codec's published checkpoint to the models that Triton serves."""

__version__ = "0.1.0"
