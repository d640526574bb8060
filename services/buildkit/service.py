"""The services that a client calls: moby.buildkit.v1.Control, and LLBBridge for what is asked for
within a build. Trio; `server.py` puts them behind gRPC.

Source: BuildKit, control/control.go and control/gateway/gateway.go; moby, builder/builder-next.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from protos.generated.moby.buildkit.v1 import (
    DiskUsageRequest,
    DiskUsageResponse,
    InfoRequest,
    InfoResponse,
    ListWorkersRequest,
    ListWorkersResponse,
    PruneRequest,
    SolveRequest,
    SolveResponse,
    StatusRequest,
    UsageRecord,
)
from protos.generated.moby.buildkit.v1 import frontend as gateway
from protos.generated.moby.buildkit.v1.apicaps import ApiCap
from protos.generated.moby.buildkit.v1.types import BuildkitVersion, WorkerRecord
from protos.generated.pb import Platform as PlatformMessage
from protos.generated.wire import Timestamp
from services.build.context import BuildContext
from services.errors import EngineError, InvalidParameter, NotSupported
from services.images import Image
from services.images.platform import host_platform

from .asking import SessionClient
from .attributes import FRONTEND, Wish, read_wish
from .calls import Metadata, Send
from .exports import Export, check_caches, read_export
from .failures import BuildFailed, failure_of
from .jobs import Job, Jobs, Returned
from .material import Materials
from .ports import BuildSources, UsedStep
from .progress import StatusOutputs
from .pulling import SessionPuller, push
from .sessions import Session, Sessions
from .steps import Step

BUILD_ID: Final = "buildkit-controlapi-buildid"
"""The metadata that says of which build LLBBridge's calls speak."""

PACKAGE: Final = "wharfinger"
_FILTER: Final = re.compile(r"([a-z]+)(?:(==|!=|~=)(.*))?")
# What a client may ask of LLBBridge, and of the front end. Attestations are not among it.
_CAPABILITIES: Final = (
    *("solve.base", "solve.inlinereturn", "return", "returnmap", "proto.refarray"),
    *("reference.output", "importcaches", "frontend.caps", "gateway.solve.metadata"),
)
_SOURCES: Final = (
    *("source.local", "source.local.unique", "source.local.sessionid", "source.local.followpaths"),
    *("source.local.excludepatterns", "source.local.sharedkeyhint", "source.git", "source.http"),
    *("source.image", "source.image.resolvemode", "exec.meta.base", "exec.meta.network"),
    *("exec.meta.proxyenv", "exec.meta.ulimit", "exec.mount.bind", "file.base", "constraints"),
    *("meta.description", "meta.ignorecache", "platform"),
)


