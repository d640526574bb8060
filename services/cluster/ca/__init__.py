"""Who is who in a cluster: its authority, nodes' certificates, join tokens, keys that lock it."""
