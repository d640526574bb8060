"""`docker build` with the classic builder, `docker builder prune`, and builds by docker-py."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.clients.building import (
    build,
    context,
    git_served,
    make_repository,
    no_images,
    run,
    served,
)
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]
__all__ = ["no_images"]

TAR = {"Content-Type": "application/x-tar"}

THREE_STAGES = r"""
ARG BASE=busybox
FROM ${BASE} AS build
ARG WHO=world
ENV GREETING="hello $WHO"
WORKDIR /src
COPY a.txt dir/ ./
RUN echo "$GREETING" > out && cat a.txt x >> out
RUN <<EOF
echo here >> out
EOF
RUN <<EOF
#!/bin/sh
echo "script $0" >> out
EOF
FROM busybox AS other
RUN echo other > /other
FROM busybox
COPY --from=build /src/out /out
COPY --from=other --chown=12:34 --chmod=604 /other /o/other
ADD t.tgz /t/
COPY <<E1 <<"E2" /docs/
one $WHO $PATH
E1
two $PATH
E2
USER 1000
ENTRYPOINT ["cat"]
CMD ["/out"]
"""


def test_three_stages(daemon: Daemon, tmp_path: Path) -> None:
    """Arguments, here-documents, copies between stages with owners and modes, archives, users."""
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/x").write_text("x\n")
    (tmp_path / "a.txt").write_text("a\n")
    (tmp_path / "Dockerfile").write_text(THREE_STAGES)
    with tarfile.open(tmp_path / "t.tgz", "w:gz") as tar:
        tar.add(tmp_path / "dir", "in/dir")
    words = ("build", "-t", "b:1", "-t", "b:2", "--build-arg", "WHO=me", "--label", "l=v")
    shown = daemon.docker(*words, str(tmp_path)).text
    image = json.loads(daemon.docker("inspect", "b:1").text)[0]
    assert "Step 1/18 : FROM ${BASE} AS build" in shown
    assert f"Successfully built {image['Id'][7:19]}" in shown
    assert shown.endswith("Successfully tagged b:1\nSuccessfully tagged b:2")
    assert sorted(image["RepoTags"]) == ["b:1", "b:2"]
    assert (image["Config"]["User"], image["Config"]["Labels"]) == ("1000", {"l": "v"})
    assert run(daemon, "b:1").splitlines() == [
        *("hello me", "a", "x", "here", "script /dev/pipes/EOF"),
    ]
    entry = ("--entrypoint", "sh")
    script = "stat -c '%u:%g %a' /o/other; cat /t/in/dir/x /docs/E1 /docs/E2"
    assert run(daemon, "b:2", "-c", script, options=entry).splitlines() == [
        *("12:34 604", "x", "one  /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        "two $PATH",
    ]
    again = daemon.docker(*words, str(tmp_path)).text
    assert "Running in" not in again
    assert again.count("Using cache") == 10
    assert json.loads(daemon.docker("inspect", "b:1").text)[0]["Id"] == image["Id"]
    assert daemon.container_ids() == []
    tagged = {i["Id"] for i in daemon.http("GET", "/images/json").json()}
    assert len(tagged) == 2, "steps of builds are no images to users"


def test_what_counts_for_the_cache(daemon: Daemon) -> None:
    """Files' content and not their times, declared arguments and no others; --no-cache."""
    dockerfile = "FROM busybox\nARG A\nCOPY f /f\nRUN cat /f && echo $A > /a\n"

    def cached(*words: str, content: str = "1") -> int:
        return build(daemon, dockerfile, "-t", "c", *words, f=content).text.count("Using cache")

    assert cached() == 0
    assert cached() == 2
    assert cached("--build-arg", "HTTP_PROXY=http://x") == 2
    assert cached("--build-arg", "A=1") == 1
    assert cached(content="2") == 0
    assert cached("--no-cache") == 0
    assert cached() == 2


