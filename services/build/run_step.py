"""The RUNs of one stage: the command in a container with its mounts, and what it has changed.

Source: Docker documentation, "Dockerfile reference", RUN; BuildKit, executor/stubs.go, for the
places of mounts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import msgspec
import trio

from services.containers import Container
from services.containers.config import HostConfig
from services.dockerfile import Line
from services.dockerfile.text import mended
from services.images.instructions import Scope, command_words

from .context import BuildContext
from .flags import flags_of
from .mount_places import missing_places, remove_places
from .output import StageOutput
from .plan import PREDEFINED_ARGS
from .request import BuildRequest
from .run_mounts import RunMounts, targets_of
from .stage_state import StageState, mixed
from .step_cache import StepCache
from .workbench import Command, Workbench

T = TypeVar("T")

_SHOWN_DIGITS = 12


class RunSteps:
    """Makes them."""

    def __init__(
        self,
        *,
        request: BuildRequest,
        context: BuildContext,
        workbench: Workbench,
        cache: StepCache,
        mounts: RunMounts,
        output: StageOutput,
        disk: trio.CapacityLimiter,
    ) -> None:
        self._request, self._context, self._workbench = request, context, workbench
        self._cache, self._mounts = cache, mounts
        self._output, self._disk = output, disk

    async def make(self, state: StageState, line: Line, scope: Scope) -> None:
        """Run the command, unless it was run before.

        Raises:
            CommandFailed: it ended with another code than 0.
            InvalidParameter: a mount is malformed, or what it shows is not there.
        """
        network = flags_of(line).get("network", "")
        words, script = _words(state, line)
        arguments = self._arguments(state)
        mounts = await self._mounts.read(line, scope, state.config.working_dir or "/")
        identity = [repr([mount.identity() for mount in mounts])] if mounts else []
        created_by = _created_by(words, arguments)
        if mounts:  # so that an image of --cache-from tells whether it had the same
            created_by += f" # mounts:{mixed(*identity)[:_SHOWN_DIGITS]}"
        key = state.mix("RUN", created_by, script, network, *identity)
        if await self._cache.is_cached(state, key, "" if script else created_by):
            return
        host = _networked(self._request.host, network)
        if script:
            put = partial(self._context.put_aside, script.encode("utf-8", "surrogateescape"), 0o755)
            path = await self._in_thread(put)
            host = msgspec.structs.replace(host, binds=[f"{path}:{words[0]}:ro"])
        text = " ".join(words)
        base = await self._cache.finish(state)
        async with (
            self._mounts.ready(mounts, host, text) as (mounted, more),
            self._workbench.container(
                base, state.config, words=words, env={**arguments, **more}, host=mounted
            ) as container,
        ):
            await self._output.say(f" ---> Running in {container.id[:12]}\n")
            command = Command(words=words, text=text, env=arguments, host=mounted, line=line.number)
            async with self._places_cleared(container, mounted):
                await self._workbench.run(container, command, self._output)
            async with self._workbench.changes(container) as layer:
                await self._cache.take(state, key, layer, created_by)
        await self._output.say(f"Removed intermediate container {container.id[:12]}\n")

    @asynccontextmanager
    async def _places_cleared(self, container: Container, host: HostConfig) -> AsyncIterator[None]:
        """The command runs in the block; after it, what was made to mount something at is gone."""
        targets = targets_of(host)
        if not targets:
            yield
            return
        async with self._workbench.writing_own(container) as root:
            places = await self._in_thread(partial(missing_places, root, targets))
        yield
        if places:
            async with self._workbench.writing_own(container) as root:
                await self._in_thread(partial(remove_places, root, places))

    def _arguments(self, state: StageState) -> dict[str, str]:
        """The variables of a RUN besides the image's: declared ones, and proxies that are given."""
        given = self._request.build_args.items()
        proxies = {name: value for name, value in given if name in PREDEFINED_ARGS and value}
        return {**proxies, **state.arguments}

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._disk)


def _words(state: StageState, line: Line) -> tuple[list[str], str]:
    """The command, and the text of the script that it is, if a here-document is one."""
    if not line.heredocs:
        return command_words(line.arguments, state.shell), ""
    first = line.heredocs[0]
    if len(line.heredocs) == 1 and line.arguments.lstrip("0123456789").startswith("<<"):
        only = line.arguments.split(None, 1)
        if len(only) == 1:
            if first.content.startswith("#!"):
                return [f"/dev/pipes/{first.name}"], first.content
            return [*state.shell, mended(first.content)], ""
    bodies = "".join(f"{doc.content}{doc.name}\n" for doc in line.heredocs)
    return [*state.shell, f"{line.arguments}\n{mended(bodies)}"], ""


def _created_by(words: list[str], arguments: dict[str, str]) -> str:
    """The command as the history has it, the arguments that count for it first."""
    counted = {k: v for k, v in sorted(arguments.items()) if k not in PREDEFINED_ARGS}
    text = " ".join(words)
    if not counted:
        return text
    shown = " ".join(f"{name}={value}" for name, value in counted.items())
    return f"|{len(counted)} {shown} {text}"


def _networked(host: HostConfig, network: str) -> HostConfig:
    """`network` is one of `plan.NETWORKS`, or "" for the build's."""
    if network in ("", "default"):
        return host
    return msgspec.structs.replace(host, network_mode=network)
