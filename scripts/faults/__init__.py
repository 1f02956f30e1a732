"""Servers killed, paused and attacked under live streams."""
