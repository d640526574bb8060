"""Processes of ours beside the engine: how they are started, spoken to, and seen to end."""
