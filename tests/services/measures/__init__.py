"""Tests of services.measures."""
