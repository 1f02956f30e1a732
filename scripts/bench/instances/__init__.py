"""Requests per second by the number of processes of a model."""
