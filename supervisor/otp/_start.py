"""Calling a child's `start`, with what its spec asks for around it."""

from __future__ import annotations

import trio

from supervisor.otp.child import Child, Ready
from supervisor.otp.errors import Unhealthy
from supervisor.otp.spec import Probe
from supervisor.otp.state import State


async def run_start(child: Child) -> None:
    """Run `child` to its end, in its own task and scope. Raises what it raises."""
    spec = child.spec
    if not spec.takes_status:
        Ready(child).started()
    if spec.healthy is not None:
        await _run_probed(child, spec.healthy)
    elif spec.takes_status:
        await spec.start(task_status=Ready(child))
    else:
        await spec.start()


async def _run_probed(child: Child, probe: Probe) -> None:
    """The child beside its probe. What the child raises is not put into a group of ours."""
    start, error = child.spec.start, None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_probe, child, probe)
        try:
            await (start(task_status=Ready(child)) if child.spec.takes_status else start())
        except BaseException as caught:  # raised again once the probe has ended
            error = caught
        nursery.cancel_scope.cancel()
    try:
        if error is not None:
            raise error
    finally:
        error = None  # its traceback holds this frame


async def _probe(child: Child, probe: Probe) -> None:
    """Ends the child through its supervisor, so that it may still drain."""
    bad = 0
    error: Exception | None = None
    while bad < probe.tries:
        await trio.sleep(probe.every_s)
        if child.state is not State.RUNNING:
            continue
        is_well = False
        with trio.move_on_after(probe.limit_s):
            try:
                is_well = await probe.check()
            except Exception as caught:  # one that cannot tell is a bad answer, whatever it raises
                error = caught
        bad = 0 if is_well else bad + 1
    if child.state is State.RUNNING:
        verdict = Unhealthy(child.owner.path, child.id, f"failed its probe {bad} times")
        verdict.__context__ = error
        child.owner.end_unhealthy(child, verdict)