def test_steps_of_an_image_from_elsewhere(daemon: Daemon) -> None:
    """--cache-from takes its layers as far as the steps are the same; the image is the same."""
    dockerfile = """FROM busybox
ENV A=1
COPY --chmod=600 f /f
RUN cat /f > /2
WORKDIR /w
CMD ["cat", "/2"]
"""
    build(daemon, dockerfile, "-q", "-t", "elsewhere", f="1")
    image_id = daemon.docker("inspect", "-f", "{{.Id}}", "elsewhere").text
    archive = daemon.docker("save", "elsewhere").out
    source = ("--cache-from", "nosuch", "--cache-from", "elsewhere")
    for words, content, cached in (((), "1", 0), (source, "2", 0), (source, "1", 3)):
        daemon.docker("rmi", "-f", "elsewhere", "again", code=None)
        daemon.http("POST", "/build/prune")
        daemon.docker("load", stdin=archive)  # as on a machine that has but the image
        built = build(daemon, dockerfile, "-t", "again", *words, f=content).text
        assert built.count("Using cache") == cached, (words, content)
    assert daemon.docker("inspect", "-f", "{{.Id}}", "again").text == image_id
    assert run(daemon, "again") == "1"


@pytest.mark.parametrize(
    ("dockerfile", "error"),
    [
        ("FROM busybox\nFOO x\n", "dockerfile parse error on line 2: unknown instruction: FOO"),
        ("RUN x\n", "dockerfile parse error on line 1: no build stage in current context"),
        ("FROM busybox\n\nRUN exit 7\n", "The command '/bin/sh -c exit 7' returned a non-zero "
         "code: 7 (line 3 of the Dockerfile)"),
        ("FROM busybox\nCOPY nope /\n", "COPY failed: file not found in build context"),
        ("FROM busybox\nCOPY f g /x\n", "the destination must be a directory and end with a /"),
        ("FROM busybox\nCOPY --chown=nobody1 f /f\n", "no matching entries in passwd file"),
        ("FROM busybox\nRUN --mount=type=cache,target=/ true\n", "invalid mount target"),
        ("FROM busybox\nENV A=${B:?missing}\n", "B: missing (line 2 of the Dockerfile)"),
        ("FROM busybox\nCOPY --from=nosuch:1 /f /f\n", "registry-1.docker.io"),
        ("FROM busybox AS a\nFROM a\nSHELL sh\n", "SHELL requires the arguments to be in JSON"),
        ("FROM busybox\nSTOPSIGNAL NOSUCH\n", "invalid signal: NOSUCH (line 2 of the Dockerfile)"),
    ],
    ids=["unknown", "no-stage", "code", "no-file", "many", "owner", "mount", "unset", "no-image",
         "shell", "signal"],
)  # fmt: skip
def test_failures_name_the_line(daemon: Daemon, dockerfile: str, error: str) -> None:
    """In dockerd's words; nothing is left."""
    failed = build(daemon, dockerfile, "-t", "never", code=None, f="f", g="g")
    assert failed.code != 0
    assert error in failed.error_text
    assert daemon.container_ids() == []
    assert daemon.image_names() == ["busybox:latest"]


def test_the_code_of_a_command_is_told(daemon: Daemon) -> None:
    """In errorDetail, as docker-py and CI systems read it."""
    body = context({"Dockerfile": "FROM busybox\nRUN exit 9"})
    *_, last = daemon.http("POST", "/build", body, TAR).json_lines()
    assert last["errorDetail"]["code"] == 9
    assert last["error"] == last["errorDetail"]["message"]


@pytest.mark.parametrize(
    ("dockerfile", "query", "error"),
    [
        ("FROM busybox\nFOO x", "", "dockerfile parse error on line 2: unknown instruction: FOO"),
        ("FROM busybox\nRUN true\nENV A", "", "on line 3: ENV must have two arguments"),
        ("FROM busybox", "dockerfile=Nope", "Cannot locate specified Dockerfile: Nope"),
        ("FROM busybox", "target=two", "failed to reach build target two in Dockerfile"),
        ("FROM busybox", "securityopt=[]", "does not support setting security options on build"),
    ],
    ids=["unknown", "late", "no-file", "target", "security"],
)
def test_what_fails_before_its_first_step_has_a_status(
    daemon: Daemon, dockerfile: str, query: str, error: str
) -> None:
    """A 400 as dockerd's, by which docker-py tells such an error from a failed build."""
    body = context({"Dockerfile": dockerfile})
    answer = daemon.http("POST", f"/build?{query}", body, TAR)
    assert answer.status == 400
    assert error in answer.json()["message"]


def test_a_dockerfile_from_stdin_with_a_context(daemon: Daemon, tmp_path: Path) -> None:
    """The CLI adds it to the archive, whose end it leaves out."""
    (tmp_path / "f").write_text("from the context")
    dockerfile = b"FROM busybox\nCOPY f /f\n"
    daemon.docker("build", "-f", "-", "-t", "stdin", str(tmp_path), stdin=dockerfile)
    assert run(daemon, "stdin", "cat", "/f") == "from the context"


