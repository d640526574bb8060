"""supervisor.process.quick_dataclasses: compiled late, dataclasses mean what they always meant."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.process import quick_dataclasses

ROOT = Path(__file__).parents[3]

# Run twice, with and without; what it prints must be the same.
SCRIPT = """
import dataclasses, pickle, sys
from dataclasses import dataclass, field, replace

if sys.argv[1] == "late":
    from supervisor.process.quick_dataclasses import install
    install()

def tried(act):
    try:
        return act()
    except Exception as error:
        return f"{type(error).__name__}: {error}"

@dataclass
class Plain:
    a: int
    b: list = field(default_factory=list)

@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    a: int
    b: str = "b"

    def __post_init__(self):
        if self.a < 0:
            raise ValueError("negative")

@dataclass(frozen=True, slots=True, kw_only=True)
class Below(Value):
    c: float = 1.5

@dataclass(order=True)
class Ordered:
    a: int
    hidden: object = field(default=None, repr=False, compare=False)

@dataclass
class Calls(Plain):
    def __init__(self, a):
        super().__init__(a, [a])

for act in (
    lambda: Plain(1),
    lambda: Plain(1, b=[2]) == Plain(1, [2]),
    lambda: Plain(1).b is Plain(1).b,
    lambda: Plain(),
    lambda: Plain(1, 2, 3),
    lambda: Plain(c=1),
    lambda: hash(Plain(1)),
    lambda: Value(a=1),
    lambda: Value(1),
    lambda: Value(a=-1),
    lambda: Value(a=1) == Value(a=1),
    lambda: Value(a=1) == Below(a=1),
    lambda: hash(Value(a=1)) == hash(Value(a=1)),
    lambda: len({Value(a=1), Value(a=1), Value(a=2)}),
    lambda: setattr(Value(a=1), "a", 2),
    lambda: delattr(Value(a=1), "a"),
    lambda: setattr(Value(a=1), "z", 2),
    lambda: setattr(Below(a=1), "c", 2),
    lambda: Below(a=1, c=2),
    lambda: replace(Below(a=1), b="x"),
    lambda: dataclasses.asdict(Below(a=1)),
    lambda: pickle.loads(pickle.dumps(Below(a=1))),
    lambda: sorted([Ordered(2), Ordered(1)]),
    lambda: Ordered(1, 2) == Ordered(1, 3),
    lambda: Ordered(1) < 1,
    lambda: Calls(7),
    lambda: (Value.__init__.__name__, Value.__eq__.__qualname__),
    lambda: [f.name for f in dataclasses.fields(Below)],
):
    print(tried(act))
    print(tried(act))  # once more: now the methods are compiled
"""


def test_they_mean_what_they_always_meant() -> None:
    """Values, equality, order, hashes, frozen fields, inheritance, and every error's words."""
    late, early = (
        subprocess.run(
            [sys.executable, "-c", SCRIPT, how],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for how in ("late", "early")
    )
    assert late == early
    assert "Below(a=1, b='b', c=2)" in late


@pytest.mark.skipif(
    sys.version_info[:2] not in quick_dataclasses.KNOWN, reason="nothing is done there"
)
def test_methods_are_compiled_when_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """None at the class; each once, whoever calls it first; then the class has it itself."""
    compiled: list[str] = []
    create = dataclasses._create_fn  # type: ignore[attr-defined]

    def counting(name: str, *args: object, **how: object) -> object:
        compiled.append(name)
        return create(name, *args, **how)

    monkeypatch.setattr(dataclasses, "_create_fn", counting)
    quick_dataclasses.install()

    @dataclasses.dataclass(frozen=True, slots=True)
    class Value:
        a: int

    assert compiled == []
    assert Value(1) == Value(1)
    assert compiled == ["__init__", "__eq__"]
    assert Value(2) != Value(1)
    assert compiled == ["__init__", "__eq__"]
    assert Value.__init__.__code__.co_varnames == ("self", "a")
