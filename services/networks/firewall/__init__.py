"""The one nftables table that is ours, and what other tools have beside it."""
