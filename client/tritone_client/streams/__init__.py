"""Live streams: input checks, chunks and windows, sessions, failover and replay."""
