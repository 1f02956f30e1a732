"""A model of Triton that speaks with a codec of the same server."""
