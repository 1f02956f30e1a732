"""The command ``tritone``."""
