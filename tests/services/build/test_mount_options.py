"""One --mount of a RUN: what its options mean, and what is refused in BuildKit's words."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.build.mount_options import MountType, RunMount, mount_origin, parse_mount
from services.build.sharing import Sharing
from services.errors import InvalidParameter

VARIABLES: Final = {"T": "/there", "RO": "false", "N": "12"}


def expand(value: str) -> str:
    """Enough of a shell for tests."""
    for name, replacement in VARIABLES.items():
        value = value.replace(f"${name}", replacement)
    return value


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("target=/a", RunMount(target="/a")),
        ("type=bind,dst=/a,src=b,from=c", RunMount(target="/a", source="b", origin="c")),
        ("destination=/a,rw", RunMount(target="/a", is_read_only=False)),
        ("target=/a,readwrite=0", RunMount(target="/a")),
        ("target=/a,ro=$RO", RunMount(target="/a", is_read_only=False)),
        (
            "TYPE=Cache,target=$T",
            RunMount(type=MountType.CACHE, target="/there", is_read_only=False),
        ),
        (
            "type=cache,target=/a,id=i,sharing=LOCKED,readonly,mode=0700,uid=$N,gid=3",
            RunMount(
                type=MountType.CACHE, target="/a", id="i", sharing=Sharing.LOCKED,
                mode=0o700, uid=12, gid=3,
            ),
        ),
        (
            "type=tmpfs,target=/a,size=1.5m",
            RunMount(type=MountType.TMPFS, target="/a", size_bytes=1572864, is_read_only=False),
        ),
        ("type=tmpfs,target=/a,ro", RunMount(type=MountType.TMPFS, target="/a")),
        (
            "type=secret,id=s,env=E,required",
            RunMount(type=MountType.SECRET, id="s", env="E", is_required=True),
        ),
        ("type=ssh,mode=0600", RunMount(type=MountType.SSH, mode=0o600)),
        ('"target=/a,b",source=c', RunMount(target="/a,b", source="c")),
        ("target=/a,target=/b", RunMount(target="/b")),
    ],
)  # fmt: skip
def test_options(text: str, mount: RunMount) -> None:
    """Each option, by all of its names; variables in values."""
    assert parse_mount(text, expand) == mount


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("type=no", 'unsupported mount type "no"'),
        ("target", "invalid field 'target' must be a key=value pair"),
        ("Target=/a,nope=1", "unexpected key 'nope' in 'nope=1'"),
        ("required=true,type=ssh", "unexpected key 'required' for mount type 'bind'"),
        ("type=cache,size=1m", "unexpected key 'size' for mount type 'cache'"),
        ("type=tmpfs,size=-1", "invalid value for size: -1"),
        ("ro=maybe", "invalid value for ro: maybe"),
        ("type=cache,sharing=none", 'unsupported sharing value "none"'),
        ("type=cache,mode=9", "invalid value 9 for mode"),
        ("type=cache,uid=-1", "invalid value -1 for uid"),
        ("type=cache,gid=4294967296", "invalid value 4294967296 for gid"),
        ("mode=0700,target=/a", 'mode not allowed for "bind" type mounts'),
        ("type=tmpfs,uid=1", 'uid not allowed for "tmpfs" type mounts'),
        ("sharing=shared", "invalid cache sharing set for bind mount"),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=secret,id=a,src=b", "both source and id can't be set"),
        ("type=secret,id=a,sharing=shared", "secret mount should not define sharing"),
        ('"target=/a', "failed to parse csv mounts: unexpected end of data"),
    ],
)
def test_refusals(text: str, error: str) -> None:
    """In BuildKit's words."""
    with pytest.raises(InvalidParameter) as caught:
        parse_mount(text, expand)
    assert str(caught.value) == error


def test_origins_hold_no_variables() -> None:
    """Which stages a stage needs is known before any variable is."""
    assert mount_origin("type=cache,target=$T,FROM=a") == "a"
    assert mount_origin("target=$T") == ""
    assert mount_origin("from=a$") == "a$"
    with pytest.raises(InvalidParameter, match="'from' doesn't support variable expansion"):
        mount_origin("from=$A")


WORDS: Final = st.text(st.characters(exclude_characters='",$=\r\n', codec="utf-8"), max_size=8)
OPTIONS: Final = st.one_of(
    st.tuples(st.sampled_from(("target", "dst", "source", "src", "id")), WORDS),
    st.tuples(st.sampled_from(("ro", "rw", "readonly", "readwrite")), st.sampled_from("01tf")),
    st.tuples(st.just("sharing"), st.sampled_from([one.value for one in Sharing])),
    st.tuples(st.sampled_from(("uid", "gid")), st.integers(0, 2**32 - 1).map(str)),
    st.tuples(st.just("mode"), st.integers(0, 0o7777).map(lambda mode: f"{mode:o}")),
)


@given(st.lists(OPTIONS))
def test_the_last_of_a_name_counts(options: list[tuple[str, str]]) -> None:
    """Whatever the order and the names they are given by."""
    text = ",".join(["type=cache", *(f"{name}={value}" for name, value in options)])
    mount = parse_mount(text, str)
    same = {"dst": "target", "src": "source", "readonly": "ro", "readwrite": "rw"}
    last = {same.get(name, name): value for name, value in options}
    assert (mount.target, mount.source, mount.id) == tuple(
        last.get(name, "") for name in ("target", "source", "id")
    )
    assert mount.uid == (int(last["uid"]) if "uid" in last else None)
    assert mount.mode == (int(last["mode"], 8) if "mode" in last else None)
    access = [(same.get(n, n), v in "1t") for n, v in options if same.get(n, n) in ("ro", "rw")]
    wanted = access[-1][1] is (access[-1][0] == "ro") if access else False
    assert mount.is_read_only is wanted


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """There is no other error."""
    with suppress(InvalidParameter):
        parse_mount(text, str)
