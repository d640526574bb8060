"""A node's part of the cluster: it runs the tasks that the managers give it."""
