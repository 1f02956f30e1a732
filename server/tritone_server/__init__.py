"""The real Triton server around the runtime: launcher, backend, smoke test."""
