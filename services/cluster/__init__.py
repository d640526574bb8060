"""Swarm mode: one cluster of engines, on etcd. Nothing of it is imported before `swarm init`."""
