"""The kinds of networks that are made of links: how each is made on the host, and taken away."""
