"""`scripts/soak`: whether the engine ends where it began after many containers."""
