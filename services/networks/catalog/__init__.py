"""The networks that there are: in memory, on disk, and on the host."""
