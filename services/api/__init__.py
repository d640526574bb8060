"""The HTTP face: listeners, the server, and the app around the Docker API's routes."""
