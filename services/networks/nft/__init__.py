"""nftables: scripts run in a helper process, changes by others seen, listings compared."""
