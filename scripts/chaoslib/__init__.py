"""Chaos: clients that record what they were told, a nemesis, and a verdict over both."""
