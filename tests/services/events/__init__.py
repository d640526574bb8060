"""Tests of services.events."""
