"""The daemon through docker-py, unmodified: the calls that scripts and test suites are made of."""

from __future__ import annotations

import datetime
import io
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, image_archive, wait_until

docker = pytest.importorskip("docker")

pytestmark = [pytest.mark.engine, pytest.mark.clients]


@pytest.fixture
def client(daemon: Daemon) -> Any:
    """docker-py as people have it, for the newest API version that both speak."""
    return daemon.client(version="auto")


def run(client: Any, command: str | list[str] | None = None, **options: Any) -> Any:
    """`containers.run` of busybox; a text is a shell's."""
    argv = ["sh", "-c", command] if isinstance(command, str) else command
    return client.containers.run("busybox", argv, **{"network_mode": "none", **options})


def create(client: Any, command: str, **options: Any) -> Any:
    """`containers.create` of busybox with a shell command."""
    argv = ["sh", "-c", command]
    return client.containers.create("busybox", argv, **{"network_mode": "none", **options})


def statuses(*containers: Any) -> list[str]:
    """The present status of each."""
    for container in containers:
        container.reload()
    return [container.status for container in containers]


# ── the daemon itself ────────────────────────────────────────────────────────────────────────


def test_what_the_daemon_says_of_itself(client: Any) -> None:
    """version, info, ping, and the version that was negotiated."""
    assert client.ping() is True
    version = client.version()
    assert client.api.api_version == version["ApiVersion"]
    assert version["MinAPIVersion"] == "1.24"
    run(client, "sleep 100", detach=True)
    info = client.info()
    assert (info["Containers"], info["ContainersRunning"], info["Images"]) == (1, 1, 1)


def test_older_versions_of_the_api(daemon: Daemon) -> None:
    """A client that insists on an old version gets its answers."""
    for version in ("1.24", "1.41", "1.44"):
        client = daemon.client(version=version)
        assert run(client, "echo hi", remove=True) == b"hi\n"
        assert client.containers.list(all=True) == []


def test_events(client: Any) -> None:
    """The life of a container, in order, with its name and image; decoded and filtered."""
    since = int(time.time())
    container = run(client, "exit 3", detach=True, name="lived", auto_remove=False)
    container.wait()
    container.remove()
    filters = {"container": container.id, "type": "container"}
    until = time.time() + 0.001
    events = list(client.events(since=since, until=until, filters=filters, decode=True))
    assert [event["Action"] for event in events] == ["create", "start", "die", "destroy"]
    assert all(event["Actor"]["Attributes"]["name"] == "lived" for event in events)
    assert events[2]["Actor"]["Attributes"]["exitCode"] == "3"


def test_live_events(client: Any) -> None:
    """A stream that is open hears what happens, and ends when it is closed."""
    with_stream = client.events(decode=True, filters={"event": "create"})
    container = create(client, "true")
    assert next(with_stream)["Actor"]["ID"] == container.id
    with_stream.close()


# ── images ───────────────────────────────────────────────────────────────────────────────────


def test_images(fresh_daemon: Daemon) -> None:
    """load, list, get, tag, remove."""
    client = fresh_daemon.client()
    (loaded,) = client.images.load(image_archive().read_bytes())
    assert [image.id for image in client.images.list()] == [loaded.id]
    image = client.images.get("busybox")
    assert (image.id, image.tags) == (loaded.id, ["busybox:latest"])
    assert client.images.get(image.short_id).id == image.id
    assert image.attrs["Config"]["Cmd"]
    assert len(image.history()) >= 1
    assert image.tag("example.com/other", "1.0") is True
    image.reload()
    assert sorted(image.tags) == ["busybox:latest", "example.com/other:1.0"]
    assert client.images.list(name="example.com/other") == [image]
    assert client.images.list(filters={"reference": "nosuch*"}) == []
    client.images.remove("example.com/other:1.0")
    image.reload()
    assert image.tags == ["busybox:latest"]


def test_loading_rubbish(client: Any) -> None:
    """What is no archive is refused, and says so."""
    with pytest.raises(docker.errors.ImageLoadError):
        client.images.load(b"rubbish")
    with pytest.raises(docker.errors.ImageLoadError):
        client.images.load(io.BytesIO(b"rubbish" * 1000))


