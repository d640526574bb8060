"""`docker run`, as people use it: what goes in, what comes out, how it ends."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]

NONE = ("--network", "none")


def in_busybox(daemon: Daemon, *options: str, command: str, code: int = 0) -> str:
    """What a shell command prints in a container of its own, run with these options."""
    return daemon.docker("run", "--rm", *options, "busybox", "sh", "-c", command, code=code).text


def test_run_prints_what_the_command_prints(daemon: Daemon) -> None:
    """The first example of every introduction works, and leaves nothing."""
    ran = daemon.docker("run", "--rm", "busybox", "echo", "hi")
    assert (ran.out, ran.err) == (b"hi\n", b"")
    assert daemon.container_ids() == []


def test_output_and_errors_stay_apart(daemon: Daemon) -> None:
    """Both streams arrive whole, each on its own side."""
    script = "for i in 1 2 3; do echo out$i; echo err$i >&2; done"
    ran = daemon.docker("run", "--rm", *NONE, "busybox", "sh", "-c", script)
    assert (ran.out, ran.err) == (b"out1\nout2\nout3\n", b"err1\nerr2\nerr3\n")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("true",), 0),
        (("false",), 1),
        (("sh", "-c", "exit 77"), 77),
        (("sh", "-c", "kill -TERM $$; sleep 5"), 143),
        (("sh", "-c", "kill -KILL $$"), 137),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_the_exit_status_is_the_commands(
    daemon: Daemon, command: tuple[str, ...], code: int
) -> None:
    """The first process of a container ignores signals without a handler, SIGKILL too."""
    if code > 128:  # as pid 1 a shell cannot kill itself; below an init it can
        command = ("--init", "busybox", *command)
        daemon.docker("run", "--rm", *NONE, *command, code=code)
    else:
        daemon.docker("run", "--rm", *NONE, "busybox", *command, code=code)


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("nosuch", 127, r'exec: "nosuch": executable file not found in \$PATH'),
        ("/no/such", 127, "no such file or directory"),
        ("/etc", 126, "permission denied|is a directory"),  # runc up to 1.1.5, and from 1.1.15 on
        ("/etc/passwd", 126, "permission denied"),
    ],
)
def test_a_command_that_cannot_start_is_told_apart(
    daemon: Daemon, command: str, code: int, words: str
) -> None:
    """127 is not found, 126 is not executable; with --rm nothing is left."""
    ran = daemon.docker("run", "--rm", *NONE, "busybox", command, code=code)
    assert re.search(words, ran.error_text)
    assert daemon.container_ids() == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--network", "nosuch", "busybox"), "network nosuch not found"),
        (("--restart", "always", "--bogus", "busybox"), "unknown flag: --bogus"),
        (("-v", "/a:/b:bogus", "busybox"), "invalid mode: bogus"),
        (("--name", "a b", "busybox"), "Invalid container name (a b)"),
        (("-m", "1m", "busybox"), "Minimum memory limit allowed is 6MB"),
        (("--runtime", "nosuch", "busybox"), "unknown or invalid runtime name: nosuch"),
        (("-u", "nosuch", "busybox"), "unable to find user nosuch: no matching entries"),
        (("--pull", "never", "nosuch"), "No such image: nosuch:latest"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else None,
)
def test_what_docker_refuses_ends_with_125(
    daemon: Daemon, options: tuple[str, ...], words: str
) -> None:
    """The daemon's or the client's refusal, in Docker's words, and nothing is left."""
    ran = daemon.docker("run", "--rm", *options, "true", code=125)
    assert words in ran.error_text
    assert daemon.container_ids() == []


def test_a_name_in_use_is_a_conflict(daemon: Daemon) -> None:
    """The error names the container that has the name."""
    holder = daemon.docker("create", "--name", "held", "busybox", "true").text
    ran = daemon.docker("run", "--name", "held", "busybox", "true", code=125)
    assert (
        f'Conflict. The container name "/held" is already in use by container "{holder}".'
        " You have to remove (or rename) that container to be able to reuse that name."
    ) in ran.error_text
    assert daemon.container_ids() == [holder]


def test_out_of_memory_is_137_and_remembered(daemon: Daemon) -> None:
    """A container that the kernel killed for its memory says so."""
    limits = ("-m", "16m", "--memory-swap", "16m")
    daemon.docker("run", "--name", "big", *NONE, *limits, "busybox", "tail", "/dev/zero", code=137)
    state = daemon.docker("inspect", "big", "--format", "{{json .State}}")
    assert {
        key: json.loads(state.text)[key] for key in ("OOMKilled", "ExitCode", "Status", "Running")
    } == {"OOMKilled": True, "ExitCode": 137, "Status": "exited", "Running": False}


