"""Tag Service of the Engine API."""

from __future__ import annotations

from typing import Final

from services.api.cluster_face import ClusterFace
from services.api.routes.cluster.logs import logs_answer
from services.api.routes.cluster.requests import (
    answer,
    body_of,
    current_request,
    nothing,
    truth_of,
    version_of,
)
from services.api.types.cluster.services import service_to_wire
from services.api.versions.service import adapted_service
from services.api.versions.version import ApiVersion
from services.api.wire.request import EngineRequest
from services.api.wire.responses import EngineResponse
from services.cluster.control.service_changes import ServiceOptions
from services.cluster.dispatcher.values import LogSelector
from services.cluster.model.specs import ServiceSpec

AUTH_HEADER: Final = "X-Registry-Auth"
PINS_BELOW: Final = ApiVersion(1, 30)
"""Clients of later versions ask the registry themselves."""

STATUS_SINCE: Final = ApiVersion(1, 41)


class Routes:
    """The operations on services."""

    def __init__(self, face: ClusterFace) -> None:
        self._face = face

    async def list(self) -> EngineResponse:
        """GET /services (ServiceList)."""
        request = current_request()
        filters = request.query.filters()
        with_status = request.api_version >= STATUS_SINCE and truth_of(request.query, "status")
        found = self._face.control().services.list(filters, with_status=with_status)
        return answer([service_to_wire(one) for one in found])

    async def inspect(self, ref: str) -> EngineResponse:
        """GET /services/{id} (ServiceInspect)."""
        fill_in = truth_of(current_request().query, "insertDefaults")
        return answer(service_to_wire(self._face.control().services.get(ref, fill_in=fill_in)))

    async def create(self) -> EngineResponse:
        """POST /services/create (ServiceCreate)."""
        request = current_request()
        spec = adapted_service(await body_of(ServiceSpec), request.api_version)
        service, warnings = await self._face.control().services.create(spec, _options(request))
        return answer({"ID": service.id, "Warnings": warnings or None}, 201)

    async def update(self, ref: str) -> EngineResponse:
        """POST /services/{id}/update (ServiceUpdate)."""
        request = current_request()
        spec = adapted_service(await body_of(ServiceSpec), request.api_version)
        version = version_of(request, "service")
        control = self._face.control()
        warnings = await control.services.update(ref, version, spec, _options(request))
        return answer({"Warnings": warnings or None})

    async def remove(self, ref: str) -> EngineResponse:
        """DELETE /services/{id} (ServiceDelete)."""
        await self._face.control().services.remove(ref)
        return nothing()

    async def logs(self, ref: str) -> EngineResponse:
        """GET /services/{id}/logs (ServiceLogs)."""
        control = self._face.control()

        def chosen() -> tuple[LogSelector, bool]:
            service = control.services.get(ref).service
            container = service.spec.task_template.container_spec
            return LogSelector(service_ids=(service.id,)), container is not None and container.tty

        return logs_answer(current_request(), control.logs, chosen)


def _options(request: EngineRequest) -> ServiceOptions:
    return ServiceOptions(
        registry_auth=request.headers.get(AUTH_HEADER, ""),
        registry_auth_from=request.query.text("registryAuthFrom"),
        rollback=request.query.text("rollback"),
        pins_digest=request.api_version < PINS_BELOW,
    )
