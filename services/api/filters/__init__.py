"""What the `filters` of queries mean, as the services' values."""
