"""Executors, which run a graph, and the devices they run on."""
