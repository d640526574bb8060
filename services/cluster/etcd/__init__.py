"""etcd: our own member as a process, and a client of it. Its messages do not leave this package."""
