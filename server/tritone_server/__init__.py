"""A Triton server that runs models with ``tritone_runtime``: launcher, backend and test requests."""
