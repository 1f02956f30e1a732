"""The backend ``tritone``: between Triton's Python backend and the runtime."""
