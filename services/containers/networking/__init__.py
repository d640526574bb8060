"""Containers in networks: their settings, connections, links, names, and files for resolvers."""
