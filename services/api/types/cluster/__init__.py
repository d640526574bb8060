"""Swarm mode on the wire. Imported by the routes of a node that is in a swarm, and not before."""
