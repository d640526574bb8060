"""What clients ask of the cluster: looked up in a snapshot, checked, committed to the store."""