def test_an_image_that_is_not_here(client: Any) -> None:
    """ImageNotFound, with Docker's text."""
    with pytest.raises(docker.errors.ImageNotFound, match="No such image: nosuch:latest"):
        client.images.get("nosuch")
    with pytest.raises(docker.errors.ImageNotFound, match="No such image: nosuch:latest"):
        client.images.remove("nosuch")
    with pytest.raises(docker.errors.ImageNotFound, match="No such image: nosuch:latest"):
        client.containers.create("nosuch")


# ── run ──────────────────────────────────────────────────────────────────────────────────────


def test_run_returns_the_output(client: Any) -> None:
    """Standard output, standard error, or both, as asked for."""
    command = "echo out; echo err >&2"
    assert run(client, command, remove=True) == b"out\n"
    assert run(client, command, remove=True, stdout=False, stderr=True) == b"err\n"
    both = run(client, command, remove=True, stderr=True)
    assert sorted(both.splitlines()) == [b"err", b"out"]
    assert b"".join(run(client, command, remove=True, stream=True)) == b"out\n"
    assert client.containers.list(all=True) == []


def test_a_failing_command_raises(client: Any) -> None:
    """ContainerError carries status and standard error."""
    with pytest.raises(docker.errors.ContainerError) as caught:
        run(client, "echo bad >&2; exit 3", remove=True)
    assert (caught.value.exit_status, caught.value.stderr) == (3, b"bad\n")
    assert client.containers.list(all=True) == []


def test_a_command_that_is_not_there(client: Any) -> None:
    """The start is refused; the container stays unless `remove` said otherwise."""
    with pytest.raises(docker.errors.APIError, match="executable file not found") as caught:
        run(client, ["nosuch"], name="left")
    assert caught.value.status_code == 400
    assert statuses(client.containers.get("left")) == ["created"]


def test_auto_remove(client: Any) -> None:
    """The container goes by itself."""
    container = run(client, "exit 5", detach=True, auto_remove=True)
    with_status = container.wait(condition="removed")
    assert with_status["StatusCode"] == 5
    with pytest.raises(docker.errors.NotFound):
        container.reload()


def test_what_can_be_set(client: Any, tmp_path: Path) -> None:
    """Environment, user, working directory, host name, limits, binds."""
    (tmp_path / "file").write_text("here\n")
    tmp_path.chmod(0o755)
    made = tmp_path / "made"
    made.mkdir()
    made.chmod(0o777)
    script = """
        echo $A-$B; id -u; id -g; pwd; hostname; cat /ro/file; echo there > /rw/made
        touch /ro/x 2>/dev/null || echo refused
        cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes
    """
    out = run(
        client,
        script,
        environment={"A": "b c", "B": "d"},
        user="5:6",
        working_dir="/var",
        hostname="box",
        mem_limit="64m",
        volumes={
            str(tmp_path): {"bind": "/ro", "mode": "ro"},
            str(made): {"bind": "/rw", "mode": "rw"},
        },
        remove=True,
    )
    assert out.decode().splitlines() == [
        "b c-d", "5", "6", "/var", "box", "here", "refused", str(64 * 1024 * 1024)
    ]  # fmt: skip
    assert (made / "made").read_text() == "there\n"


def test_labels_are_shown(client: Any) -> None:
    """Labels as a map, and as a list of names."""
    assert create(client, "true", labels={"a": "b"}).labels == {"a": "b"}
    assert create(client, "true", labels=["a", "b"]).labels == {"a": "", "b": ""}


def test_a_terminal(client: Any) -> None:
    """With tty the output is raw, in carriage returns."""
    assert run(client, "tty; echo err >&2", tty=True, remove=True) == b"/dev/pts/0\r\nerr\r\n"


# ── one container's life ─────────────────────────────────────────────────────────────────────


def test_a_life(client: Any) -> None:
    """create, start, pause, unpause, restart, stop, start, kill, wait, remove."""
    container = create(client, "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done")
    assert statuses(container) == ["created"]
    container.start()
    assert statuses(container) == ["running"]
    container.pause()
    assert statuses(container) == ["paused"]
    container.unpause()
    wait_until(lambda: container.logs() == b"up\n", "the handler is set")
    container.restart(timeout=60)
    assert statuses(container) == ["running"]
    wait_until(lambda: container.logs() == b"up\nup\n", "the handler is set again")
    container.stop(timeout=60)
    assert statuses(container) == ["exited"]
    assert container.wait() == {"StatusCode": 7}
    container.start()
    container.kill()
    assert container.wait() == {"StatusCode": 137}
    container.remove()
    with pytest.raises(docker.errors.NotFound, match=f"No such container: {container.id}"):
        client.containers.get(container.id)


