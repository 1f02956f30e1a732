"""Real-time load on a server."""
