"""Containers in networks: their namespaces, links, addresses, and ports."""
