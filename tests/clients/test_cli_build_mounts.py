"""`RUN --mount=...` with the classic builder: what is seen, what is kept, what counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.clients.building import build, build_files, context, no_images, run
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]
__all__ = ["no_images"]

CACHE = "--mount=type=cache"


def caches(daemon: Daemon) -> list[Mapping[str, Any]]:
    """The caches of commands that `docker system df` knows."""
    usage = daemon.http("GET", "/system/df").json()["BuildCache"]
    return [one for one in usage if one["Type"] == "exec.cachemount"]


def test_a_cache_is_kept_and_counts_by_its_options_alone(daemon: Daemon) -> None:
    """Its files reach the next command and the next build, and neither the image nor the key."""
    dockerfile = (
        "FROM busybox\n"
        "ARG N=1\n"
        f"RUN {CACHE},target=/root/.cache/x echo $N >> /root/.cache/x/f\n"
        f"RUN {CACHE},target=/other,id=/root/.cache/x cat /other/f > /got\n"
    )
    shown = build(daemon, dockerfile, "-t", "c").text
    assert "Step 3/4 : RUN --mount=type=cache,target=/root/.cache/x echo $N" in shown
    assert run(daemon, "c", "cat", "/got") == "1"
    gone = "ls -d /root/.cache /other 2>/dev/null; true"
    assert run(daemon, "c", "sh", "-c", gone) == ""
    assert build(daemon, dockerfile).text.count("Using cache") == 2
    other = dockerfile.replace("/f > /got", "/f > /got ")
    assert build(daemon, other, "--build-arg", "N=2", "-t", "c").text.count("Using cache") == 0
    assert run(daemon, "c", "cat", "/got").split() == ["1", "2"]
    changed = dockerfile.replace(",target=/other", ",target=/other,sharing=locked")
    assert build(daemon, changed, "-t", "c").text.count("Using cache") == 1
    (cache,) = caches(daemon)
    assert (cache["InUse"], cache["Shared"], cache["UsageCount"]) == (False, False, 5)
    assert cache["Size"] == 4
    assert cache["Description"].startswith("cached mount /root/.cache/x from exec /bin/sh -c echo")


def test_caches_are_pruned(daemon: Daemon) -> None:
    """By type, by name, with everything; a build makes them anew."""
    dockerfile = (
        "FROM busybox\n"
        f"RUN {CACHE},target=/a head -c 100000 /dev/zero > /a/z\n"
        f"RUN {CACHE},target=/b echo b > /b/b\n"
    )
    build(daemon, dockerfile)
    found = {one["Description"].split()[2]: one["ID"] for one in caches(daemon)}
    assert sorted(found) == ["/a", "/b"]

    def prune(**filters: list[str]) -> Mapping[str, Any]:
        text = quote(json.dumps(filters))
        answer: Mapping[str, Any] = daemon.http("POST", f"/build/prune?filters={text}").json()
        return answer

    assert prune(until=["1h"])["CachesDeleted"] == []
    daemon.docker("builder", "prune", "-f", "--keep-storage", "1gb")
    assert len(daemon.http("GET", "/system/df").json()["BuildCache"]) == 4
    assert prune(id=[found["/b"]])["CachesDeleted"] == [found["/b"]]
    pruned = prune(type=["exec.cachemount"])
    assert (pruned["CachesDeleted"], pruned["SpaceReclaimed"]) == ([found["/a"]], 100_000)
    assert not list((daemon.data_root / "build-cache").iterdir())
    assert len(daemon.http("GET", "/system/df").json()["BuildCache"]) == 2
    build(daemon, dockerfile, "--no-cache")
    assert len(caches(daemon)) == 2
    daemon.docker("builder", "prune", "-af")
    assert daemon.http("GET", "/system/df").json()["BuildCache"] == []


def test_whose_a_cache_is_and_what_it_begins_with(daemon: Daemon) -> None:
    """Owners and permissions, a stage's files, read-only, another cache for each of them."""
    dockerfile = (
        "FROM busybox AS base\n"
        "RUN mkdir -p /d/e && echo begun > /d/e/f && chown 7:8 /d && chmod 711 /d\n"
        "FROM busybox\n"
        "WORKDIR /w\n"
        "ARG WHERE=c\n"
        f"RUN {CACHE},target=$WHERE,id=i stat -c '%u:%g %a %n' /w/c > /got\n"
        f"RUN {CACHE},target=c,id=i,uid=5,gid=6,mode=0700 stat -c '%u:%g %a %n' /w/c >> /got\n"
        f"RUN {CACHE},target=c,id=i,from=base,source=/d stat -c '%u:%g %a %n' /w/c >> /got;"
        " cat c/e/f >> /got; echo more >> c/e/f\n"
        f"RUN {CACHE},target=c,id=i,from=base,source=/d,ro cat c/e/f >> /got; echo > c/x || echo ro"
        " >> /got\n"
    )
    build(daemon, dockerfile, "-t", "o")
    assert run(daemon, "o", "cat", "/got").splitlines() == [
        *("0:0 755 /w/c", "5:6 700 /w/c", "7:8 711 /w/c", "begun", "begun", "more", "ro"),
    ]
    assert len(caches(daemon)) == 3


