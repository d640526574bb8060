"""The differential test: the same scenarios on OTP's supervisor and on ours, event for event."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from supervisor.otp import (
    AlreadyPresent,
    AlreadyStarted,
    AutoShutdown,
    BadSpec,
    ChildSpec,
    Intensity,
    NotFound,
    Restart,
    Restarting,
    Running,
    Shutdown,
    StartFailed,
    Strategy,
    Supervisor,
)
from tests.supervisor.otp.stage import Boom, Stage

SCENARIOS = 600
SEED = 2025  # of the scenarios; any will do
WINDOW_S = 3600.0  # the restarts of a whole scenario are within it, on either side
SCRIPT = Path(__file__).with_name("otp_scenarios.escript")
NAMES = "abcde"

ChildRow = tuple[str, Restart, bool]  # id, restart, significant
Step = tuple[str, ...]  # what to do, to whom, further words


@dataclass(frozen=True)
class Scenario:
    """A supervisor and what is done to it. Plans as in stage.py."""

    strategy: Strategy
    max_restarts: int
    auto_shutdown: AutoShutdown
    children: tuple[ChildRow, ...]
    plans: tuple[tuple[str, tuple[str, ...]], ...]
    steps: tuple[Step, ...]


# --- making them


def make_scenario(rng: random.Random) -> Scenario:
    """Any scenario that both sides can play without a race."""
    auto = rng.choice([AutoShutdown.NEVER] * 2 + list(AutoShutdown))
    names = NAMES[: rng.randint(1, 4)]
    plans = [(n, make_plan(rng)) for n in names if rng.random() < 0.06]
    return Scenario(
        strategy=rng.choice(list(Strategy)),
        max_restarts=rng.choice([0, 1, 3, 3, 10]),
        auto_shutdown=auto,
        children=tuple(make_child(rng, name, auto) for name in names),
        plans=tuple(plans),
        steps=tuple(make_step(rng, auto) for _ in range(rng.randint(1, 8))),
    )


def make_child(rng: random.Random, name: str, auto: AutoShutdown) -> ChildRow:
    """A child whose spec is good under `auto`."""
    restart = rng.choice([Restart.PERMANENT] * 2 + list(Restart))
    can_matter = auto is not AutoShutdown.NEVER and restart is not Restart.PERMANENT
    return (name, restart, can_matter and rng.random() < 0.6)


def make_plan(rng: random.Random) -> tuple[str, ...]:
    """How the next starts of a child go."""
    words = ["ok", "fail", "fail", "ignore", f"kill:{rng.choice(NAMES)}"]
    return tuple(rng.choice(words) for _ in range(rng.randint(1, 3)))


def make_step(rng: random.Random, auto: AutoShutdown) -> Step:
    """One thing to do."""
    name = rng.choice(NAMES)
    kind = rng.choices(
        ["end", "plan", "terminate", "restart", "delete", "start"], [8, 4, 2, 2, 2, 2]
    )[0]
    if kind == "end":
        return (kind, name, rng.choices(["crash", "normal", "shutdown"], [4, 1, 1])[0])
    if kind == "plan":
        return (kind, name, *make_plan(rng))
    if kind == "start":
        _, restart, significant = make_child(rng, name, auto)
        return (kind, name, restart.value, str(significant).lower())
    return (kind, name)


# --- playing them on Erlang


def as_term(scenario: Scenario) -> str:
    """The scenario as the escript reads it."""
    flags = (
        f"#{{strategy=>{scenario.strategy.value},intensity=>{scenario.max_restarts},"
        f"period=>{WINDOW_S:.0f},auto_shutdown=>{scenario.auto_shutdown.value}}}"
    )
    children = ",".join(f"{{{n},{r.value},{str(s).lower()}}}" for n, r, s in scenario.children)
    plans = ",".join(f"{n}=>{words_term(words)}" for n, words in scenario.plans)
    steps = ",".join(step_term(step) for step in scenario.steps)
    return f"{{{flags},[{children}],#{{{plans}}},[{steps}]}}."


def words_term(words: tuple[str, ...]) -> str:
    """A plan."""
    terms = [f"{{kill,{w[5:]}}}" if w.startswith("kill:") else w for w in words]
    return "[" + ",".join(terms) + "]"


def step_term(step: Step) -> str:
    """A step."""
    kind, name, *words = step
    match kind:
        case "plan":
            return f"{{plan,{name},{words_term(tuple(words))}}}"
        case "start":
            return f"{{start,{{{name},{words[0]},{words[1]}}}}}"
        case "end":
            return f"{{'end',{name},{words[0]}}}"
    return f"{{{kind},{name}}}"


def play_on_erlang(scenarios: list[Scenario], directory: Path) -> list[str]:
    """What happened in each, as one line."""
    file = directory / "scenarios.term"
    file.write_text("\n".join(as_term(scenario) for scenario in scenarios) + "\n")
    done = subprocess.run(
        ["escript", str(SCRIPT), str(file)], capture_output=True, text=True, timeout=110, check=True
    )
    return [tidy(line) for line in done.stdout.splitlines()]


def tidy(line: str) -> str:
    """Without blanks that mean nothing."""
    return "|".join(" ".join(step.split()) for step in line.split("|"))


# --- playing them on ours


class Player:
    """Plays one scenario on our supervisor."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.stage = Stage()
        for name, words in scenario.plans:
            self.stage.plans[name].extend(words)
        self.supervisor = Supervisor(
            [self.spec(row) for row in scenario.children],
            name="root",
            strategy=scenario.strategy,
            intensity=Intensity(max_restarts=scenario.max_restarts, window_s=WINDOW_S),
            auto_shutdown=scenario.auto_shutdown,
        )
        self.is_down = False
        self.lines: list[str] = []

    def spec(self, row: ChildRow) -> ChildSpec:
        """A child of the stage."""
        name, restart, significant = row
        return self.stage.spec(name, restart=restart, significant=significant)

    async def play(self) -> str:
        """What happened, in the escript's words."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run)
            await wait_all_tasks_blocked()
            self.note("")
            for step in self.scenario.steps:
                if self.is_down:
                    break
                reply = await self.step(step)
                await wait_all_tasks_blocked()
                self.note(reply)
            if not self.is_down:
                self.supervisor.stop()
                await wait_all_tasks_blocked()
                self.note("")
        return tidy("|".join(self.lines))

    async def run(self) -> None:
        """The supervisor, whatever its end."""
        with contextlib.suppress(Shutdown, StartFailed):
            await self.supervisor.run()
        self.is_down = True

    def note(self, reply: str) -> None:
        """Close a step."""
        children = ",".join(
            f"{child.id}:{child.state.value}" for child in self.supervisor.which_children()
        )
        end = "down" if self.is_down else f"#{children}"
        self.lines.append(" ".join([*self.stage.take_log(), reply, end]))

    async def step(self, step: Step) -> str:
        """Do one thing; the reply in Erlang's words."""
        kind, name, *words = step
        if kind == "plan":
            self.stage.plans[name].clear()
            self.stage.plans[name].extend(words)
            return ""
        if kind == "end":
            if self.stage.is_there(name):
                self.stage.order(name, words[0])
            return ""
        try:
            value = await self.call(kind, name, words)
        except (AlreadyPresent, AlreadyStarted, NotFound, Restarting, Running, BadSpec, Boom) as e:
            return f"={REPLIES[type(e)]}"
        return "=none" if value is None and kind in ("restart", "start") else "=ok"

    async def call(self, kind: str, name: str, words: list[str]) -> object:
        """One management call."""
        match kind:
            case "terminate":
                await self.supervisor.terminate_child(name)
                return None
            case "restart":
                return await self.supervisor.restart_child(name)
            case "delete":
                await self.supervisor.delete_child(name)
                return None
        spec = self.spec((name, Restart(words[0]), words[1] == "true"))
        return await self.supervisor.start_child(spec)


