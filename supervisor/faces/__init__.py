"""Makes what the world sees of the engine: the API, metrics, the observer, the cluster."""
