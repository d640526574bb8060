"""The Prometheus face: what the engine counts, under dockerd's names where it has them.

Importing this imports the Prometheus client; whoever counts does not need it (`services.measures`).
"""

from __future__ import annotations

from .actions import ActionMetrics as ActionMetrics
from .actions import ActionSources as ActionSources
from .container_rows import ContainerReader as ContainerReader
from .engine import EngineFacts as EngineFacts
from .engine import EngineMetrics as EngineMetrics
from .exposition import Exposition as Exposition
from .exposition import Scrape as Scrape
from .runtime import RuntimeMetrics as RuntimeMetrics
from .runtime import RuntimeSources as RuntimeSources
from .server import MetricsServer as MetricsServer
from .supervision import SupervisionMetrics as SupervisionMetrics
