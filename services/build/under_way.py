"""One build under way: its stages, those that do not need each other at the same time."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import trio

from services.dockerfile import Line, line_from_text
from services.errors import EngineError, InvalidParameter, NotFound, single_error
from services.images import Image, Platform, RunConfig, parse_reference
from services.images.compose import Recipe
from services.images.platform import parse_specifier

from .cache_mounts import CacheMounts
from .client import BuildClient
from .context import BuildContext
from .errors import at_line
from .named import NamedContext, context_name, image_of_tree
from .output import Outputs, StageOutput
from .plan import PREDEFINED_ARGS, SCRATCH, Plan, Stage, arg_pairs
from .ports import Containers, ImageStore, Puller
from .request import BuildRequest
from .reuse import CacheSources
from .run_mounts import NAMESPACE_ARG
from .stage import StageBuild
from .stage_state import StageState, mixed
from .workbench import Workbench


@dataclass(slots=True)
class _Built:
    """A stage's result, once it is there."""

    state: StageState | None = None
    done: trio.Event = field(default_factory=trio.Event)


class Build:
    """Builds what one request asks for."""

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
        caches: CacheMounts,
        client: BuildClient | None,
        named: Mapping[str, NamedContext],
        disk: trio.CapacityLimiter,
    ) -> None:
        self._images, self._puller = images, puller
        self._caches, self._client, self._named = caches, client, named
        self._platform, self._request, self._plan = platform, request, plan
        self._context, self._disk = context, disk
        self._workbench = Workbench(
            containers=containers,
            build_id=secrets.token_hex(8),
            keeps_failed=not (request.removes or request.always_removes),
        )
        self._built: dict[int, _Built] = {}
        self._trees: dict[tuple[str, Platform], Image] = {}  # of named contexts
        self._pulling: dict[tuple[str, Platform | None], trio.Lock] = {}
        self._cache_from: Sequence[Image] = ()
        self.held: set[str] = set()
        self.renewed: dict[str, str] = {}  # without the cache: keys under which steps are kept

    async def run(self, told: Outputs) -> Image:
        """All stages that the target needs; the image of the target."""
        target = self._plan.target(self._request.target)
        stages = self._plan.needed(target)
        outputs = told.open(stages)
        self._built = {stage.index: _Built() for stage in stages}
        self._cache_from = await self._sources()
        steps = sum(1 + len(stage.steps) for stage in stages)
        with single_error():
            async with trio.open_nursery() as nursery:
                number = 1
                for stage, output in zip(stages, outputs, strict=True):
                    nursery.start_soon(self._run_stage, stage, output, number, steps, target)
                    number += 1 + len(stage.steps)
                await told.forward()
        await self._warn(stages, told)
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
        image = await self._base(source, None, self._request.platform)
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
            sources=CacheSources(self._cache_from),
            caches=self._caches,
            client=self._client,
            disk=self._disk,
        )
        try:
            await build.announce()
            state, triggers = await self._begin(stage, output)
            await build.run(state, triggers)
            if stage is target:
                await build.label(state, self._request.labels)
            await build.finish(state)
            self._built[stage.index].state = state
            self._built[stage.index].done.set()
        except EngineError as error:
            await output.fail(error)
            raise
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
            wanted = self._request.platform
            if stage.platform:
                wanted = parse_specifier(stage.platform, self._platform)
            if stage.base.lower() == SCRATCH:
                image = await self._scratch(wanted or self._platform)
            else:
                image = await self._base(stage.base, output, wanted)
        except EngineError as error:
            raise at_line(error, stage.line.number) from error
        config = image.config.config or RunConfig()
        triggers = [line_from_text(text, stage.line.number, "\\") for text in config.on_build or ()]
        state = StageState(
            image=image,
            key=mixed("FROM", image.id if image.manifest is None else image.manifest.digest),
            config=config,
            platform=image.platform,
        )
        if config.shell:
            state.shell = config.shell
        return state, triggers

    async def _result(self, stage: Stage) -> StageState:
        built = self._built.get(stage.index)
        if built is None:  # what triggers need is not known before their image is there
            raise InvalidParameter(
                f"an ONBUILD trigger takes from stage {stage.name or stage.index}, which is not "
                "built: the Dockerfile has to need it, too"
            )
        await built.done.wait()
        assert built.state is not None
        return built.state

    async def _scratch(self, platform: Platform) -> Image:
        """An image of nothing."""
        key = mixed("scratch", platform)
        found = await self._images.steps.find(key)
        if found is not None:
            return found
        recipe = Recipe(
            base=None,
            layer=None,
            config=RunConfig(),
            platform=platform,
            author="",
            step=None,
        )
        return await self._images.steps.make(recipe, key, "FROM scratch")

    async def _base(self, ref: str, output: StageOutput | None, platform: Platform | None) -> Image:
        """An image of the store; pulled if it is not there for the platform, or if asked to."""
        async with self._pulling.setdefault((ref, platform), trio.Lock()):
            named = self._named.get(context_name(ref))
            if named is not None and not named.image:
                return await self._tree(ref, named, platform or self._platform)
            ref = ref if named is None else named.image
            if not self._request.pulls:
                try:
                    return await self._images.inspect(ref, platform)
                except NotFound:
                    pass
            reference = parse_reference(ref).tagged()
            async with self._puller.pull(reference, platform) as messages:
                async for message in messages:
                    if output is not None:
                        await output.tell(message)
            return await self._images.inspect(ref, platform)

    async def _tree(self, name: str, named: NamedContext, platform: Platform) -> Image:
        """The image that a named context of files is."""
        if (name, platform) in self._trees:
            return self._trees[name, platform]
        assert named.open is not None
        scratch = await self._scratch(platform)
        async with named.open() as context:
            image = await image_of_tree(
                context,
                scratch,
                name=name,
                platform=platform,
                images=self._images,
                workbench=self._workbench,
                disk=self._disk,
            )
        self.hold(image)
        self._trees[name, platform] = image
        return image

    async def _sources(self) -> Sequence[Image]:
        """The images that steps may be taken from, as far as they are here; as with dockerd."""
        found: list[Image] = []
        for ref in self._request.cache_from if self._request.uses_cache else ():
            try:
                image = await self._images.inspect(ref, self._request.platform)
            except (NotFound, InvalidParameter):
                continue
            self.hold(image)
            found.append(image)
        return found

    async def _warn(self, stages: Sequence[Stage], told: Outputs) -> None:
        """Say which --build-arg nobody has asked for."""
        declared = {*PREDEFINED_ARGS, *self._plan.arguments, NAMESPACE_ARG}
        for stage in stages:
            for line in stage.steps:
                if line.keyword == "ARG":
                    declared |= {name for name, _ in arg_pairs(line, {}, self._plan.escape)}
        unused = sorted(set(self._request.build_args) - declared)
        if unused:
            shown = " ".join(unused)
            await told.warn(f"One or more build-args [{shown}] were not consumed")
