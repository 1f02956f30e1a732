"""Measure codecs on a GPU: steps of live streams, precision, state, and a server under load."""
