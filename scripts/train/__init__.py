"""Train nanocodec_mini, the codec whose weights are in this repository."""
