"""Flags and daemon.json, what they decide, and what of it is in force."""