def test_a_quiet_build_tells_why_it_failed(daemon: Daemon) -> None:
    """All that it has held back; one that succeeds tells its image's id alone."""
    failed = build(daemon, "FROM busybox\nRUN echo because; exit 4\n", "-q", code=4)
    assert failed.text == ""
    assert "Step 2/2 : RUN echo because" in failed.error_text
    assert failed.error_text.index("because\n") < failed.error_text.index("non-zero code: 4")


def test_copies_from_an_image_are_its_files_alone(daemon: Daemon) -> None:
    """Without what a container has besides: /.dockerenv and /etc/mtab."""
    dockerfile = (
        "FROM busybox AS a\nRUN mkdir -p /etc && touch /etc/mine\n"
        "FROM busybox\nCOPY --from=a / /all\nRUN ls -l /etc/mtab\n"
    )
    build(daemon, dockerfile, "-t", "copied")
    listed = run(daemon, "copied", "sh", "-c", "ls -A /all /all/etc").split("\n")
    assert "mine" in listed
    assert not {".dockerenv", "mtab"} & set(listed)
    assert run(daemon, "copied", "ls", "-l", "/etc/mtab").endswith("/etc/mtab -> /proc/mounts")


def test_copies_follow_dockers_rules(daemon: Daemon) -> None:
    """Directories' contents, wildcards, names, links in the image, and those that lead out."""
    dockerfile = """
    FROM busybox
    RUN mkdir -p /real /have && ln -s /real /link && chmod 700 /have
    COPY d /d
    COPY d/*.c /c/
    COPY ["with space", "/sp ace"]
    COPY d/a.c /link/
    COPY d /have/
    WORKDIR /w
    COPY d/a.c rel
    COPY d/[ab].? wild/
    COPY out /out
    """.replace("\n    ", "\n")
    files = {"d/a.c": "a", "d/b.c": "b", "d/b.h": "h", "with space": "s", "out@": "/etc/passwd"}
    data = context({"Dockerfile": dockerfile, **files})
    failed = daemon.docker("build", "-", stdin=data, code=1).error_text
    assert "COPY failed: file not found in build context" in failed  # the context has no /etc
    data = context({"Dockerfile": dockerfile.replace("COPY out /out", ""), **files})
    daemon.docker("build", "-t", "r", "-", stdin=data)
    script = "cd /; ls d c real w w/wild | tr '\\n' ' '; cat '/sp ace'; stat -c ' %a' have"
    assert run(daemon, "r", "sh", "-c", script) == (
        "c: a.c b.c  d: a.c b.c b.h  real: a.c  w: rel wild  w/wild: a.c b.c b.h s 700"
    )


def test_triggers_take_from_stages_that_are_built(daemon: Daemon) -> None:
    """Which one that is built for its own sake is; another one is missed in a sentence."""
    build(daemon, "FROM busybox\nONBUILD COPY --from=s /f /g\n", "-t", "base")
    needing = "FROM busybox AS s\nRUN echo s > /f\nFROM base\n"
    failed = build(daemon, needing, code=1)
    assert "an ONBUILD trigger takes from stage s, which is not built" in failed.error_text
    build(daemon, f"{needing}COPY --from=s /f /f\n", "-t", "t")
    assert run(daemon, "t", "cat", "/g") == "s"


def test_configuration(daemon: Daemon) -> None:
    """ENTRYPOINT resets the base's CMD; ONBUILD runs in the next build; and all the others."""
    build(daemon, 'FROM busybox\nCMD ["a"]\nONBUILD RUN echo on > /built\n', "-t", "base")
    dockerfile = """
    FROM base
    ENTRYPOINT ["e"]
    SHELL ["/bin/sh", "-ec"]
    RUN false; true || echo no
    HEALTHCHECK --interval=3s --retries=2 CMD true
    VOLUME /v /w
    EXPOSE 80 90-91/udp
    STOPSIGNAL SIGUSR1
    LABEL a=b "c d"=e
    """.replace("\n    ", "\n").replace("RUN false; true || echo no\n", "")
    shown = build(daemon, dockerfile, "-t", "conf").text
    assert "# Executing 1 build trigger" in shown
    config = json.loads(daemon.docker("inspect", "conf").text)[0]["Config"]
    assert (config["Entrypoint"], config.get("Cmd"), config.get("OnBuild")) == (["e"], None, None)
    assert config["Healthcheck"]["Test"] == ["CMD-SHELL", "true"]
    assert set(config["Volumes"]) == {"/v", "/w"}
    assert set(config["ExposedPorts"]) == {"80/tcp", "90/udp", "91/udp"}
    assert (config["StopSignal"], config["Labels"]) == ("SIGUSR1", {"a": "b", "c d": "e"})
    assert run(daemon, "conf", "/built", options=("--entrypoint", "cat")) == "on"


