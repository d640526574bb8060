"""A cluster without I/O: the leader's rules over a store in memory, agents that run nothing, and a
clock that is turned by hand. For tests and for scripts/simulate-cluster."""
