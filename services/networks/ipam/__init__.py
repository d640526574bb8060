"""Addresses: the pools of subnets, what a client asks of a network, which ones are free."""
