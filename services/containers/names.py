"""Container names and ids: what is allowed, and what is made up when none is given."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Final

from services.containers.model import ContainerId
from services.errors import InvalidParameter

NAME_CHARACTERS: Final = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
_NAME: Final = re.compile(rf"/?{NAME_CHARACTERS}+\Z")

# ruff: noqa: SIM905 - words are read and edited as words
_MOODS: Final = (
    "able adept agile amber ample ardent astute awake balmy bold brave breezy bright brisk calm "
    "candid cheery civil clear clever cosy crisp daring deft eager easy elated fair fleet fond "
    "frank free fresh gentle glad golden grand hardy hearty honest humble jolly keen kind lively "
    "loyal lucid mellow merry mild modest neat nimble noble open patient placid plucky polite "
    "prime proud quick quiet rapid ready robust rosy serene sharp shrewd silent sleek smart snug "
    "sober solid spry stable steady stout sturdy sunny swift tidy tranquil trusty upbeat vivid "
    "warm wise witty worthy zesty"
).split()
_VESSELS: Final = (
    "argosy barge bark barque brig caravel carrack catboat clipper cog coracle corvette currach "
    "cutter dhow dinghy dory drifter felucca ferry flatboat frigate galleon galley gig gondola "
    "hoy hulk jolly junk kayak keelboat ketch knarr launch lighter longboat lugger packet pinnace "
    "pirogue proa punt raft sampan schooner scow shallop skiff sloop smack tartane tender trawler "
    "trimaran trireme tug umiak wherry whaler xebec yacht yawl"
).split()


def new_id() -> ContainerId:
    """A random id whose short form is not all digits: such a host name breaks some tools."""
    while True:
        candidate = secrets.token_hex(32)
        if not candidate[:12].isdigit():
            return ContainerId(candidate)


def checked_name(name: str) -> str:
    """`name` without its leading slash.

    Raises:
        InvalidParameter: it is not one that Docker allows.
    """
    if not _NAME.match(name):
        raise InvalidParameter(
            f"Invalid container name ({name}), only {NAME_CHARACTERS} are allowed"
        )
    return name.removeprefix("/")


def made_up_name(is_taken: Callable[[str], bool]) -> str:
    """A name of two words that nobody has; after six tries one with a number."""
    for attempt in range(1000):
        name = f"{secrets.choice(_MOODS)}_{secrets.choice(_VESSELS)}"
        if attempt >= 6:
            name += str(secrets.randbelow(10**4))
        if not is_taken(name):
            return name
    return f"{name}_{secrets.token_hex(8)}"
