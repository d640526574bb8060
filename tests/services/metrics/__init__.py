"""Tests of services.metrics."""
