"""The live picture of the engine: its tree, what that reports, its tasks, and restarts by hand."""

from __future__ import annotations

from .observer import ObservedTree as ObservedTree
from .observer import Observer as Observer
from .observer import build_observer as build_observer