def test_kill_with_a_signal(client: Any) -> None:
    """By name and by number."""
    for signal in ("SIGUSR1", 10):
        container = run(
            client, "trap 'exit 4' USR1; echo; while :; do sleep 0.05; done", detach=True
        )
        wait_until(container.logs, "the handler is set")
        container.kill(signal)
        assert container.wait() == {"StatusCode": 4}


def test_rename(client: Any) -> None:
    """The new name is found, the old one free."""
    container = create(client, "true", name="before")
    container.rename("after")
    assert client.containers.get("after").name == "after"
    assert create(client, "true", name="before").name == "before"


def test_top(client: Any) -> None:
    """The processes, with the titles that were asked for."""
    container = run(client, ["sleep", "100"], detach=True)

    def shown() -> list[str]:
        top = container.top(ps_args="-o pid,args")
        assert top["Titles"] == ["PID", "COMMAND"]
        return [process[1] for process in top["Processes"]]

    wait_until(lambda: shown() == ["sleep 100"], "it is not the runtime's process any more")


def test_lists(client: Any) -> None:
    """Running ones, all, the last, and by status, label, name, ancestor, exit status."""
    done = create(client, "exit 9", name="done", labels={"a": "b"})
    done.start()
    done.wait()
    on = run(client, "sleep 100", name="going", detach=True)

    def listed(**options: Any) -> list[str]:
        return [container.name for container in client.containers.list(**options)]

    assert listed() == ["going"]
    assert listed(all=True) == ["going", "done"]
    assert listed(limit=1) == ["going"]
    assert listed(filters={"status": "exited"}) == ["done"]
    assert listed(all=True, filters={"label": ["a=b"]}) == ["done"]
    assert listed(all=True, filters={"name": "go"}) == ["going"]
    assert listed(all=True, filters={"exited": 9}) == ["done"]
    assert listed(all=True, filters={"ancestor": "busybox"}) == ["going", "done"]
    assert listed(all=True, filters={"since": "done"}) == ["going"]
    assert listed(all=True, filters={"before": on.id}) == ["done"]


def test_prune(client: Any) -> None:
    """What does not run goes, the rest stays; filters keep more."""
    done = [create(client, "true"), create(client, "true", labels=["kept"])]
    going = run(client, "sleep 100", detach=True)
    pruned = client.containers.prune(filters={"label!": ["kept"]})
    assert pruned["ContainersDeleted"] == [done[0].id]
    assert statuses(done[1], going) == ["created", "running"]
    assert client.containers.prune()["ContainersDeleted"] == [done[1].id]


def test_update(client: Any) -> None:
    """A limit is changed while the container runs."""
    container = run(client, "sleep 100", detach=True, mem_limit="32m")
    assert container.update(mem_limit="64m", memswap_limit="64m")["Warnings"] in ([], None)
    container.reload()
    assert container.attrs["HostConfig"]["Memory"] == 64 * 1024 * 1024


def test_stats(client: Any) -> None:
    """One sample, or one a second."""
    container = run(client, "exec sleep 100", detach=True)
    args = {"ps_args": "-o pid,args"}
    wait_until(lambda: container.top(**args)["Processes"][0][1] == "sleep 100", "it sleeps")
    sample = container.stats(stream=False)
    assert sample["memory_stats"]["usage"] > 0
    assert sample["pids_stats"]["current"] == 1
    assert next(container.stats(decode=True))["cpu_stats"]["cpu_usage"]["total_usage"] > 0


# ── streams ──────────────────────────────────────────────────────────────────────────────────