def test_environment_command_and_entrypoint(daemon: Daemon) -> None:
    """-e sets or passes on, --entrypoint replaces, the command follows."""
    os.environ["WF_PASSED"] = "through"
    try:
        text = in_busybox(
            daemon,
            *("-e", "A=b c", "-e", "WF_PASSED", "-e", "ABSENT", "-h", "box", *NONE),
            command="env | sort",
        )
    finally:
        del os.environ["WF_PASSED"]
    assert text.splitlines() == [
        "A=b c",
        "HOME=/root",
        "HOSTNAME=box",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PWD=/",
        "SHLVL=1",
        "WF_PASSED=through",
    ]
    ran = daemon.docker("run", "--rm", *NONE, "--entrypoint", "echo", "busybox", "-n", "x")
    assert ran.out == b"x"


def test_user_and_working_directory(daemon: Daemon) -> None:
    """Names are the image's; a working directory that is not there is made."""
    assert in_busybox(daemon, *NONE, "-u", "nobody", "-w", "/a/b", command="id; pwd") == (
        "uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)\n/a/b"
    )
    assert in_busybox(daemon, *NONE, "-u", "5:7", "--group-add", "9", command="id") == (
        "uid=5 gid=7 groups=7,9"
    )


def test_hostname_and_the_files_about_it(daemon: Daemon) -> None:
    """The name stands in /etc/hostname, and on a network in /etc/hosts with the address."""
    command = "hostname; cat /etc/hostname; tail -n 1 /etc/hosts; hostname -i"
    options = ("-h", "box", "--add-host", "other:192.0.2.7")
    name, in_file, hosts, address = in_busybox(daemon, *options, command=command).splitlines()
    assert (name, in_file) == ("box", "box")
    assert hosts.split() == [address, "box"]


def test_labels_are_kept_and_found(daemon: Daemon) -> None:
    """Labels stand in inspect, and ps finds by them."""
    made = daemon.docker("create", "-l", "a=b", "-l", "c", *NONE, "busybox").text
    daemon.docker("create", "-l", "a=x", *NONE, "busybox")
    labels = daemon.docker("inspect", made, "-f", "{{json .Config.Labels}}")
    assert json.loads(labels.text) == {"a": "b", "c": ""}
    assert daemon.docker("ps", "-aq", "--no-trunc", "--filter", "label=a=b").text == made


def test_memory_limit_and_ulimits(daemon: Daemon) -> None:
    """Limits arrive where the kernel holds them."""
    options = ("-m", "64m", "--ulimit", "nofile=100:200", "--pids-limit", "50")
    command = (
        "ulimit -n; ulimit -Hn; cat /sys/fs/cgroup/memory.max 2>/dev/null"
        " || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
    )
    text = in_busybox(daemon, *NONE, *options, command=command)
    assert text.split() == ["100", "200", str(64 * 1024 * 1024)]


def test_bind_mounts(daemon: Daemon, tmp_path: Path) -> None:
    """Both spellings; writable by default, read-only when told; a missing source is made."""
    (tmp_path / "file").write_text("here")
    text = in_busybox(
        daemon,
        *(*NONE, "-v", f"{tmp_path}:/rw", "-v", f"{tmp_path}:/ro:ro"),
        *("--mount", f"type=bind,source={tmp_path}/file,target=/one,readonly"),
        *("-v", f"{tmp_path}/made/by/us:/made"),
        command="cat /one /ro/file; echo there > /rw/new; touch /ro/x 2>&1; touch /one 2>&1; true",
    )
    assert text.startswith("herehere")
    assert text.count("Read-only file system") == 2
    assert (tmp_path / "new").read_text() == "there\n"
    assert (tmp_path / "made/by/us").is_dir()
    missing = f"type=bind,source={tmp_path}/nosuch,target=/x"
    ran = daemon.docker("run", "--rm", "--mount", missing, "busybox", code=125)
    assert "bind source path does not exist" in ran.error_text


def test_tmpfs_and_read_only(daemon: Daemon) -> None:
    """A read-only root with a writable tmpfs of a given size."""
    command = "touch /x 2>&1; touch /t/x && echo ok; df -k /t | tail -n 1"
    text = in_busybox(
        daemon, *NONE, "--read-only", "--tmpfs", "/t:size=1m,mode=700", command=command
    )
    refused, ok, size = text.splitlines()
    assert "Read-only file system" in refused
    assert (ok, size.split()[1]) == ("ok", "1024")