REPLIES = {
    AlreadyPresent: "already_present",
    AlreadyStarted: "already_started",
    NotFound: "not_found",
    Restarting: "restarting",
    Running: "running",
    BadSpec: "bad_spec",
    Boom: "failed",
}


@pytest.mark.erlang
@pytest.mark.skipif(shutil.which("escript") is None, reason="needs erlang-base")
def test_same_as_otp(tmp_path: Path) -> None:
    """In every scenario the same children start, stop and remain, in the same order."""
    rng = random.Random(SEED)
    scenarios = [make_scenario(rng) for _ in range(SCENARIOS)]
    different = find_differences(scenarios, tmp_path)
    # The Erlang side cannot know when a supervisor has come to rest, only wait: on a busy machine a
    # scenario may have been cut short, so what differs is played again, with less beside it.
    for _ in range(3):
        if different:
            different = find_differences([scenario for scenario, *_ in different], tmp_path)
    shown = "\n".join(f"{as_term(s)}\n  OTP  {t}\n  ours {o}" for s, t, o in different[:5])
    assert not different, f"{len(different)} of {SCENARIOS}:\n{shown}"


def find_differences(scenarios: list[Scenario], directory: Path) -> list[tuple[Scenario, str, str]]:
    """The scenarios that went differently, with what happened on OTP and on ours."""
    theirs = play_on_erlang(scenarios, directory)
    ours = [
        trio.run(Player(scenario).play, clock=MockClock(autojump_threshold=0))
        for scenario in scenarios
    ]
    played = zip(scenarios, theirs, ours, strict=True)
    return [(scenario, t, o) for scenario, t, o in played if t != o]