def test_logs(client: Any) -> None:
    """Whole, one side of them, the end of them, by time, with time stamps."""
    then = "while ! [ -e /go ]; do sleep 0.02; done; rm /go"
    container = run(client, f"echo a; {then}; echo b; {then}; echo e >&2", detach=True)
    for logged in (b"a\n", b"a\nb\n"):  # the order of two streams is that of their arrival
        wait_until(lambda: container.logs() == logged, "it is logged")  # noqa: B023
        time.sleep(0.5)
        container.exec_run(["touch", "/go"])
    container.wait()
    assert container.logs() == b"a\nb\ne\n"
    assert container.logs(stderr=False) == b"a\nb\n"
    assert container.logs(stdout=False) == b"e\n"
    assert container.logs(tail=1) == b"e\n"
    lines = container.logs(timestamps=True).splitlines()
    stamps = [line.split()[0].decode() for line in lines]
    assert stamps == sorted(stamps)
    first = datetime.datetime.fromisoformat(f"{stamps[0][:26].rstrip('Z')}+00:00")
    assert container.logs(since=first.timestamp() + 0.2) == b"b\ne\n"
    assert container.logs(until=first.timestamp() + 0.2) == b"a\n"
    assert container.logs(since=int(time.time()) + 60) == b""


def test_following_logs(client: Any) -> None:
    """Lines come while the container runs; the stream ends with it."""
    container = run(
        client, "echo first; while ! [ -e /go ]; do sleep 0.02; done; echo last", detach=True
    )
    stream = container.logs(stream=True, follow=True)
    assert next(stream) == b"first\n"
    container.exec_run(["touch", "/go"])
    assert list(stream) == [b"last\n"]


def test_attach_stream(client: Any) -> None:
    """What comes from now on, and with `logs` what came before."""
    container = create(client, "echo one; echo two >&2")
    stream = container.attach(stream=True, stdout=True, stderr=True)
    container.start()
    assert sorted(b"".join(stream).splitlines()) == [b"one", b"two"]
    container.wait()  # its log is whole then
    demuxed = container.attach(logs=True, demux=True)
    assert demuxed == (b"one\n", b"two\n")


def test_attach_socket(client: Any) -> None:
    """Bytes go in, frames come out; the end of one side is not the end of the other."""
    container = create(client, "cat; echo done", stdin_open=True)
    reader = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    sock = reader._sock  # as docker-py's users do: its own object only reads
    sock.sendall(b"ping\n")
    assert read_exactly(reader, 13) == b"\x01\0\0\0\0\0\0\x05ping\n"
    sock.shutdown(socket.SHUT_WR)
    assert reader.read() == b"\x01\0\0\0\0\0\0\x05done\n"
    assert container.wait() == {"StatusCode": 0}
    reader.close()


def test_attach_socket_with_a_terminal(client: Any) -> None:
    """Raw bytes both ways; the terminal has the size that was set."""
    container = create(client, "read line; stty size; echo got $line", stdin_open=True, tty=True)
    reader = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    container.resize(height=33, width=77)
    reader._sock.sendall(b"it\n")
    assert reader.read() == b"it\r\n33 77\r\ngot it\r\n"
    reader.close()


def read_exactly(reader: Any, size: int) -> bytes:
    """`size` bytes; fewer only at the end of the stream."""
    data = b""
    while len(data) < size and (piece := reader.read(size - len(data))):
        data += piece
    return data


# ── exec ─────────────────────────────────────────────────────────────────────────────────────


def test_exec_results(client: Any) -> None:
    """Status and output, also apart, also as a stream."""
    container = run(client, "sleep 100", detach=True)
    command = ["sh", "-c", "echo out; echo err >&2; exit 4"]
    code, output = container.exec_run(command)
    assert (code, sorted(output.splitlines())) == (4, [b"err", b"out"])
    assert container.exec_run(command, demux=True) == (4, (b"out\n", b"err\n"))
    assert container.exec_run(command, stderr=False) == (4, b"out\n")
    code, pieces = container.exec_run(command, stream=True, demux=True)
    assert (code, sorted(pieces, key=str)) == (None, [(None, b"err\n"), (b"out\n", None)])


def test_exec_settings(client: Any) -> None:
    """Environment, working directory, user, terminal, privileges."""
    container = run(client, "sleep 100", detach=True)
    code, output = container.exec_run(
        ["sh", "-c", "echo $A; pwd; id -u"], environment={"A": "b"}, workdir="/var", user="nobody"
    )
    assert (code, output) == (0, b"b\n/var\n65534\n")
    assert container.exec_run(["tty"], tty=True).output.startswith(b"/dev/pts/")
    seen = container.exec_run(["grep", "CapEff", "/proc/self/status"], privileged=True).output
    assert seen.split()[1] > b"00000000a80425fb"