def test_capabilities(daemon: Daemon) -> None:
    """Docker's default set, less or more of it, none for another user."""
    command = "grep -E '^Cap(Eff|Bnd)' /proc/self/status | cut -f 2"
    default = "00000000a80425fb"
    assert in_busybox(daemon, *NONE, command=command).split() == [default, default]
    dropped = in_busybox(daemon, *NONE, "--cap-drop", "ALL", command=command)
    assert dropped.split() == ["0" * 16] * 2
    added = in_busybox(daemon, *NONE, "--cap-add", "NET_ADMIN", command=command)
    assert added.split() == ["00000000a80435fb"] * 2
    other = in_busybox(daemon, *NONE, "-u", "nobody", command=command)
    assert other.split() == ["0" * 16, default]


def test_init_reaps_and_passes_signals_on(daemon: Daemon) -> None:
    """With --init the command is the child of an init, which dies as it dies."""
    text = in_busybox(
        daemon, *NONE, "--init", command="cat /proc/1/cmdline | tr '\\0' ' '; echo $$"
    )
    assert re.match(r"/sbin/docker-init -- sh -c .*\s\d+$", text)
    daemon.docker("run", "-d", "--name", "init", "--init", *NONE, "busybox", "sleep", "100")
    daemon.docker("stop", "-t", "20", "init")
    assert daemon.docker("wait", "init").text == "143"


def test_no_network(daemon: Daemon) -> None:
    """none has a loopback and nothing else."""
    assert in_busybox(daemon, *NONE, command="ls /sys/class/net; ip route | wc -l") == "lo\n0"


def test_the_hosts_network(daemon: Daemon) -> None:
    """host is the host's namespace and its name."""
    inside = in_busybox(daemon, "--network", "host", command="readlink /proc/self/ns/net; hostname")
    assert inside.split() == [os.readlink("/proc/self/ns/net"), socket.gethostname()]


@pytest.fixture
def web_server(daemon: Daemon) -> Iterator[str]:
    """A server on the host's address on the bridge; its address with the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.client_address[0].encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer((daemon.bridge.address, 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"{daemon.bridge.address}:{server.server_address[1]}"
        server.shutdown()


def test_the_bridge_gives_an_address_and_a_way_out(daemon: Daemon, web_server: str) -> None:
    """Two containers have different addresses; they reach the host, and each other."""
    daemon.docker(
        "run", "-d", "--name", "one", "-h", "first", "busybox", "httpd", "-f", "-h", "/etc"
    )
    address = daemon.docker(
        "inspect", "one", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}"
    )
    subnet = daemon.bridge.address.rpartition(".")[0]
    assert re.fullmatch(rf"{re.escape(subnet)}\.\d+", address.text)
    command = (
        f"wget -q -O - http://{web_server}/; echo; hostname -i; ip route | head -n 1;"
        f"wget -q -O - http://{address.text}/hostname"
    )
    seen, own, route, other = in_busybox(daemon, command=command).splitlines()
    assert seen == own != address.text  # not masqueraded on the bridge itself
    assert route.split()[:5] == ["default", "via", daemon.bridge.address, "dev", "eth0"]
    assert other == "first"


def test_restart_on_failure_counts(daemon: Daemon) -> None:
    """on-failure:2 starts three times in all."""
    daemon.docker(
        *(
            "run",
            "-d",
            "--name",
            "again",
            "--restart",
            "on-failure:2",
            *NONE,
            "busybox",
            "sh",
            "-c",
        ),
        "echo run; exit 7",
    )
    count = "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}"
    wait_until(
        lambda: daemon.docker("inspect", "again", "-f", count).text == "2 exited 7",
        "given up after 2",
    )
    assert daemon.docker("logs", "again").text == "run\nrun\nrun"


def test_restart_always_comes_back_until_stopped(daemon: Daemon) -> None:
    """A killed process starts again; `docker stop` is the last word."""
    daemon.docker(
        *("run", "-d", "--name", "again", "--restart", "always", *NONE, "busybox", "sleep", "100")
    )
    pid = int(daemon.docker("inspect", "again", "-f", "{{.State.Pid}}").text)
    os.kill(pid, signal.SIGKILL)

    def is_back() -> bool:
        now, status = daemon.docker(
            "inspect", "again", "-f", "{{.State.Pid}} {{.State.Status}}"
        ).text.split()
        return status == "running" and int(now) != pid

    wait_until(is_back, "the container is back")
    daemon.docker("stop", "-t", "0", "again")
    assert daemon.docker("inspect", "again", "-f", "{{.State.Status}}").text == "exited"


def test_cidfile(daemon: Daemon, tmp_path: Path) -> None:
    """The id is written to the file."""
    path = tmp_path / "cid"
    printed = daemon.docker("run", "-d", "--cidfile", str(path), *NONE, "busybox", "true").text
    assert path.read_text() == printed
    assert daemon.container_ids() == [printed]


def test_detached_runs_go_on(daemon: Daemon) -> None:
    """-d prints the id and returns while the container runs."""
    container_id = daemon.docker("run", "-d", *NONE, "busybox", "sleep", "100").text
    assert re.fullmatch("[0-9a-f]{64}", container_id)
    assert daemon.docker("ps", "-q", "--no-trunc").text == container_id


def test_stdin_is_carried(daemon: Daemon) -> None:
    """-i sends what is piped in; the end of it ends the command."""
    ran = daemon.docker("run", "--rm", "-i", *NONE, "busybox", "cat", stdin=b"a\0b\xff\n" * 1000)
    assert ran.out == b"a\0b\xff\n" * 1000


def test_without_i_stdin_is_empty(daemon: Daemon) -> None:
    """Without -i the command reads the end at once."""
    ran = daemon.docker("run", "--rm", *NONE, "busybox", "wc", "-c", stdin=b"unseen")
    assert ran.text == "0"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_client_reaches_the_process(daemon: Daemon, number: signal.Signals) -> None:
    """Without a terminal the CLI passes signals on; its status is the command's."""
    traps = "trap 'echo int; exit 3' INT; trap 'echo term; exit 4' TERM"
    script = f"{traps}; echo ready; while :; do sleep 0.1; done"
    with daemon.docker_process("run", "--rm", *NONE, "busybox", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)
        assert process.returncode == {signal.SIGINT: 3, signal.SIGTERM: 4}[number]
    assert out == {signal.SIGINT: b"int\n", signal.SIGTERM: b"term\n"}[number]
    wait_until(lambda: not daemon.container_ids(), "--rm removes it")


