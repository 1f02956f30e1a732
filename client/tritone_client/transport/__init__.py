"""Requests to models: on a server by gRPC, for threads and for asyncio, or in this process."""
