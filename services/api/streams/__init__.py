"""Answers that are told while something is done, value by value."""
