"""What is asked of the kernel: netlink, namespaces, what the host has of links and flows."""
