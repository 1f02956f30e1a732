"""How close our sound and tokens are to the reference, and streams to the whole."""
