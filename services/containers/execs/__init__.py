"""Execs: further processes in running containers, from their making to their end."""