def test_targets_quiet_and_files(daemon: Daemon) -> None:
    """--target builds no more than it needs; -q tells the id alone; -f names another file."""
    dockerfile = "FROM busybox AS one\nRUN echo 1 > /n\nFROM busybox\nRUN exit 1\n"
    data = context({"sub/File": dockerfile})
    quiet = daemon.docker("build", "-q", "--target", "one", "-f", "sub/File", "-", stdin=data)
    assert quiet.text.startswith("sha256:")
    assert run(daemon, quiet.text, "cat", "/n") == "1"
    dangling = daemon.docker("images", "-q", "--no-trunc", "-f", "dangling=true").text
    assert dangling == quiet.text
    failed = daemon.docker("build", "-f", "sub/File", "--target", "two", "-", stdin=data, code=1)
    assert "failed to reach build target two in Dockerfile" in failed.error_text


def test_limits_and_networks_reach_the_commands(daemon: Daemon) -> None:
    """Memory, host names, and no network where none is asked for."""
    dockerfile = (
        "FROM busybox\n"
        "RUN cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null;"
        " grep far /etc/hosts; ls /sys/class/net\n"
    )
    shown = build(
        daemon, dockerfile, "-m", "64m", "--add-host", "far:1.2.3.4", "--network", "none"
    ).text
    assert "67108864" in shown
    assert "1.2.3.4\tfar" in shown
    assert "\nlo\n" in shown
    assert "eth0" not in shown


def test_a_client_that_leaves_ends_its_build(daemon: Daemon) -> None:
    """Nothing of it runs on, and nothing is left."""
    data = context({"Dockerfile": "FROM busybox\nRUN echo begun; sleep 1000\n"})
    with daemon.docker_process("build", "-t", "gone", "-") as client:
        assert client.stdin is not None
        client.stdin.write(data)
        client.stdin.close()
        wait_until(lambda: len(daemon.container_ids()) == 1, "the command runs")
        client.terminate()
    wait_until(lambda: daemon.container_ids() == [], "its container is gone")
    assert daemon.image_names() == ["busybox:latest"]
    wait_until(lambda: not list((daemon.data_root / "build").iterdir()), "its context is gone")


def test_stages_are_built_together(daemon: Daemon) -> None:
    """Two that end when they are told to are both there before either is."""
    until_told = "until test -e /go; do sleep 0.05; done"
    stages = "".join(f"FROM busybox AS s{n}\nRUN : {n}; {until_told}\n" for n in range(2))
    copies = "".join(f"COPY --from=s{n} /go /{n}\n" for n in range(2))
    data = context({"Dockerfile": f"{stages}FROM busybox\n{copies}"})

    def running() -> list[str]:
        return [one["Id"] for one in daemon.http("GET", "/containers/json").json()]

    with daemon.docker_process("build", "-t", "par", "-") as client:
        assert client.stdin is not None
        client.stdin.write(data)
        client.stdin.close()
        wait_until(lambda: len(running()) == 2, "both run")
        for container in running():
            daemon.docker("exec", container, "touch", "/go")
        assert client.wait(60) == 0
    assert run(daemon, "par", "ls", "/0", "/1").split() == ["/0", "/1"]


def test_steps_are_listed_and_pruned(daemon: Daemon) -> None:
    """`docker system df` and `docker builder prune`; images that are named stay whole."""
    build(daemon, "FROM busybox\nRUN head -c 100000 /dev/zero > /z\nRUN echo 2 > /two\n", "-t", "p")
    usage = daemon.http("GET", "/system/df").json()["BuildCache"]
    assert len(usage) == 2
    assert {step["Type"] for step in usage} == {"regular"}
    daemon.docker("rmi", "p")
    before = daemon.http("GET", "/system/df").json()["BuildCacheUsage"]["TotalSize"]
    assert before > 100_000
    answer = daemon.http("POST", "/build/prune").json()
    assert len(answer["CachesDeleted"]) == 2
    assert answer["SpaceReclaimed"] > 100_000
    assert daemon.http("GET", "/system/df").json()["BuildCache"] == []


