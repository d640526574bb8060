"""Routes that are imported when somebody first asks for a swarm.

An engine that is in no swarm pays nothing for them: not their modules, nor services.cluster.
"""

from __future__ import annotations

import importlib
from typing import Any

import trio

from services.api.cluster_face import ClusterFace


class ClusterModules:
    """The modules of `services.api.routes.cluster`; each has a class `Routes` that takes `face`."""

    def __init__(self, face: ClusterFace) -> None:
        self.face = face
        self._made: dict[str, Any] = {}
        self._loading = trio.Lock()

    async def get(self, name: str) -> Any:
        """The one `Routes` of a module."""
        if name in self._made:
            return self._made[name]
        async with self._loading:
            if name not in self._made:
                # In a thread: others are being answered meanwhile.
                module = await trio.to_thread.run_sync(
                    importlib.import_module, f"services.api.routes.cluster.{name}"
                )
                self._made[name] = module.Routes(self.face)
            return self._made[name]
