"""gRPC for trio: connections to servers, calls and streams on them, errors in our own classes.

grpclib is written for asyncio; that loop, and grpclib itself, stay below what this package offers.
A user of it names its peer, its table of errors and its methods.
"""
