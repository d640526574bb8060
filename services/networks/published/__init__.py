"""Published ports: planned, reserved on the host, led by the kernel or by the proxy."""
