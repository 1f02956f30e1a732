"""Layers that look ahead, see :mod:`tritone_build.timeline`."""
