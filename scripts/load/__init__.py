"""Measure how many live streams a server serves in real time, and how it behaves under load."""
