"""Quantizers: between a latent and tokens."""
