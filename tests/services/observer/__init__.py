"""Tests of services.observer."""
