"""Health checks: the probes, what they say of a container, and when they are due."""
