"""A build from its request to its image: stages that do not need each other are built together."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from services.dockerfile import Line, line_from_text, read_lines
from services.errors import EngineError, InvalidParameter, NotFound, single_error
from services.images import Image, Platform, RunConfig, parse_reference
from services.images.compose import Recipe
from services.images.platform import host_platform
from services.images.ports import Body
from services.measures import Counts, Durations

from .context import BuildContext, BuildContexts
from .errors import at_line
from .output import StageOutput, Tell, forward
from .plan import PREDEFINED_ARGS, SCRATCH, Plan, Stage, arg_pairs, make_plan
from .ports import Containers, ImageStore, Puller
from .request import BuildRequest
from .stage import StageBuild, StageState, mixed
from .workbench import ANNOTATION, Workbench

MAX_BUILDS: Final = 4
"""A build past this many waits for its turn; each has containers and threads at work."""


@dataclass(slots=True)
class _Built:
    """A stage's result, once it is there."""

    state: StageState | None = None
    done: trio.Event = field(default_factory=trio.Event)


class Builder:
    """Builds images. `run` is a supervised child, which clears away what was killed."""

    def __init__(
        self,
        *,
        containers: Containers,
        images: ImageStore,
        contexts: BuildContexts,
        disk: trio.CapacityLimiter,
        platform: Platform | None = None,
    ) -> None:
        self._containers, self._images = containers, images
        self._contexts, self._disk = contexts, disk
        self._platform = platform or host_platform()
        self._slots = trio.CapacityLimiter(MAX_BUILDS)
        self._under_way: set[_Build] = set()
        self.failures: Final = Counts()  # by dockerd's words for why
        self.durations: Final = Durations()  # of builds that succeeded
        self.triggered = 0
        self.open = 0  # builds that run or wait for their turn

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Remove what builds of an earlier engine have left; then stand by."""
        await self._contexts.remove_leftovers()
        task_status.started()
        await self._remove_containers()
        await trio.sleep_forever()

    async def build(self, request: BuildRequest, body: Body, puller: Puller, tell: Tell) -> Image:
        """Build what the Dockerfile in the context `body` says, and name it; tell how it goes.

        Cancelled or failed, no image is seen that was not before; steps that were whole are kept.

        Raises:
            InvalidParameter: no context, no Dockerfile, or one that is malformed.
            CommandFailed: a RUN ended with another code than 0.
            EngineError: something else failed.
        """
        with self._counted():
            return await self._build(request, body, puller, tell)

    async def _build(self, request: BuildRequest, body: Body, puller: Puller, tell: Tell) -> Image:
        contexts = self._contexts
        context_of = contexts.fetch(request.remote) if request.remote else contexts.receive(body)
        async with self._slots, context_of as context:
            read = partial(context.read_dockerfile, request.dockerfile)
            text = await trio.to_thread.run_sync(read, limiter=self._disk)
            plan = make_plan(read_lines(text), request.build_args)
            build = _Build(
                containers=self._containers,
                images=self._images,
                puller=puller,
                platform=request.platform or self._platform,
                request=request,
                plan=plan,
                context=context,
                disk=self._disk,
            )
            self._under_way.add(build)
            try:
                image = await build.run(tell)
                await self._images.show_step(image, request.references)
                if len(self._under_way) == 1:  # else another one may stand on what is replaced
                    for key, newer in build.renewed.items():
                        await self._images.steps.replace(key, newer)
            finally:
                self._under_way.discard(build)
        await tell({"aux": {"ID": image.id}})
        short = image.id.removeprefix("sha256:")[:12]
        await tell({"stream": f"Successfully built {short}\n"})
        for reference in request.references:
            await tell({"stream": f"Successfully tagged {reference.familiar}\n"})
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


class _Build:
    """One build under way."""

    def __init__(
        self,
        *,
        containers: Containers,
        images: ImageStore,
        puller: Puller,
        platform: Platform,
        request: BuildRequest,
        plan: Plan,
        context: BuildContext,
        disk: trio.CapacityLimiter,
    ) -> None:
        self._images, self._puller = images, puller
        self._platform, self._request, self._plan = platform, request, plan
        self._context, self._disk = context, disk
        self._workbench = Workbench(
            containers=containers,
            build_id=secrets.token_hex(8),
            keeps_failed=not (request.removes or request.always_removes),
        )
        self._built: dict[int, _Built] = {}
        self._pulling: dict[str, trio.Lock] = {}
        self.held: set[str] = set()
        self.renewed: dict[str, str] = {}  # without the cache: keys under which steps are kept

    async def run(self, tell: Tell) -> Image:
        """All stages that the target needs; the image of the target."""
        target = self._plan.target(self._request.target)
        stages = self._plan.needed(target)
        outputs = [StageOutput() for _ in stages]
        self._built = {stage.index: _Built() for stage in stages}
        steps = sum(1 + len(stage.steps) for stage in stages)
        with single_error():
            async with trio.open_nursery() as nursery:
                number = 1
                for stage, output in zip(stages, outputs, strict=True):
                    nursery.start_soon(self._run_stage, stage, output, number, steps, target)
                    number += 1 + len(stage.steps)
                await forward(outputs, tell)
        await self._warn(stages, tell)
        state = self._built[target.index].state
        assert state is not None
        return state.image

    def key_for(self, key: str) -> str:
        """See `StageFiles`."""
        if self._request.uses_cache:
            return key
        return self.renewed.setdefault(key, mixed(key, secrets.token_hex(8)))

    def hold(self, image: Image) -> None:
        """See `StageFiles`."""
        self.held.add(image.id)

    async def image_of(self, source: Stage | str) -> tuple[Image, str]:
        """What a COPY --from copies from; waits for a stage that is still being built."""
        if isinstance(source, Stage):
            state = await self._result(source)
            return state.image, state.key
        image = await self._base(source, None)
        return image, image.id

    async def _run_stage(
        self, stage: Stage, output: StageOutput, first_step: int, steps: int, target: Stage
    ) -> None:
        build = StageBuild(
            plan=self._plan,
            stage=stage,
            request=self._request,
            context=self._context,
            images=self._images,
            workbench=self._workbench,
            files=self,
            output=output,
            first_step=first_step,
            steps=steps,
            disk=self._disk,
        )
        try:
            state, triggers = await self._begin(stage, output)
            await build.run(state, triggers)
            if stage is target:
                await build.label(state, self._request.labels)
            await build.finish(state)
            self._built[stage.index].state = state
            self._built[stage.index].done.set()
        finally:
            output.close()

    async def _begin(self, stage: Stage, output: StageOutput) -> tuple[StageState, Sequence[Line]]:
        """The state before the first instruction, and the ONBUILD triggers of the base image."""
        if stage.base_stage is not None:
            before = await self._result(self._plan.stages[stage.base_stage])
            return (
                StageState(
                    image=before.image,
                    key=before.key,
                    config=before.config,
                    platform=before.platform,
                    shell=before.shell,
                ),
                (),
            )
        try:
            if stage.base.lower() == SCRATCH:
                image = await self._scratch()
            else:
                image = await self._base(stage.base, output)
        except EngineError as error:
            raise at_line(error, stage.line.number) from error
        config = image.config.config or RunConfig()
        triggers = [line_from_text(text, stage.line.number, "\\") for text in config.on_build or ()]
        state = StageState(
            image=image,
            key=mixed("FROM", image.id),
            config=config,
            platform=image.platform,
        )
        if config.shell:
            state.shell = config.shell
        return state, triggers

    async def _result(self, stage: Stage) -> StageState:
        built = self._built[stage.index]
        await built.done.wait()
        assert built.state is not None
        return built.state

    async def _scratch(self) -> Image:
        """An image of nothing."""
        key = mixed("scratch", self._platform)
        found = await self._images.find_step(key)
        if found is not None:
            return found
        recipe = Recipe(
            base=None,
            layer=None,
            config=RunConfig(),
            platform=self._platform,
            author="",
            step=None,
        )
        return await self._images.make_step(recipe, key, "FROM scratch")

    async def _base(self, ref: str, output: StageOutput | None) -> Image:
        """An image of the store; pulled if it is not there, or if asked to."""
        async with self._pulling.setdefault(ref, trio.Lock()):
            if not self._request.pulls:
                try:
                    return await self._images.resolve(ref)
                except NotFound:
                    pass
            reference = parse_reference(ref).tagged()
            async with self._puller.pull(reference, self._request.platform) as messages:
                async for message in messages:
                    if output is not None:
                        await output.tell(message)
            return await self._images.resolve(ref)

    async def _warn(self, stages: Sequence[Stage], tell: Tell) -> None:
        """Say which --build-arg nobody has asked for."""
        declared = set(PREDEFINED_ARGS) | set(self._plan.arguments)
        for stage in stages:
            for line in stage.steps:
                if line.keyword == "ARG":
                    declared |= {name for name, _ in arg_pairs(line, {}, self._plan.escape)}
        unused = sorted(set(self._request.build_args) - declared)
        if unused:
            shown = " ".join(unused)
            text = f"[Warning] One or more build-args [{shown}] were not consumed\n"
            await tell({"stream": text})
