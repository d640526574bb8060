"""The Engine API's JSON shapes, written from the engine's values: one function a schema."""
