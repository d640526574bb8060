"""A supervised service in thirty lines: it beats, it fails now and then, and beats on.

Run it: `python docs/examples/heartbeat.py`. It ends by itself.
"""

import trio

from supervisor.otp import Backoff, ChildSpec, Intensity, Supervisor, stop_request


class Heartbeat:
    """Counts its beats. The object outlives its task: a restart goes on with the same count."""

    def __init__(self, *, every_s: float) -> None:
        self.beats = 0
        self._every_s = every_s

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Beat until asked to stop."""
        request = stop_request()
        task_status.started()  # ready: what stands behind it in the tree starts now
        while not request.is_set():
            self.beats += 1
            if self.beats % 3 == 0:
                raise RuntimeError(f"beat {self.beats} failed")  # its supervisor decides
            print(f"beat {self.beats}", flush=True)
            await trio.sleep(self._every_s)


async def main() -> None:
    """A tree of one, which is asked to stop after a while."""
    heart = Heartbeat(every_s=0.02)
    spec = ChildSpec(id="heart", start=heart.run, backoff=Backoff(first_s=0.01, cap_s=0.1))
    root = Supervisor([spec], name="root", intensity=Intensity(max_restarts=20, window_s=10.0))
    async with trio.open_nursery() as nursery:
        await nursery.start(root.run)
        await trio.sleep(0.5)
        root.stop()
    print("stopped")


if __name__ == "__main__":
    trio.run(main)
