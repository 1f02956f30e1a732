"""The layers of the codecs; axes are B batch, C channels, T time, K codebooks, S samples."""