def test_binds_show_the_context_stages_and_images(daemon: Daemon) -> None:
    """Files and directories, links inside their root, read-only or with writes thrown away."""
    dockerfile = (
        "FROM busybox AS base\n"
        "RUN mkdir -p /s/in && echo stage > /s/in/f && ln -s /s/in /s/link\n"
        "FROM busybox\n"
        "WORKDIR /w\n"
        "RUN --mount=target=. cat dir/x a.txt > /got && ! touch y 2>/dev/null\n"
        "RUN --mount=type=bind,source=dir,target=/m,rw cat /m/x >> /got && echo no > /m/x && "
        "touch /m/new\n"
        "RUN --mount=source=a.txt,dst=/deep/down/file cat /deep/down/file >> /got\n"
        "RUN --mount=from=base,source=/s/link,target=/m cat /m/f >> /got && "
        "! touch /m/y 2>/dev/null\n"
        "RUN --mount=from=0,src=/s,target=/m,rw=true touch /m/y && cat /m/in/f >> /got\n"
        "RUN --mount=from=busybox,target=/m test -x /m/bin/sh && echo image >> /got\n"
        "RUN --mount=source=lead,target=/l cat /l >> /got\n"
        "RUN --mount=source=dir,target=/m <<EOF\n#!/bin/sh\nls /m >> /got\nEOF\n"
    )
    files = {
        "Dockerfile": dockerfile,
        "a.txt": "a\n",
        "dir/x": "x\n",
        "lead@": "/dir/../../../a.txt",
    }
    build_files(daemon, files, "-t", "b")
    assert run(daemon, "b", "cat", "/got").splitlines() == [
        *("x", "a", "x", "a", "stage", "stage", "image", "a", "x"),
    ]
    assert run(daemon, "b", "sh", "-c", "ls -d /m /deep /l /w/dir 2>/dev/null; ls /w") == ""
    assert build_files(daemon, files).text.count("Using cache") == 10
    changed = build_files(daemon, {**files, "unseen": "u"}).text
    assert changed.count("Using cache") == 2  # the first bind shows all of the context


def test_a_bind_counts_by_what_it_shows(daemon: Daemon) -> None:
    """The content below its source, and nothing else of the context, the stage or the image."""
    dockerfile = (
        "FROM busybox AS base\nARG N\nRUN mkdir /s && echo same > /s/f && echo $N > /other\n"
        "FROM busybox\n"
        "RUN --mount=source=dir,target=/m cat /m/x > /got\n"
        "RUN --mount=from=base,source=/s,target=/m cat /m/f >> /got\n"
    )
    files = {"Dockerfile": dockerfile, "dir/x": "x\n", "y": "y\n"}
    assert "Using cache" not in build_files(daemon, files).text
    other = build_files(daemon, {**files, "y": "z\n"}, "--build-arg", "N=2").text
    assert other.count("Using cache") == 2
    assert other.count("Running in") == 1  # the stage's own
    assert build_files(daemon, {**files, "dir/x": "z\n"}).text.count("Using cache") == 1


def test_tmpfs_and_what_only_a_session_could_bring(daemon: Daemon) -> None:
    """A tmpfs of a size, for programs too; absent secrets and keys are no mounts."""
    dockerfile = (
        "FROM busybox\n"
        "RUN --mount=type=tmpfs,target=/t,size=1m grep ' /t ' /proc/mounts > /got && "
        "cp /bin/busybox /t/true 2>/dev/null; df -k /t | tail -1 >> /got; ls /t >> /got\n"
        "RUN --mount=type=secret,id=s --mount=type=ssh ls /run/secrets >> /got 2>&1 || true\n"
    )
    build(daemon, dockerfile, "-t", "t")
    mounts, size, *rest = run(daemon, "t", "cat", "/got").splitlines()
    assert mounts.startswith("tmpfs /t tmpfs rw,")
    assert not {"noexec", "nodev"} & set(mounts.split()[3].split(","))
    assert size.split()[1] == "1024"
    assert any("/run/secrets" in line for line in rest)
    assert run(daemon, "t", "sh", "-c", "ls -d /t /run/secrets 2>/dev/null; true") == ""
    for mount, error in (
        ("type=secret,id=s,required", "secret s: not found"),
        ("type=ssh,required=true", 'no SSH key "default" forwarded from the client'),
    ):
        failed = build(daemon, f"FROM busybox\nRUN --mount={mount} true\n", code=1)
        assert error in failed.error_text
        assert "(line 2 of the Dockerfile)" in failed.error_text


