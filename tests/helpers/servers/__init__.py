"""Helpers for tests of servers: clients of their own, processes, and servers that lie."""
