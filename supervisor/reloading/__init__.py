"""Reading the configuration again: what a change takes, and carrying it out as one transaction."""
