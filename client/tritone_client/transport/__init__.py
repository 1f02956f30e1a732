"""Requests to a server, by gRPC."""
