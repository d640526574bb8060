"""A build from its request to its image: stages that do not need each other are built together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from services.errors import EngineError, InvalidParameter
from services.images.platform import host_platform
from services.measures import Counts, Durations

if TYPE_CHECKING:
    from services.images import Image, Platform
    from services.images.ports import Body

    from .cache_mounts import CacheMounts
    from .client import BuildClient
    from .context import BuildContext, BuildContexts
    from .named import NamedContext
    from .output import Outputs, Tell
    from .ports import Containers, ImageStore, Puller
    from .request import BuildRequest
    from .under_way import Build

ANNOTATION: Final = "io.wharfinger.build"
"""Marks the containers that a build works in: those of builds that were killed go by it."""

MAX_BUILDS: Final = 4
"""A build past this many waits for its turn; each has containers and threads at work."""


class Builder:
    """Builds images. `run` is a supervised child, which clears away what was killed."""

    def __init__(
        self,
        *,
        containers: Containers,
        images: ImageStore,
        contexts: BuildContexts,
        make_caches: Callable[[trio.Event], CacheMounts],
        disk: trio.CapacityLimiter,
        platform: Platform | None = None,
    ) -> None:
        """`make_caches` is told when nothing of an earlier engine uses them any more."""
        self._containers, self._images = containers, images
        self.contexts: Final = contexts
        self.disk: Final = disk
        self._make_caches = make_caches
        self._caches: CacheMounts | None = None
        self._cleared = trio.Event()  # no command of an earlier engine's builds runs
        self._platform = platform or host_platform()
        self._slots = trio.CapacityLimiter(MAX_BUILDS)
        self._under_way: set[Build] = set()
        self.failures: Final = Counts()  # by dockerd's words for why
        self.durations: Final = Durations()  # of builds that succeeded
        self.triggered = 0
        self.open = 0  # builds that run or wait for their turn

    @property
    def caches(self) -> CacheMounts:
        """The caches of commands; made with the first use, because a start needs none of it."""
        if self._caches is None:
            self._caches = self._make_caches(self._cleared)
        return self._caches

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Remove what builds of an earlier engine have left; then stand by."""
        await self.contexts.remove_leftovers()
        task_status.started()
        await self._remove_containers()
        self._cleared.set()
        await trio.sleep_forever()

    async def build(self, request: BuildRequest, body: Body, puller: Puller, tell: Tell) -> Image:
        """Build what the Dockerfile in the context `body` says, and name it; tell how it goes.

        Cancelled or failed, no image is seen that was not before; steps that were whole are kept.

        Raises:
            InvalidParameter: no context, no Dockerfile, or one that is malformed.
            CommandFailed: a RUN ended with another code than 0.
            EngineError: something else failed.
        """
        from .output import TextOutputs

        opened = (
            self.contexts.fetch(request.remote) if request.remote else self.contexts.receive(body)
        )
        async with self.built(request, opened, puller, TextOutputs(tell)) as image:
            await self._images.steps.show(image, request.references)
        await tell({"aux": {"ID": image.id}})
        short = image.id.removeprefix("sha256:")[:12]
        await tell({"stream": f"Successfully built {short}\n"})
        for reference in request.references:
            await tell({"stream": f"Successfully tagged {reference.familiar}\n"})
        return image

    @asynccontextmanager
    async def built(
        self,
        request: BuildRequest,
        opened: AbstractAsyncContextManager[BuildContext],
        puller: Puller,
        told: Outputs,
        client: BuildClient | None = None,
        named: Mapping[str, NamedContext] | None = None,
    ) -> AsyncIterator[Image]:
        """Build from the context that `opened` gives. The image has no name, and is kept while the
        block lasts. Raises as `build`."""
        held: set[Build] = set()
        try:
            with self._counted():
                image = await self._build(request, opened, puller, told, client, named or {}, held)
            yield image
        finally:
            self._under_way -= held

    async def _build(
        self,
        request: BuildRequest,
        opened: AbstractAsyncContextManager[BuildContext],
        puller: Puller,
        told: Outputs,
        client: BuildClient | None,
        named: Mapping[str, NamedContext],
        held: set[Build],
    ) -> Image:
        """The build is in `held`, and under way, from its begin on."""
        # Imported with the first build, because a start needs none of it.
        from services.dockerfile import read_lines

        from .plan import make_plan
        from .under_way import Build

        async with self._slots, opened as context:
            read = partial(context.read_dockerfile, request.dockerfile)
            text = await trio.to_thread.run_sync(read, limiter=self.disk)
            plan = make_plan(read_lines(text), request.build_args).beside(named.keys())
            if plan.needs_context(plan.target(request.target)):
                await context.provide()
            build = Build(
                containers=self._containers,
                images=self._images,
                puller=puller,
                platform=request.platform or self._platform,
                request=request,
                plan=plan,
                context=context,
                caches=self.caches,
                client=client,
                named=named,
                disk=self.disk,
            )
            self._under_way.add(build)
            held.add(build)
            image = await build.run(told)
            if len(self._under_way) == 1:  # else another one may stand on what is replaced
                for key, newer in build.renewed.items():
                    await self._images.steps.replace(key, newer)
            return image

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.triggered += 1
        self.open += 1
        try:
            with self.durations.timed("build"):
                yield
        except trio.Cancelled:
            self.failures.add("build_canceled")
            raise
        except Exception as error:
            self.failures.add(_reason(error))
            raise
        finally:
            self.open -= 1

    def in_use(self) -> set[str]:
        """The digests of images that builds under way stand on."""
        return {digest for build in self._under_way for digest in build.held}

    async def _remove_containers(self) -> None:
        for container in self._containers.table:
            annotations = container.definition.host_config.annotations or {}
            if ANNOTATION in annotations:
                try:
                    await self._containers.remove(container, force=True, volumes=True)
                except EngineError:  # somebody else removes it
                    continue


def _reason(error: Exception) -> str:
    """Why a build failed, in two of dockerd's words for it: what was asked, or how it went."""
    if isinstance(error, InvalidParameter):
        return "dockerfile_syntax_error"
    return "error_processing_commands_error"
