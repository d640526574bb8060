"""Restarts of single parts of the tree, for a reload: a part, and no other, begins anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import trio

from supervisor.otp import Running, Supervisor

LIMIT_S: Final = 15.0


class PartNotUp(Exception):
    """A part did not become ready in time, or ended before; the text says which and why."""


class PartRestarts:
    """Knows the supervisors of the parts that a reload may restart, by their paths."""

    def __init__(self) -> None:
        self._supervisors: Mapping[str, Supervisor] = {}

    def bind(self, supervisors: Mapping[str, Supervisor]) -> None:
        """The supervisors of the tree that is about to run; a path begins with `root/`."""
        self._supervisors = supervisors

    async def restart(self, path: str) -> None:
        """End a part if it runs, and start it again; returns once it is ready.

        A part that finds nothing to do, and says so by ending before it is ready, is no failure.

        Raises:
            PartNotUp: it is not. It is then left stopped: the caller decides.
        """
        above, _, child_id = path.rpartition("/")
        supervisor = self._supervisors[above]
        try:
            with trio.fail_after(LIMIT_S):
                await supervisor.terminate_child(child_id)
                await supervisor.restart_child(child_id)
        except Running:
            # Its supervisor began anew between our two calls: so did the part.
            return
        except trio.TooSlowError as error:
            raise PartNotUp(f"{path} is not ready after {LIMIT_S:g} s") from error
        except Exception as error:  # a part's start may raise anything, and the reload is undone
            raise PartNotUp(f"{path} does not start: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """What people can do something about: of a group, its errors."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(_reason, error.exceptions))
    return str(error) or type(error).__name__
