"""Compare our audio and tokens with the authors' implementation, and streams with offline results."""
