"""The engine's durable state: one SQLite file, one writer, any number of readers."""

from __future__ import annotations

from .migrations import Migration as Migration
from .store import Store as Store
