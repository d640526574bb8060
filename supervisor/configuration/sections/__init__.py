"""The sections of `Settings`: each is made of merged values, checked."""
