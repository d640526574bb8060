"""The Prometheus face: what the engine counts, under dockerd's names, on an address of its own."""

from __future__ import annotations

from .engine import EngineFacts as EngineFacts
from .engine import EngineMetrics as EngineMetrics
from .server import MetricsServer as MetricsServer
from .supervision import SupervisionMetrics as SupervisionMetrics
