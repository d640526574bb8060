"""Chaos for a swarm: clients that record what its managers told them, a nemesis, and a verdict."""
