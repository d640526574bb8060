"""How nodes speak to each other: gRPC over mutual TLS on the swarm port."""