def test_exec_socket(client: Any) -> None:
    """What is written goes in; the end of it ends the command."""
    container = run(client, "sleep 100", detach=True)
    reader = container.exec_run(["cat"], stdin=True, socket=True).output
    reader._sock.sendall(b"ping\n")
    assert read_exactly(reader, 13) == b"\x01\0\0\0\0\0\0\x05ping\n"
    reader._sock.shutdown(socket.SHUT_WR)
    assert reader.read() == b""
    reader.close()


def test_detached_exec(client: Any) -> None:
    """It is started and left; what became of it can be asked."""
    container = run(client, "sleep 100", detach=True)
    exec_id = client.api.exec_create(container.id, ["sh", "-c", "exit 6"])["Id"]
    assert client.api.exec_inspect(exec_id)["Running"] is False
    client.api.exec_start(exec_id, detach=True)
    wait_until(lambda: client.api.exec_inspect(exec_id)["ExitCode"] == 6, "the exec has ended")


def test_exec_of_nothing(client: Any) -> None:
    """A command that is not there, and a container that does not run."""
    container = run(client, "sleep 100", detach=True)
    code, output = container.exec_run(["nosuch"])
    assert code == 127
    assert b"executable file not found in $PATH" in output
    idle = create(client, "true")
    with pytest.raises(docker.errors.APIError, match="is not running") as caught:
        idle.exec_run(["true"])
    assert caught.value.status_code == 409


# ── the rest ─────────────────────────────────────────────────────────────────────────────────


def test_networks(client: Any) -> None:
    """The predefined ones."""
    names = sorted(network.name for network in client.networks.list())
    assert names == ["bridge", "host", "none"]
    (bridge,) = client.networks.list(names=["bridge"])
    assert client.networks.get(bridge.id).attrs["Driver"] == "bridge"


def test_errors_have_their_classes(client: Any) -> None:
    """NotFound, and APIError with status and text."""
    with pytest.raises(docker.errors.NotFound, match="No such container: nosuch"):
        client.containers.get("nosuch")
    with pytest.raises(docker.errors.NotFound, match="network nosuch not found"):
        client.networks.get("nosuch")
    create(client, "true", name="held")
    with pytest.raises(docker.errors.APIError, match="is already in use by container") as caught:
        create(client, "true", name="held")
    assert caught.value.status_code == 409
    assert caught.value.is_client_error()


def test_what_is_not_served_is_refused(client: Any) -> None:
    """501 and a sentence."""
    with pytest.raises(docker.errors.APIError, match="plugins are not supported") as caught:
        client.plugins.install("n")
    assert caught.value.status_code == 501


def test_networks_of_ones_own(client: Any, daemon: Daemon) -> None:
    """From the making to the removal, with a container that comes and goes."""
    prefix = daemon.bridge.pool.rpartition(".")[0]
    pool = docker.types.IPAMPool(subnet=f"{prefix}.0/26", gateway=f"{prefix}.9")
    ipam = docker.types.IPAMConfig(pool_configs=[pool])
    network = client.networks.create("n1", ipam=ipam, labels={"a": "b"}, check_duplicate=True)
    assert [one.name for one in client.networks.list(filters={"label": "a"})] == ["n1"]
    box = client.containers.run("busybox", "sleep 1000", detach=True, name="box")
    network.connect(box, aliases=["x"], ipv4_address=f"{prefix}.20")
    network.reload()
    assert network.containers == [box]
    box.reload()
    settings = box.attrs["NetworkSettings"]["Networks"]["n1"]
    assert (settings["IPAddress"], settings["Gateway"]) == (f"{prefix}.20", f"{prefix}.9")
    assert box.exec_run("ip -o -4 addr show eth1").output.decode().split()[3] == f"{prefix}.20/26"
    with pytest.raises(docker.errors.APIError, match="has active endpoints"):
        network.remove()
    network.disconnect(box)
    network.reload()
    assert network.containers == []
    assert client.networks.prune() == {"NetworksDeleted": ["n1"]}
    with pytest.raises(docker.errors.NotFound):
        client.networks.get("n1")
