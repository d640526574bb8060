"""services.events.filters: dockerd's rules, against a plain model of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.events import Event, EventFilters
from services.events._reference import familiar_name

from .conftest import event

HEX = "0123456789abcdef" * 4
ACTOR_KEYS = ["daemon", "container", "plugin", "volume", "network", "node", "service", "secret"]
WORDS = st.sampled_from(
    ["", "a", "ab", "abc", "busybox", "busybox:latest", "b", "x=1", "x", "y=", "local", "container"]
)
ACTIONS = st.sampled_from(
    ["start", "die", "exec_create", "exec_create: sh", "health_status: healthy", "exec", "health"]
)
FIELDS = st.dictionaries(
    st.sampled_from([*ACTOR_KEYS, "config", "image", "label", "scope", "type", "event", "unknown"]),
    st.lists(st.one_of(WORDS, ACTIONS), max_size=3),
    max_size=4,
)
EVENTS = st.builds(
    Event,
    type=st.sampled_from(["container", "image", "network", "daemon"]),
    action=ACTIONS,
    actor_id=WORDS,
    attributes=st.dictionaries(st.sampled_from(["name", "image", "x", "y", "a"]), WORDS),
    time_ns=st.just(1),
    scope=st.sampled_from(["local", "swarm"]),
)


def model(fields: dict[str, list[str]], happened: Event) -> bool:
    """The rules written down one by one, with neither shortcuts nor shared helpers."""

    def exact(key: str, source: str) -> bool:
        return not fields.get(key) or source in fields[key]

    def fuzzy(key: str, source: str) -> bool:
        if exact(key, source):
            return True
        return any(source[: len(prefix)] == prefix for prefix in fields[key])

    def labelled() -> bool:
        for wanted in fields.get("label", []):
            if "=" in wanted:
                key, value = wanted.split("=", 1)
                if happened.attributes.get(key) != value:
                    return False
            elif wanted not in happened.attributes:
                return False
        return True

    fuzzy_actions = {"health_status", "exec_create", "exec_start"} & set(fields.get("event", []))
    name_key = "name" if happened.type == "image" else "image"
    image = happened.attributes.get(name_key, "")
    untagged = {"busybox:latest": "busybox"}
    return (
        (fuzzy if fuzzy_actions else exact)("event", happened.action)
        and exact("type", happened.type)
        and exact("scope", happened.scope)
        and all(
            fuzzy(key, happened.actor_id) or fuzzy(key, happened.attributes.get("name", ""))
            for key in [*ACTOR_KEYS, "config"]
        )
        and any(
            exact("image", text)
            for word in (happened.actor_id, image)
            for text in (word, untagged.get(word, word))
        )
        and labelled()
    )


@given(FIELDS, EVENTS)
def test_against_the_model(fields: dict[str, list[str]], happened: Event) -> None:
    """Any filters on any event give what the rules give."""
    assert EventFilters(fields).matches(happened) == model(fields, happened)


@pytest.mark.parametrize("fields", [{}, {"type": []}])
def test_nothing_asked_is_everything(fields: dict[str, list[str]]) -> None:
    """Absent and empty filters let everything pass."""
    filters = EventFilters(fields)
    assert not filters
    assert filters.matches(event(1))


@pytest.mark.parametrize(
    ("wanted", "is_match"),
    [
        ({"container": ["c0ff"]}, True),
        ({"container": ["web"]}, True),
        ({"container": ["we"]}, True),
        ({"container": ["eb"]}, False),
        ({"network": ["web"]}, True),  # dockerd looks at no type here
        ({"event": ["exec_create"]}, True),
        ({"event": ["exec_create: ls"]}, False),
        ({"event": ["exec"]}, False),
        ({"image": ["repo.example:5000/app"]}, True),
        ({"image": ["repo.example:5000/app:v1"]}, True),
        ({"image": ["app"]}, False),
        ({"label": ["tier=front"]}, True),
        ({"label": ["tier", "zone"]}, False),
        ({"type": ["container", "image"]}, True),
    ],
)
def test_examples(wanted: dict[str, list[str]], is_match: bool) -> None:
    """What users ask for, on one event of an exec."""
    happened = event(
        1,
        action="exec_create: sh -c ls",
        actor_id="c0ffee" + HEX,
        attributes={"name": "web", "image": "repo.example:5000/app:v1", "tier": "front"},
    )
    assert EventFilters(wanted).matches(happened) is is_match


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("busybox:latest", "busybox"),
        ("busybox", "busybox"),
        ("docker.io/library/busybox:1", "busybox"),
        ("index.docker.io/library/busybox", "busybox"),
        ("docker.io/me/app@sha256:" + HEX, "me/app"),
        ("localhost/app:1", "localhost/app"),
        ("repo.example:5000/a/b:tag@sha256:" + HEX, "repo.example:5000/a/b"),
        (HEX, HEX),
        ("sha256:" + HEX, "sha256"),  # reads as a repository with a tag: dockerd's rule too
        ("UPPER", "UPPER"),
        ("a//b", "a//b"),
        ("", ""),
    ],
)
def test_familiar_name(reference: str, name: str) -> None:
    """References lose tag, digest and defaults; what is none stays."""
    assert familiar_name(reference) == name
