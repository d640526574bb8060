"""The supervision runtime, and the daemon that runs on it."""
