"""Time every codec beside its peers, in the same run."""
