"""One stage of a build, instruction after instruction.

Instructions that change the configuration alone are gathered; one that changes files ends in an
image, which the next build finds by its key. The key of a step says all that it was made of: the
key before it, what the instruction does, the files and arguments that go into it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec
import trio

from services.containers.archives.root import Root
from services.containers.spec.signals import parse_signal
from services.dockerfile import Line
from services.errors import EngineError
from services.images import Image, RunConfig
from services.images.compose import run_config_to_json
from services.images.instructions import (
    CONFIG_INSTRUCTIONS,
    Scope,
    apply_line,
    environment_of,
    shell_words,
)

from .cache_mounts import CacheMounts
from .client import BuildClient
from .context import BuildContext
from .copying import CopyStep, read_copy
from .errors import CommandFailed, at_line
from .output import StageOutput
from .plan import Plan, Stage, arg_pairs
from .ports import ImageStore
from .request import BuildRequest
from .reuse import CacheSources
from .run_mounts import NAMESPACE_ARG, RunMounts
from .run_step import RunSteps
from .sources import make_directory
from .stage_state import StageState, history_entry, mixed
from .step_cache import StageFiles, StepCache
from .workbench import Workbench

NOP: Final = "/bin/sh -c #(nop) "
"""Begins the history of what ran no command, as dockerd's does."""


T = TypeVar("T")

FileWork = Callable[[Root], object]
"""Changes files below a root; blocks."""