class Control:
    """What one engine answers; one object for all connections."""

    def __init__(
        self, sources: BuildSources, *, sessions: Sessions, jobs: Jobs, materials: Materials
    ) -> None:
        self._sources, self._sessions = sources, sessions
        self._jobs, self._materials = jobs, materials

    # -- what the engine is ----------------------------------------------------------------------

    async def info(self, request: InfoRequest) -> InfoResponse:  # noqa: ARG002
        """The builder's name and version."""
        return InfoResponse(buildkit_version=self._version())

    async def list_workers(self, request: ListWorkersRequest) -> ListWorkersResponse:  # noqa: ARG002
        """The one builder."""
        return ListWorkersResponse(record=[self._worker()])

    async def ping(self, request: gateway.PingRequest) -> gateway.PongResponse:  # noqa: ARG002
        """What can be asked for within a build."""
        return gateway.PongResponse(
            frontend_api_caps=[ApiCap(id=name, enabled=True) for name in _CAPABILITIES],
            llb_caps=[ApiCap(id=name, enabled=True) for name in _SOURCES],
            workers=[self._worker()],
        )

    def _version(self) -> BuildkitVersion:
        return BuildkitVersion(package=PACKAGE, version=f"v{self._sources.version}")

    def _worker(self) -> WorkerRecord:
        platform = host_platform()
        labels = {
            "org.mobyproject.buildkit.worker.executor": "containerd",
            "org.mobyproject.buildkit.worker.snapshotter": "overlayfs",
        }
        gateway_ip = self._sources.gateway_ip()
        if gateway_ip:
            labels["org.mobyproject.buildkit.worker.moby.host-gateway-ip"] = gateway_ip
        return WorkerRecord(
            id=PACKAGE,
            labels=labels,
            platforms=[
                PlatformMessage(
                    os=platform.os, architecture=platform.architecture, variant=platform.variant
                )
            ],
            buildkit_version=self._version(),
        )

    # -- builds ----------------------------------------------------------------------------------

    async def solve(self, request: SolveRequest) -> SolveResponse:
        """A build from its begin to what becomes of its image.

        Raises:
            BuildFailed: it failed, or its client says so.
            EngineError: what is asked for is not there.
        """
        if not request.ref:
            raise InvalidParameter("a build needs a name (Ref)")
        with self._jobs.opened(request.ref) as job:
            _check(request)
            export = read_export(request)
            async with AsyncExitStack() as stack:
                images: dict[str, Image] = {}

                async def build(attributes: Mapping[str, str]) -> str:
                    session = await self._sessions.find(request.session)
                    image = await self._build(job, session, attributes, stack)
                    name = secrets.token_hex(12)
                    images[name] = image
                    return name

                if request.frontend:
                    returned = Returned(result=await build(request.frontend_attrs))
                else:
                    returned = await job.serve(build)
                if returned.error is not None:
                    raise returned.error
                if not returned.result:
                    return SolveResponse()
                if returned.result not in images:
                    raise InvalidParameter(f"no such result: {returned.result}")
                image = images[returned.result]
                if export is None:
                    return SolveResponse(exporter_response={"containerimage.digest": image.id})
                session = await self._sessions.find(request.session)
                return SolveResponse(
                    exporter_response=await self.export(job, session, image, export)
                )

    async def status(self, request: StatusRequest, send: Send) -> None:
        """All that is told of a build, to its end."""
        job = await self._jobs.find(request.ref)
        async for batch in job.board.watch():
            await send(batch)

    async def gateway_solve(
        self, request: gateway.SolveRequest, metadata: Metadata
    ) -> gateway.SolveResponse:
        """A build within a job: the one that the metadata names."""
        if request.definition is not None and request.definition.def_:
            raise NotSupported("this engine builds Dockerfiles; it solves no LLB")
        if request.frontend_inputs:
            raise NotSupported("contexts that are other builds' results are not supported")
        _check_frontend(request.frontend)
        check_caches((), [one.type for one in request.cache_imports])
        attributes = dict(request.frontend_opt)
        refs = [one.attrs.get("ref", "") for one in request.cache_imports]
        if refs:
            attributes["cache-from"] = ",".join(filter(None, refs))
        job = await self._jobs.find(metadata.get(BUILD_ID, ""))
        name = await job.ask(attributes)
        return gateway.SolveResponse(result=gateway.Result(ref=gateway.Ref(id=name)))

    async def gateway_return(
        self, request: gateway.ReturnRequest, metadata: Metadata
    ) -> gateway.ReturnResponse:
        """What the client makes a job's result."""
        job = await self._jobs.find(metadata.get(BUILD_ID, ""))
        await job.give_back(_returned(request))
        return gateway.ReturnResponse()

    async def _build(
        self, job: Job, session: Session, attributes: Mapping[str, str], stack: AsyncExitStack
    ) -> Image:
        """The image, which stays for as long as `stack` lasts. Raises BuildFailed."""
        try:
            wish = read_wish(attributes)
        except EngineError as error:
            name = attributes.get("filename", "") or "Dockerfile"
            raise BuildFailed(failure_of(error, name, None)) from error
        return await self.build(job, session, wish, stack)

    async def build(self, job: Job, session: Session, wish: Wish, stack: AsyncExitStack) -> Image:
        """The image, which stays for as long as `stack` lasts; it has no name yet.

        Raises:
            BuildFailed: there is none; says where in the Dockerfile.
        """
        material = _Opened(self._materials, session, job)
        try:
            return await stack.enter_async_context(
                self._sources.builder.built(
                    wish.request,
                    material.opened(wish),
                    SessionPuller(self._sources.registry, session),
                    StatusOutputs(job.board),
                    SessionClient(session),
                    self._materials.named(wish, session, job.board),
                )
            )
        except EngineError as error:
            name = wish.request.dockerfile
            raise BuildFailed(failure_of(error, name, material.dockerfile)) from error

    async def export(
        self, job: Job, session: Session, image: Image, export: Export
    ) -> dict[str, str]:
        """Let the image be seen, and push it; what the client is told of it."""
        step = Step(job.board, "export", "exporting to image")
        with step.running():
            await self._sources.images.steps.show(image, export.references)
            step.task(f"writing image {image.id}").end()
            for reference in export.references:
                step.task(f"naming to {reference}").end()
            if export.pushes:
                for reference in export.references:
                    await push(self._sources.registry, session, reference, step)
        answer: dict[str, str] = {"containerimage.digest": image.id}
        if export.references:
            answer["image.name"] = ",".join(map(str, export.references))
        return answer

    # -- what builds have left -------------------------------------------------------------------

    async def disk_usage(self, request: DiskUsageRequest) -> DiskUsageResponse:
        """The steps that are kept."""
        steps = await self._sources.usage()
        return DiskUsageResponse(
            record=[_record(step) for step in steps if _is_wanted(step, request.filter)]
        )

    async def prune(self, request: PruneRequest, send: Send) -> None:
        """Delete steps that nothing uses; each is told."""
        wanted = [s for s in await self._sources.usage() if _is_wanted(s, request.filter)]
        keeps_ns = max(0, request.keep_duration)
        gone = set(
            await self._sources.prune(
                [step.key for step in wanted] if any(request.filter) else None,
                keeps_ns,
                max(0, request.keep_bytes),
            )
        )
        for step in wanted:
            if step.key in gone:
                await send(_record(step))


