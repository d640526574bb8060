"""Random requests made from the Engine API's definition, and what must hold whatever they are."""
