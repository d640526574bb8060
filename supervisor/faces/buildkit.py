"""BuildKit's protocol, made from the engine's parts. Imported with the first client."""

from __future__ import annotations

import time
from collections.abc import Sequence

from services.build import BuildPruneFilters, CachePruner
from services.build.prune import CACHE_TYPE, STEP_TYPE
from services.build.prune_limits import PruneLimits
from services.buildkit import BuildKit, Sources
from services.buildkit.ports import UsedStep
from services.images import ImageId
from supervisor.version import VERSION

from .route_sources import RouteSources


def build_buildkit(sources: RouteSources, pruner: CachePruner) -> BuildKit:
    """Starts nothing."""
    ground = sources.ground

    async def usage() -> Sequence[UsedStep]:
        images = {image.id: image for image in await ground.images.everything()}
        found = []
        for step in await ground.images.steps.list():
            image = images.get(ImageId(step.digest))
            is_named = image is not None and not image.is_hidden
            found.append(
                UsedStep(
                    key=step.key,
                    kind=STEP_TYPE,
                    description=step.description,
                    size_bytes=0 if image is None else image.unpacked_bytes,
                    created_at_ns=step.created_at_ns,
                    used_at_ns=step.used_at_ns,
                    is_in_use=is_named,
                    is_shared=is_named,
                )
            )
        for cache in await sources.builder.caches.usage():
            record = cache.record
            found.append(
                UsedStep(
                    key=record.name,
                    kind=CACHE_TYPE,
                    description=record.description,
                    size_bytes=cache.size_bytes,
                    created_at_ns=record.created_at_ns,
                    used_at_ns=record.used_at_ns,
                    is_in_use=cache.is_used,
                    is_shared=False,
                )
            )
        return found

    async def delete(keys: Sequence[str] | None, keeps_ns: int, keeps_bytes: int) -> Sequence[str]:
        if keys is not None and not keys:
            return ()
        before_ns = time.time_ns() - keeps_ns if keeps_ns else None
        filters = BuildPruneFilters(ids=tuple(keys or ()), before_ns=before_ns)
        limits = PruneLimits(reserved_bytes=keeps_bytes)
        return (await pruner.prune(filters, limits)).keys

    def gateway_ip() -> str:
        settings = ground.current.settings()
        gateways = settings.network.host_gateways or tuple(ground.net.networks.bridge_addresses)
        return str(gateways[0]) if gateways else ""

    return BuildKit(
        Sources(
            builder=sources.builder,
            images=ground.images,
            registry=ground.registry,
            disk=sources.builder.disk,
            usage=usage,
            prune=delete,
            gateway_ip=gateway_ip,
            version=VERSION,
        )
    )
