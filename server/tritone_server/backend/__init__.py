"""The backend ``tritone``, which connects Triton's Python backend with the runtime."""
