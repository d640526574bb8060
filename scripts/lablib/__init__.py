"""Several engines on one machine, each as on a host of its own, joined by a bridge."""
