"""Runs of containers: launched, followed to their end, recorded, and what each holds meanwhile."""
