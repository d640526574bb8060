"""A system call rule with the conditions under which it is in force, and its OCI form."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from services.containers.spec.values import Json

ALLOW: Final = "SCMP_ACT_ALLOW"


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """A comparison of one argument, in libseccomp's words. For MASKED_EQ `value` is the mask."""

    index: int
    op: str
    value: int
    value_two: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`action` for calls with these names whose arguments compare so.

    In force when all of `capabilities` are held, none of the unless_capabilities, the architecture
    is among `architectures` (if any are named) and not among the unless_architectures, and the
    kernel is at least `min_kernel` and older than `unless_kernel`.
    Architectures are OCI's names ("amd64") or docker's of a sub-architecture ("x32").
    """

    names: tuple[str, ...]
    action: str = ALLOW
    errno: int | None = None
    args: tuple[Argument, ...] = ()
    capabilities: tuple[str, ...] = ()
    unless_capabilities: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    unless_architectures: tuple[str, ...] = ()
    min_kernel: tuple[int, int] | None = None
    unless_kernel: tuple[int, int] | None = None

    def applies(
        self, *, capabilities: Collection[str], architecture: str, kernel: tuple[int, int]
    ) -> bool:
        """Whether the conditions hold for a container with this bounding set on this host."""
        return (
            all(name in capabilities for name in self.capabilities)
            and not any(name in capabilities for name in self.unless_capabilities)
            and (not self.architectures or architecture in self.architectures)
            and architecture not in self.unless_architectures
            and (self.min_kernel is None or kernel >= self.min_kernel)
            and (self.unless_kernel is None or kernel < self.unless_kernel)
        )


def oci_syscalls(
    rules: Iterable[Rule],
    *,
    capabilities: Collection[str],
    architecture: str,
    kernel: tuple[int, int],
) -> list[Json]:
    """The OCI `syscalls` list: the rules in force, in order."""
    return [
        _oci_rule(rule)
        for rule in rules
        if rule.applies(capabilities=capabilities, architecture=architecture, kernel=kernel)
    ]


def _oci_rule(rule: Rule) -> Json:
    entry: Json = {"names": list(rule.names), "action": rule.action}
    if rule.errno is not None:
        entry["errnoRet"] = rule.errno
    if rule.args:
        entry["args"] = [
            {"index": a.index, "value": a.value, "valueTwo": a.value_two, "op": a.op}
            for a in rule.args
        ]
    return entry
