"""What a start of the daemon finds, and what keeps records true afterwards."""