def test_hostile_contexts_are_refused(daemon: Daemon, tmp_path: Path) -> None:
    """What leads out of the context leads nowhere; rubbish is no context."""
    for name in ("../../evil", "d/../../../evil"):
        data = context({name: "x", "Dockerfile": "FROM busybox\n"})
        answer = daemon.http("POST", "/build", data, TAR)
        assert (answer.status, "is outside of" in answer.message) == (400, True), name
    assert not (daemon.data_root / "evil").exists()
    for body in (b"", b"rubbish" * 1000, context({})):
        assert daemon.http("POST", "/build", body, TAR).status == 400
    refused = daemon.http("POST", "/build?version=2", b"")
    assert (refused.status, refused.message) == (400, "the build has no session")


def test_docker_py(daemon: Daemon) -> None:
    """Images and logs, and the error with its log."""
    client: Any = daemon.client()
    image, log = client.images.build(
        fileobj=io.BytesIO(b"FROM busybox\nARG A\nRUN echo got $A\nLABEL k=v\n"),
        tag="py:1", buildargs={"A": "1"}, rm=True,
    )  # fmt: skip
    assert image.tags == ["py:1"]
    assert any(line.get("stream") == "got 1\n" for line in log)
    docker = pytest.importorskip("docker")
    with pytest.raises(docker.errors.BuildError, match="returned a non-zero code: 3") as caught:
        client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 3\n"))
    assert any("Step 2/2" in line.get("stream", "") for line in caught.value.build_log)


def test_a_killed_build_is_cleared_away(make_daemon: Any) -> None:
    """Its container and its context go at the next start; the same build then works."""
    daemon: Daemon = make_daemon()
    data = context({"Dockerfile": "FROM busybox\nRUN echo 1 > /1\nRUN sleep ${S:-1000}\n"})
    with daemon.docker_process("build", "-") as client:
        assert client.stdin is not None
        client.stdin.write(data)
        client.stdin.close()
        wait_until(
            lambda: "sleep" in str(daemon.http("GET", "/containers/json").json()), "it sleeps"
        )
        daemon.kill()
    daemon.start()
    wait_until(lambda: daemon.container_ids() == [], "its container is gone")
    wait_until(lambda: not list((daemon.data_root / "build").iterdir()), "its context is gone")
    assert daemon.image_names() == ["busybox:latest"]
    data = context({"Dockerfile": "FROM busybox\nRUN echo 1 > /1\nRUN sleep 0\n"})
    assert daemon.docker("build", "-", stdin=data).text.count("Using cache") == 1


def test_remote_contexts(daemon: Daemon, tmp_path: Path) -> None:
    """An archive and a Dockerfile behind a URL; a git repository at a ref, in a directory."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "c.tar").write_bytes(context({"Dockerfile": "FROM busybox\nCOPY f /f\n", "f": "tar"}))
    (site / "Plain").write_text("FROM busybox\nRUN echo plain > /f\n")
    make_repository(
        site / "r.git", {"in/Dockerfile": "FROM busybox\nCOPY f /f\n", "in/f": "git"}, tag="v1"
    )
    with served(site) as port, git_served(site) as git_port:
        for remote, expected in (
            (f"http://127.0.0.1:{port}/c.tar", "tar"),
            (f"http://127.0.0.1:{port}/Plain", "plain"),
            (f"git://127.0.0.1:{git_port}/r.git#v1:in", "git"),
        ):
            answer = daemon.http("POST", f"/build?t=remote&remote={quote(remote, safe='')}")
            assert "Successfully tagged" in answer.json_lines()[-1].get("stream", ""), answer
            assert run(daemon, "remote", "cat", "/f") == expected
        gone = daemon.http("POST", f"/build?remote=http://127.0.0.1:{port}/nope")
        assert "404" in gone.message
        remote = quote(f"git://127.0.0.1:{git_port}/r.git#v1:nope", safe="")
        failed = daemon.http("POST", f"/build?remote={remote}")
        assert "no directory nope in the repository" in failed.message
