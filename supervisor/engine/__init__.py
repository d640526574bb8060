"""Makes what containers stand on, and the containers, of the services."""
