"""What nodes are told and what they tell: sessions, assignments, task states, logs."""
