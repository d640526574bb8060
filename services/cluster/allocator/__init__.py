"""Addresses and ports: what networks, services and tasks are given before they have a node."""

from .allocator import Allocator as Allocator