class _Opened:
    """One build's context, whose Dockerfile is kept for those who are told of an error."""

    def __init__(self, materials: Materials, session: Session, job: Job) -> None:
        self._materials, self._session, self._job = materials, session, job
        self.dockerfile: bytes | None = None

    @asynccontextmanager
    async def opened(self, wish: Wish) -> AsyncIterator[BuildContext]:
        async with self._materials.opened(wish, self._session, self._job.board) as context:
            self.dockerfile = context.dockerfile
            yield context


def _check(request: SolveRequest) -> None:
    """Raises NotSupported for what this engine does not do."""
    if request.definition is not None and request.definition.def_:
        raise NotSupported("this engine builds Dockerfiles; it solves no LLB")
    if request.frontend_inputs:
        raise NotSupported("contexts that are other builds' results are not supported")
    if request.frontend:
        _check_frontend(request.frontend)
    if "security.insecure" in request.entitlements:
        raise NotSupported("security.insecure is not allowed: commands run in the sandbox")
    if request.cache is not None:
        check_caches(
            [one.type for one in request.cache.exports], [one.type for one in request.cache.imports]
        )


def _check_frontend(name: str) -> None:
    if name != FRONTEND:
        raise NotSupported(f"the front end {name!r} is not supported; {FRONTEND} is")


def _returned(request: gateway.ReturnRequest) -> Returned:
    if request.error is not None and request.error.code:
        return Returned(error=BuildFailed(request.error))
    result = request.result
    if result is None:
        return Returned()
    if result.refs is not None and result.refs.refs:
        raise NotSupported("a build for several platforms at once is not supported")
    return Returned(result="" if result.ref is None else result.ref.id)


def _record(step: UsedStep) -> UsageRecord:
    return UsageRecord(
        id=step.key,
        in_use=step.is_in_use,
        size=step.size_bytes,
        created_at=_timestamp(step.created_at_ns),
        last_used_at=_timestamp(step.used_at_ns),
        usage_count=1,
        description=step.description,
        record_type=step.kind,
        shared=step.is_shared,
    )


def _timestamp(ns: int) -> Timestamp:
    seconds, nanos = divmod(ns, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)


def _is_wanted(step: UsedStep, filters: Sequence[str]) -> bool:
    """Filters in containerd's words, as far as they can choose among steps.

    Raises:
        NotSupported: another one.
    """
    facts = {
        "id": step.key,
        "type": step.kind,
        "description": step.description,
        "inuse": str(step.is_in_use).lower(),
        "shared": str(step.is_shared).lower(),
    }
    for text in filter(None, filters):
        match = _FILTER.fullmatch(text)
        if match is None or match[1] not in facts:
            raise NotSupported(f"the filter {text!r} is not supported")
        name, operator, value = match.groups()
        fact = facts[name]
        if not operator:
            is_met = fact == "true"
        elif operator == "!=":
            is_met = fact != value
        elif operator == "~=":
            is_met = value in fact
        else:
            is_met = fact == value or (name == "id" and fact.startswith(value))
        if not is_met:
            return False
    return True