def test_a_killed_client_leaves_the_container(daemon: Daemon) -> None:
    """The CLI dies hard; the container goes on, and its output is in the log."""
    script = "echo ready; while ! [ -e /go ]; do sleep 0.05; done; echo on"
    with daemon.docker_process(
        "run", "--name", "left", *NONE, "busybox", "sh", "-c", script
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
    daemon.docker("exec", "left", "touch", "/go")
    assert daemon.docker("wait", "left").text == "0"
    assert daemon.docker("logs", "left").text == "ready\non"


def test_programs_can_tell_that_they_are_in_a_container(daemon: Daemon) -> None:
    """By the file that Docker makes for them; and what is mounted is where older ones look."""
    assert in_busybox(daemon, *NONE, command="ls -l /.dockerenv").startswith("-rwxr-xr-x")
    assert " / overlay " in in_busybox(daemon, *NONE, command="grep ' / ' /etc/mtab")


def test_volumes_from_nobody_is_no_missing_image(daemon: Daemon) -> None:
    """The CLI would pull the image if it were told 404."""
    words = ("run", "--rm", "--volumes-from", "nobody", "busybox", "true")
    failed = daemon.docker(*words, code=125)
    assert "Error response from daemon: No such container: nobody" in failed.error_text
    assert "Unable to find image" not in failed.error_text


def test_a_bridge_that_was_taken_away_is_told(fresh_daemon: Daemon) -> None:
    """What the kernel refuses is no internal error; the container can be started again."""
    daemon = fresh_daemon
    subprocess.run(["ip", "link", "del", daemon.bridge.name], check=True)
    ran = daemon.docker("run", "--name", "cut", "busybox", "true", code=125)
    assert "the container could not be set up" in ran.error_text
    assert daemon.docker("inspect", "-f", "{{.State.Status}}", "cut").text == "created"
    daemon.docker("rm", "cut")


def test_signals_need_not_be_passed_on(daemon: Daemon) -> None:
    """--sig-proxy=false keeps them from the process; the client itself does not mind them."""
    script = "trap 'exit 6' TERM; echo up; while :; do sleep 0.05; done"
    command = ("--sig-proxy=false", "--name", "box", *NONE, "busybox", "sh", "-c", script)
    with daemon.docker_process("run", *command) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGTERM)
    assert daemon.docker("ps", "--format", "{{.Names}}").text == "box"


def test_detaching_by_other_keys(daemon: Daemon) -> None:
    """--detach-keys of one's own; --detach prints the id."""
    command = ("run", "-it", "--detach-keys", "ctrl-x,q", "--name", "box", *NONE, "busybox")
    with daemon.docker_on_terminal(*command) as terminal:
        terminal.expect("# ")
        terminal.type("\x18q")
        terminal.wait()
    assert daemon.docker("ps", "--format", "{{.Names}}").text == "box"
    ran = daemon.docker("run", "--detach", "--name", "other", *NONE, "busybox", "sleep", "99")
    assert ran.text == daemon.docker("ps", "-lq", "--no-trunc").text
