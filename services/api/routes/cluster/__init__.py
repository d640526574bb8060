"""What carries out the operations of swarm mode; imported by `ClusterModules` only."""
