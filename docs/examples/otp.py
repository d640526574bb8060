"""A small supervision tree: a store, a feed that needs it, and workers that come and go.

Run it: `python docs/examples/otp.py`. Nothing in it is random; it ends by itself.
"""

from __future__ import annotations

from functools import partial

import trio

from supervisor.otp import (
    Backoff,
    ChildSpec,
    ChildType,
    DynamicSupervisor,
    Intensity,
    Node,
    ReportKind,
    Restart,
    Strategy,
    Supervisor,
    stop_request,
)


class Store:
    """Keeps numbers. It drains: what was put before the stop request is written before it ends."""

    def __init__(self) -> None:
        self.written: list[int] = []
        self._unwritten: list[int] = []

    def put(self, number: int) -> None:
        """Keep `number`; it is written soon."""
        self._unwritten.append(number)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write every 10 ms until asked to stop, and once more then."""
        request = stop_request()  # from here on a stop is a request, and we end by ourselves
        task_status.started()
        while not request.is_set():
            with trio.move_on_after(0.01):
                await request.wait()
            self._write()
        print(f"store: drained, {len(self.written)} numbers written")

    def _write(self) -> None:
        self.written += self._unwritten
        self._unwritten.clear()


class Feed:
    """Puts numbers into the store, and falls over once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._number = 0  # made outside of run(): it survives a restart

    async def run(self) -> None:
        """Put a number every 5 ms."""
        while True:
            self._number += 1
            if self._number == 5:
                raise ValueError("five is right out")
            self._store.put(self._number)
            await trio.sleep(0.005)


async def greet(name: str, *, task_status: trio.TaskStatus[str]) -> None:
    """A worker: says when it is ready, and what its starter gets to know."""
    task_status.started(f"hello from {name}")
    await trio.sleep_forever()


def build(store: Store, workers: DynamicSupervisor) -> Supervisor:
    """The tree. If the store ends, what was started after it is restarted with it."""
    return Supervisor(
        [
            ChildSpec(id="store", start=store.run, shutdown_s=1.0),
            ChildSpec(id="feed", start=Feed(store).run, backoff=Backoff(first_s=0.02)),
            ChildSpec(id="workers", start=workers.run, type=ChildType.SUPERVISOR),
        ],
        name="root",
        strategy=Strategy.REST_FOR_ONE,
        intensity=Intensity(max_restarts=3, window_s=5.0),
    )


def show(node: Node, depth: int = 0) -> None:
    """Print the tree."""
    name = node.path.rsplit("/", 1)[-1]
    restarts = f", {node.restarts} restart" if node.restarts else ""
    print(f"{'  ' * depth}{name}: {node.state.value}{restarts}")
    for child in node.children:
        show(child, depth + 1)


async def main() -> None:
    """Run the tree for a moment, look at it, stop it."""
    store = Store()
    workers = DynamicSupervisor(name="workers")
    root = build(store, workers)
    with root.subscribe() as reports:
        async with trio.open_nursery() as nursery:
            await nursery.start(root.run)  # returns once every child is ready
            async for report in reports:
                if report.kind is ReportKind.CHILD_TERMINATED:
                    print(f"{report.supervisor}/{report.child_id} crashed: {report.error}")
                    break
            await trio.sleep(0.1)  # its back-off; then it and the workers are started again
            for name in ("ann", "bob"):
                start = partial(greet, name)
                spec = ChildSpec(id=name, start=start, restart=Restart.TEMPORARY)
                print(await workers.start_child(spec))
            await workers.terminate_child("ann")
            show(root.tree())
            root.stop()  # children end in reverse order, the store last; then run() returns


if __name__ == "__main__":
    trio.run(main)
