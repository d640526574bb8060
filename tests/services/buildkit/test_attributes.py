"""What clients ask of the front end, as requests of the builder."""

from __future__ import annotations

import pytest

from services.buildkit.attributes import read_wish
from services.containers.config import Ulimit
from services.errors import EngineError, InvalidParameter, NotSupported


def test_what_buildx_sends() -> None:
    """As it was recorded: each flag of `docker build` finds its field."""
    wish = read_wish(
        {
            "add-hosts": "foo=1.2.3.4,v6=::1",
            "build-arg:A": "b",
            "build-arg:BUILDKIT_INLINE_CACHE": "1",
            "cgroup-parent": "/x",
            "filename": "sub/Dockerfile.x",
            "force-network-mode": "host",
            "image-resolve-mode": "pull",
            "label:q": "r",
            "no-cache": "",
            "platform": "linux/amd64",
            "shm-size": "67108864",
            "target": "t",
            "ulimit": "nofile=100:200,nproc=5",
            "vcs:revision": "abc",
        }
    )
    request, host = wish.request, wish.request.host
    assert (request.dockerfile, request.target) == ("sub/Dockerfile.x", "t")
    assert not request.uses_cache
    assert (request.build_args, request.labels, request.pulls) == ({"A": "b"}, {"q": "r"}, True)
    assert str(request.platform) == "linux/amd64"
    assert (host.network_mode, host.shm_size, host.cgroup_parent) == ("host", 67108864, "/x")
    assert host.extra_hosts == ["foo:1.2.3.4", "v6:::1"]
    assert host.ulimits == [
        Ulimit(name="nofile", soft=100, hard=200),
        Ulimit(name="nproc", soft=5, hard=5),
    ]
    assert (wish.context_dir, wish.dockerfile_dir, wish.upload) == ("context", "dockerfile", "")


@pytest.mark.parametrize(
    ("attributes", "context_dir", "dockerfile_dir", "upload", "remote"),
    [
        ({}, "context", "dockerfile", "", ""),
        ({"context": "https://x/y.git#main"}, "", "", "", "https://x/y.git#main"),
        ({"context": "https://x/y.tar", "dockerfilekey": "dockerfile"}, "", "dockerfile", "", "https://x/y.tar"),
        ({"context": "http://buildkit-session/abc"}, "", "", "/abc", ""),
    ],
)  # fmt: skip
def test_where_the_context_is(
    attributes: dict[str, str], context_dir: str, dockerfile_dir: str, upload: str, remote: str
) -> None:
    """In the session, behind a URL, or an archive in the session."""
    wish = read_wish(attributes)
    found = (wish.context_dir, wish.dockerfile_dir, wish.upload, wish.request.remote)
    assert found == (context_dir, dockerfile_dir, upload, remote)


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"shm-size": "lots"}, InvalidParameter),
        ({"ulimit": "nofile"}, InvalidParameter),
        ({"add-hosts": "foo"}, InvalidParameter),
        ({"platform": "!!"}, InvalidParameter),
        ({"platform": "linux/amd64,linux/arm64"}, NotSupported),
        ({"multi-platform": "true"}, NotSupported),
        ({"no-cache": "stage"}, NotSupported),
        ({"attest:sbom": "generator=x"}, NotSupported),
        ({"context": "input:base"}, NotSupported),
        ({"force-network-mode": "bridge7"}, NotSupported),
        ({"build-arg:SOURCE_DATE_EPOCH": "0"}, NotSupported),
        ({"something-new": "1"}, NotSupported),
        ({f"build-arg:{number}": "" for number in range(5000)}, InvalidParameter),
    ],
)
def test_what_is_refused(attributes: dict[str, str], kind: type[EngineError]) -> None:
    """Nothing that is asked for is passed over in silence."""
    with pytest.raises(kind):
        read_wish(attributes)


def test_attestations_that_are_switched_off() -> None:
    """That asks for nothing."""
    assert read_wish({"attest:provenance": "disabled=true"}).request.uses_cache
