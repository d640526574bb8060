"""Users and groups by name or number, looked up in a container's own files. Pure.

Source: runc, libcontainer/user, which dockerd uses: what counts as a match, and the error texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from services.containers.spec.values import ResolvedUser
from services.errors import InvalidParameter

MAX_ID: Final = 2**31 - 1
_NUMBER: Final = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFiles:
    """The bytes of /etc/passwd and /etc/group; empty when a file is missing."""

    passwd: bytes = b""
    group: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def resolve_user(spec: str, files: AccountFiles, group_add: Sequence[str] = ()) -> ResolvedUser:
    """The numbers of "", "user", "uid", "user:group" or any mixture. "" is root.

    A number needs no entry. An explicit group replaces the account's, and drops the other groups
    that the account is in. `group_add` are further groups, by name or number.

    Raises:
        InvalidParameter: a name without an entry, or a number out of range.
    """
    user_part, _, rest = spec.partition(":")
    group_part = rest.partition(":")[0]
    account = _find_account(user_part, files.passwd)
    uid, gid, home = (account.uid, account.gid, account.home) if account else (0, 0, "/")
    if account is None and user_part:
        uid = _number_or_refuse(user_part, f"user {user_part}", "passwd")
    extra: list[int] = []
    if group_part:
        gid = _find_group(group_part, files.group)
    elif account is not None:
        extra = [g.gid for g in _groups(files.group) if account.name in g.members]
    extra += [_find_additional(name, files.group) for name in group_add]
    return ResolvedUser(uid=uid, gid=gid, groups=tuple(dict.fromkeys(extra)), home=home or "/")


def _find_account(wanted: str, passwd: bytes) -> _Account | None:
    """The first match counts. What reads as a number is never taken for a name."""
    number = _number(wanted) if wanted else 0
    for account in _accounts(passwd):
        if account.uid == number if number is not None else account.name == wanted:
            return account
    return None


def _find_group(wanted: str, group: bytes) -> int:
    number = _number(wanted)
    for entry in _groups(group):
        if entry.gid == number if number is not None else entry.name == wanted:
            return entry.gid
    return _number_or_refuse(wanted, f"group {wanted}", "group")


def _find_additional(wanted: str, group: bytes) -> int:
    """Here a name that looks like a number is a name too, if there is one."""
    for entry in _groups(group):
        if wanted in (entry.name, str(entry.gid)):
            return entry.gid
    if _number(wanted) is None:  # with a capital, as its library has it
        raise InvalidParameter(f"Unable to find group {wanted}: no matching entries in group file")
    return _number_or_refuse(wanted, f"group {wanted}", "group")


def _number_or_refuse(text: str, what: str, file: str) -> int:
    number = _number(text)
    if number is None:
        raise InvalidParameter(f"unable to find {what}: no matching entries in {file} file")
    if not 0 <= number <= MAX_ID:
        raise InvalidParameter(f"uids and gids must be in range 0-{MAX_ID}")
    return number


def _number(text: str) -> int | None:
    # Twenty digits are out of range anyway; int() of a long text is slow.
    return int(text[:20]) if _NUMBER.fullmatch(text) else None


def _accounts(passwd: bytes) -> Iterator[_Account]:
    for fields in _lines(passwd):
        name, _, uid, gid, _, home = (*fields, *[""] * 6)[:6]
        yield _Account(name=name, uid=_number(uid) or 0, gid=_number(gid) or 0, home=home)


def _groups(group: bytes) -> Iterator[_Group]:
    for fields in _lines(group):
        name, _, gid, members = (*fields, *[""] * 4)[:4]
        yield _Group(name=name, gid=_number(gid) or 0, members=tuple(members.split(",")))


def _lines(data: bytes) -> Iterator[list[str]]:
    """The fields of each line; empty ones are skipped. Bytes outside UTF-8 survive."""
    for line in data.split(b"\n"):
        text = line.decode(errors="surrogateescape").strip()
        if text:
            yield text.split(":")
