"""From the server to the routes: what is answered at once, and the app around the others."""
