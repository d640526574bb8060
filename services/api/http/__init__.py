"""The HTTP server: connections, requests and answers as ASGI has them. It knows no Docker."""