class StageBuild:
    """Builds one stage."""

    def __init__(
        self,
        *,
        plan: Plan,
        stage: Stage,
        request: BuildRequest,
        context: BuildContext,
        images: ImageStore,
        workbench: Workbench,
        files: StageFiles,
        output: StageOutput,
        first_step: int,
        steps: int,
        sources: CacheSources,
        caches: CacheMounts,
        client: BuildClient | None,
        disk: trio.CapacityLimiter,
    ) -> None:
        """`first_step` of all `steps` is the number of this stage's FROM."""
        self._plan, self._stage, self._request = plan, stage, request
        self._context, self._workbench = context, workbench
        self._files, self._output, self._disk = files, output, disk
        self._number, self._steps = first_step, steps
        self._cache = StepCache(
            request=request, images=images, files=files, sources=sources, output=output
        )
        mounts = RunMounts(
            plan=plan,
            stage=stage,
            context=context,
            files=files,
            workbench=workbench,
            caches=caches,
            client=client,
            namespace=request.build_args.get(NAMESPACE_ARG) or "",
            disk=disk,
        )
        self._runs = RunSteps(
            request=request,
            context=context,
            workbench=workbench,
            cache=self._cache,
            mounts=mounts,
            output=output,
            disk=disk,
        )

    async def announce(self) -> None:
        """Tell of the FROM, before its image is looked for."""
        await self._announce(self._stage.line)

    async def run(self, state: StageState, triggers: Sequence[Line]) -> StageState:
        """All instructions; first the ONBUILD `triggers` of the base image.

        Raises:
            EngineError: an instruction failed; its line is named.
        """
        await self._output.say(f" ---> {_short(state.image.id)}\n")
        await self._output.end()
        if triggers:
            word = "trigger" if len(triggers) == 1 else "triggers"
            await self._output.say(f"# Executing {len(triggers)} build {word}\n")
            state.config = msgspec.structs.replace(state.config, on_build=None)
            await self._context.provide()  # a trigger may copy, where the Dockerfile does not
            for line in triggers:
                await self._output.trigger(line)
                await self._step(state, line)
        for line in self._stage.steps:
            self._number += 1
            await self._announce(line)
            await self._step(state, line)
        return state

    async def finish(self, state: StageState) -> Image:
        """The image of all steps."""
        return await self._cache.finish(state)

    async def label(self, state: StageState, labels: Mapping[str, str]) -> None:
        """What --label asks for, as one more step."""
        if labels:
            merged = {**(state.config.labels or {}), **labels}
            state.config = msgspec.structs.replace(state.config, labels=merged)
            shown = " ".join(f"{name}={value}" for name, value in sorted(labels.items()))
            self._note(state, f"{NOP} LABEL {shown}")

    async def _announce(self, line: Line) -> None:
        await self._output.begin(line, self._number, self._steps)

    async def _step(self, state: StageState, line: Line) -> None:
        try:
            match line.keyword:
                case "RUN":
                    await self._runs.make(state, line, self._scope(state))
                case "COPY" | "ADD":
                    await self._copy(state, line)
                case "WORKDIR":
                    await self._workdir(state, line)
                case _:
                    self._configure(state, line)
        except CommandFailed:
            raise
        except EngineError as error:
            raise at_line(error, line.number) from error
        await self._output.say(f" ---> {_short(state.key)}\n")
        await self._output.end()

    # -- configuration --------------------------------------------------------------------------

    def _configure(self, state: StageState, line: Line) -> None:
        scope = self._scope(state)
        match line.keyword:
            case "ARG":
                self._declare(state, line, scope)
                return
            case "SHELL":
                words = shell_words(line.arguments)
                state.shell = words
                state.config = msgspec.structs.replace(state.config, shell=words)
            case "MAINTAINER":
                state.author = line.arguments
            case keyword if keyword in CONFIG_INSTRUCTIONS:
                state.config = apply_line(state.config, line, scope)
                if keyword == "STOPSIGNAL":
                    parse_signal(state.config.stop_signal or "")
                if keyword == "ENTRYPOINT" and not state.has_command:
                    state.config = msgspec.structs.replace(state.config, cmd=None)
                state.has_command = state.has_command or keyword == "CMD"
        self._note(state, f"{NOP} {line.text}")

    def _declare(self, state: StageState, line: Line, scope: Scope) -> None:
        """An ARG: its value is the client's, else that before the first FROM, else its default."""
        given = self._request.build_args
        for name, default in arg_pairs(line, scope.variables, scope.escape):
            outer = self._plan.arguments.get(name) if default is None else default
            value = given.get(name, outer)
            if value is not None:
                state.arguments[name] = value

    def _note(self, state: StageState, created_by: str) -> None:
        """A step that changed the configuration alone."""
        state.key = state.mix(created_by, msgspec.json.encode(run_config_to_json(state.config)))
        state.pending.append(history_entry(created_by, is_empty=True, author=state.author))

    def _scope(self, state: StageState) -> Scope:
        variables = {**state.arguments, **environment_of(state.config)}
        return Scope(variables=variables, escape=self._plan.escape, shell=state.shell)

    # -- files ----------------------------------------------------------------------------------

    async def _copy(self, state: StageState, line: Line) -> None:
        scope = self._scope(state)
        step = await read_copy(line, scope, self._context, disk=self._disk)
        source = self._plan.source_of(self._stage, line)
        if source is None:
            await self._copy_from(state, step, self._context.root, "")
            return
        image, source_key = await self._files.image_of(source)
        async with (
            self._workbench.container(image, RunConfig()) as container,
            self._workbench.reading(container) as root,
        ):
            await self._copy_from(state, step, root, source_key)

    async def _copy_from(
        self, state: StageState, step: CopyStep, root: Root, source_key: str
    ) -> None:
        """`source_key` stands for the files of another image; those of the context are hashed."""
        await self._in_thread(partial(step.find, root))
        digest = source_key or await self._in_thread(partial(step.hash, root))
        shown = f"{NOP} {step.keyword} file:{mixed(step.arguments(), digest)} in {step.target}"
        key = state.mix(step.keyword, step.arguments(), digest)
        if await self._cache.is_cached(state, key, shown):
            return

        def work(target: Root) -> None:
            step.copy(root, target, state.config.working_dir or "/")

        await self._change_files(state, key, work, shown)

    async def _workdir(self, state: StageState, line: Line) -> None:
        """The directory is made if it is missing."""
        state.config = apply_line(state.config, line, self._scope(state))
        path = state.config.working_dir or "/"
        created_by = f"{NOP} WORKDIR {path}"
        key = state.mix("WORKDIR", path)
        if not await self._cache.is_cached(state, key, created_by):
            await self._change_files(
                state, key, lambda root: make_directory(root, path), created_by
            )

    async def _change_files(
        self, state: StageState, key: str, work: FileWork, created_by: str
    ) -> None:
        """Have `work` change the files of the image so far."""
        base = await self._cache.finish(state)
        async with self._workbench.container(base, state.config) as container:
            async with self._workbench.writing(container) as root:
                await self._in_thread(partial(work, root))
            async with self._workbench.changes(container) as layer:
                await self._cache.take(state, key, layer, created_by)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._disk)


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
