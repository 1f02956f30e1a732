"""Geometries of networks, parsed from the configurations beside their weights."""
