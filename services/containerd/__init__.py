"""containerd: our own process, the connection to it, and a client for each service in use.

Nothing of gRPC, protobuf or asyncio leaves this package.
"""
