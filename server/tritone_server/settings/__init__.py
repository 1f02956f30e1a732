"""How a server is run: ports, addresses, certificates, traces, and which endpoints answer clients."""