@pytest.mark.parametrize(
    ("flag", "error"),
    [
        ("--mount=type=cache,target=/", 'invalid mount target "/" (line 2'),
        ("--mount=type=cache,target=$X", 'invalid mount target "/" (line 2'),
        ("--mount=type=nope,target=/x", 'parse error on line 2: unsupported mount type "nope"'),
        ("--mount=source=no,target=/x", '"/no": not found (line 2'),
        ("--mount=from=$X,target=/x", "'from' doesn't support variable expansion"),
        ("--mount=from=7,target=/x", "invalid from flag value 7: invalid stage index 7"),
        ("--mount=type=cache,source=/s,target=/x", '"/s": not found (line 2'),
        ("--mount", "parse error on line 2: missing a value on flag: mount"),
        ("--security=insecure", "line 2: security.insecure is not allowed"),
        ("--security=none", 'line 2: security "none" is not valid'),
        ("--network=some", 'line 2: invalid network mode "some"'),
    ],
)
def test_refusals_name_the_line(daemon: Daemon, flag: str, error: str) -> None:
    """With BuildKit's words, before or when the step is reached."""
    failed = build(daemon, f"FROM busybox\nRUN {flag} true\n", code=1)
    assert error in failed.error_text


def test_networks_of_a_command(daemon: Daemon) -> None:
    """None and the host's; the sandbox is what every command is in."""
    shown = build(
        daemon,
        "FROM busybox\n"
        "RUN --network=none --security=sandbox ls /sys/class/net\n"
        "RUN --network=host readlink /proc/self/ns/net\n",
    ).text
    assert "eth0" not in shown
    assert str(Path("/proc/self/ns/net").readlink()) in shown


@pytest.mark.parametrize("sharing", ["shared", "private", "locked"])
def test_sharing(daemon: Daemon, sharing: str) -> None:
    """Two commands at once: in one cache, in two, or one after the other."""
    until_told = "until test -e /go; do sleep 0.05; done; ls /c | wc -l > /seen"
    mount = f"{CACHE},target=/c,sharing={sharing}"
    stages = "".join(
        f"FROM busybox AS s{n}\nRUN {mount} touch /c/{n}; {until_told}\n" for n in range(2)
    )
    copies = "".join(f"COPY --from=s{n} /seen /seen{n}\n" for n in range(2))
    data = context({"Dockerfile": f"{stages}FROM busybox\n{copies}"})
    told: set[str] = set()

    def tell(count: int) -> None:
        """So many commands run that were not told yet, and are."""

        def running() -> set[str]:
            return {one["Id"] for one in daemon.http("GET", "/containers/json").json()} - told

        wait_until(lambda: len(running()) == count, f"{count} run")
        if sharing == "shared":  # both have been there before either looks
            for one in running():
                inside = ("exec", one, "sh", "-c", "until test -e /c/0 -a -e /c/1; do :; done")
                daemon.docker(*inside)
        for one in running():
            told.add(one)
            daemon.docker("exec", one, "touch", "/go")

    with daemon.docker_process("build", "-t", "sh", "-") as client:
        assert client.stdin is not None
        client.stdin.write(data)
        client.stdin.close()
        if sharing == "locked":
            tell(1)
            tell(1)
        else:
            tell(2)
        assert client.wait(60) == 0
    seen = sorted(run(daemon, "sh", "cat", "/seen0", "/seen1").split())
    assert seen == {"shared": ["2", "2"], "private": ["1", "1"], "locked": ["1", "2"]}[sharing]
    assert len(caches(daemon)) == (2 if sharing == "private" else 1)


def test_a_cache_survives_a_kill_in_a_command(make_daemon: Any) -> None:
    """What was in it reaches the next build, which can lock it; no mount and no copy is left."""
    daemon: Daemon = make_daemon()
    mount = f"{CACHE},target=/c,sharing=locked"
    sleeping = (
        f"FROM busybox\nRUN {mount} --mount=target=/m,rw --mount=from=busybox,target=/i "
        "echo kept > /c/f; sync; echo up > /c/up; sleep 1000\n"
    )
    with daemon.docker_process("build", "-") as client:
        assert client.stdin is not None
        client.stdin.write(context({"Dockerfile": sleeping}))
        client.stdin.close()
        store = daemon.data_root / "build-cache"
        wait_until(lambda: len(list(store.glob("*/data/up"))) == 1, "the command runs")
        daemon.kill()
    (store / ".new-0123").mkdir()  # as a kill within a making leaves it
    (store / ".gone-0123").mkdir()  # and one within a deletion
    (store / "0123").mkdir()  # no cache
    daemon.start()
    data = context({"Dockerfile": f"FROM busybox\nRUN {mount} cat /c/f\n"})
    assert "kept" in daemon.docker("build", "-", stdin=data).text
    assert daemon.container_ids() == []
    assert len(list(store.iterdir())) == 1
    wait_until(lambda: not list((daemon.data_root / "build").iterdir()), "its context is gone")
    mounted = Path("/proc/self/mountinfo").read_text()
    assert str(daemon.data_root / "build") not in mounted
