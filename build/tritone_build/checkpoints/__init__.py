"""Checkpoints in their published formats."""
