"""The Engine API's operations, one module for each tag of its definition."""
