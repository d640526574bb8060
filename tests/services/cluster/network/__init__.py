"""Tests of what a node does for networks that span nodes."""
