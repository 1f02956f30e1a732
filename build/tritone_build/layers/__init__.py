"""The layers codecs are made of; axes are B batch, C channels, T time, K codebooks, S samples."""
