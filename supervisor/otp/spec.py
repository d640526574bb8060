"""Child specs: what to run, when to run it again, how to end it. Data, checked at once."""

from __future__ import annotations

import enum
import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from supervisor.otp.errors import BadSpec

BRUTAL_KILL: Final = 0.0
"""`shutdown_s` of a child that is cancelled at once, whether it drains or not."""

INFINITY: Final = math.inf
"""`shutdown_s` of a child that is given all the time it needs: right for supervisors."""

_BY_TYPE: Final = -1.0  # shutdown_s was not given: OTP's default for the type of child
_VARKEYWORDS: Final = inspect.CO_VARKEYWORDS


class Restart(enum.Enum):
    """When a child that ended is started again."""

    PERMANENT = "permanent"  # always
    TRANSIENT = "transient"  # only after a crash
    TEMPORARY = "temporary"  # never; its spec goes with it


class Strategy(enum.Enum):
    """Which siblings are stopped and started with a child that is restarted."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"  # those that were started after it


class ChildType(enum.Enum):
    """What a child is, for counting and for the default of `shutdown_s`."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


class AutoShutdown(enum.Enum):
    """Whether a supervisor ends by itself when significant children have ended by themselves."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Wait before a restart: `first_s`, then `factor` times as long each time, never over `cap_s`.

    A child that ran for `reset_s` seconds begins at `first_s` again.
    """

    first_s: float = 0.1
    factor: float = 2.0
    cap_s: float = 30.0
    reset_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.first_s <= self.cap_s < math.inf:
            raise BadSpec(f"back-off needs 0 <= first_s <= cap_s < inf: {self}")
        if not (self.factor >= 1 and self.reset_s >= 0):
            raise BadSpec(f"back-off needs factor >= 1 and reset_s >= 0: {self}")

    def delay_s(self, failures: int) -> float:
        """Seconds to wait after `failures` (1 or more) ends in a row."""
        if self.first_s == 0:
            return 0.0
        # Bounded in the exponent: a float power overflows long before a patient child gives up.
        steps = min(
            failures - 1,
            math.ceil(math.log(self.cap_s / self.first_s, self.factor)) if self.factor > 1 else 0,
        )
        return min(self.first_s * self.factor**steps, self.cap_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Ask a running child every `every_s` whether it is well; `tries` bad answers in a row end it.

    `check` returns whether it is; False, an exception, or no answer within `limit_s` is a bad one.
    The child is asked to stop as ever, and its end counts as a crash with `Unhealthy`.
    """

    check: Callable[[], Awaitable[bool]]
    every_s: float = 10.0
    limit_s: float = 5.0
    tries: int = 3

    def __post_init__(self) -> None:
        if not (self.every_s > 0 and self.limit_s > 0 and self.tries >= 1):
            raise BadSpec(f"a probe needs every_s > 0, limit_s > 0, tries >= 1: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """One child of a supervisor.

    `start` is a plain trio function that runs as long as the child lives. If it takes a keyword
    `task_status` it is ready when it calls `task_status.started(value)`: returning before that is
    OTP's `ignore`, raising before that is a start error. If it does not, it is ready once it runs.
    It is called again for every restart.
    """

    id: str
    start: Callable[..., Awaitable[object]]
    restart: Restart = Restart.PERMANENT
    # From stop request to cancellation; 5 for a worker, inf for a supervisor.
    shutdown_s: float = _BY_TYPE
    type: ChildType = ChildType.WORKER
    significant: bool = False
    backoff: Backoff | None = None  # None: restart at once
    start_limit_s: float | None = None  # None: a start may take for ever
    healthy: Probe | None = None
    takes_status: bool = field(init=False, repr=False, compare=False, default=False)

    def __post_init__(self) -> None:
        if self.shutdown_s == _BY_TYPE:
            by_type = INFINITY if self.type is ChildType.SUPERVISOR else 5.0
            object.__setattr__(self, "shutdown_s", by_type)
        self._check()
        object.__setattr__(self, "takes_status", takes_task_status(self.start))

    def _check(self) -> None:
        if not self.id or not isinstance(self.id, str):
            raise BadSpec(f"a child's id must be a string that is not empty: {self.id!r}")
        if not callable(self.start):
            raise BadSpec(f"child {self.id!r}: start must be a function: {self.start!r}")
        if not self.shutdown_s >= 0:
            raise BadSpec(f"child {self.id!r}: shutdown_s must not be negative: {self.shutdown_s}")
        if self.start_limit_s is not None and not self.start_limit_s > 0:
            raise BadSpec(
                f"child {self.id!r}: start_limit_s must be more than 0: {self.start_limit_s}"
            )
        if self.significant and self.restart is Restart.PERMANENT:
            raise BadSpec(f"child {self.id!r}: a permanent child cannot be significant")


def check_childspecs(specs: Iterable[ChildSpec], auto_shutdown: AutoShutdown | None = None) -> None:
    """Whether a supervisor would take `specs` together.

    Each spec has been checked when it was made; here it is against the others, and against
    `auto_shutdown` unless that is None.

    Raises:
        BadSpec: an id occurs twice, or a child is significant under `AutoShutdown.NEVER`.
    """
    seen: set[str] = set()
    for spec in specs:
        if spec.id in seen:
            raise BadSpec(f"child {spec.id!r}: there are two of that id")
        if spec.significant and auto_shutdown is AutoShutdown.NEVER:
            raise BadSpec(f"child {spec.id!r}: significant, but auto_shutdown is never")
        seen.add(spec.id)


def takes_task_status(start: Callable[..., object]) -> bool:
    """Whether `start` can be called with the keyword `task_status`.

    Reads the code object where it can: `inspect.signature` takes 20 times as long, and a dynamic
    supervisor sees a spec for each of its 100,000 children.
    """
    function: object = start
    while isinstance(function, functools.partial):
        if "task_status" in function.keywords:
            return False
        function = function.func
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None or hasattr(function, "__wrapped__"):
        return _signature_takes_status(start)
    if code.co_flags & _VARKEYWORDS:
        return True
    names = code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]
    return "task_status" in names


def _signature_takes_status(start: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(start).parameters.values()
    except (TypeError, ValueError):  # a builtin that does not tell
        return False
    return any(
        p.kind is p.VAR_KEYWORD or (p.name == "task_status" and p.kind is not p.POSITIONAL_ONLY)
        for p in parameters
    )
