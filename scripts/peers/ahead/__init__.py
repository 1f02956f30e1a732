"""Other implementations of codecs that look ahead."""
