"""The sockets that the API is served on: which, how they are opened, and their TLS."""
