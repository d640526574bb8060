"""Hosts of a lab: namespaces for network, mounts and the host's name, held by a process each."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# /sys shows the network of whoever mounted it, so each host mounts its own; cgroups move along.
_HOLD: Final = """
hostname "$1"
mkdir -p "$2"
mount --rbind /sys/fs/cgroup "$2"
mount -t sysfs sysfs /sys
mount --rbind /sys/fs/cgroup /sys/fs/cgroup 2>/dev/null || true
mount --rbind "$2" /sys/fs/cgroup
umount -l "$2"
# Nobody answers there, and nobody says so at once: names are not waited for.
echo 'nameserver 127.0.0.1' > "$2.resolv.conf"
mount --bind "$2.resolv.conf" /etc/resolv.conf
ip link set lo up
echo held
exec sleep infinity
"""
_PREFIX: Final = 24
_END_LIMIT_S: Final = 10.0


def run(*command: str) -> str:
    """A command's output. Raises CalledProcessError."""
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One of them. `holder` keeps its namespaces; `link` is the bridge's end of its wire."""

    name: str
    address: str
    link: str
    holder: subprocess.Popen[str]
    mounts: str  # its mount namespace, by which all that runs there is found

    def command(self, *command: str) -> list[str]:
        """A command line that runs in there."""
        return ["nsenter", f"--target={self.holder.pid}", "--net", "--mount", "--uts", *command]

    def run(self, *command: str) -> str:
        """A command's output, in there. Raises CalledProcessError."""
        return run(*self.command(*command))

    def cut(self) -> None:
        """Pull the wire."""
        run("ip", "link", "set", self.link, "down")

    def mend(self) -> None:
        """Plug it in again."""
        run("ip", "link", "set", self.link, "up")


class Wires:
    """A bridge, and hosts on it: 10.S.T.1 and on; the machine itself is 10.S.T.254."""

    def __init__(self, folder: Path, *, subnet: str = "") -> None:
        """`subnet`: three numbers, "10.231.7"; by chance if left out."""
        self.subnet: Final = subnet or f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(256)}"
        self._tag = secrets.token_hex(2)
        self.bridge: Final = f"wflab{self._tag}"
        self._folder = folder
        self.hosts: list[Host] = []
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "address", "add", f"{self.subnet}.254/{_PREFIX}", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")

    def add_host(self) -> Host:
        """One more."""
        number = len(self.hosts) + 1
        name = f"node{number}"
        holder = _hold(name, self._folder / name / "cgroup")
        link, address = f"wfl{self._tag}n{number}", f"{self.subnet}.{number}"
        peer = ["peer", "name", "eth0", "netns", str(holder.pid)]
        run("ip", "link", "add", link, "type", "veth", *peer)
        run("ip", "link", "set", link, "master", self.bridge, "up")
        mounts = _mounts_of(holder.pid)
        host = Host(name=name, address=address, link=link, holder=holder, mounts=mounts)
        host.run("ip", "address", "add", f"{address}/{_PREFIX}", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")
        host.run("ip", "route", "add", "default", "via", f"{self.subnet}.254")
        self.hosts.append(host)
        return host

    def close(self) -> None:
        """Take everything away, what runs in the hosts too."""
        for host in self.hosts:
            _end_all_in(host)
        with suppress(subprocess.CalledProcessError):
            run("ip", "link", "delete", self.bridge)


def _hold(name: str, cgroup: Path) -> subprocess.Popen[str]:
    unshared = ["unshare", "--net", "--mount", "--uts", "--propagation", "slave"]
    holder = subprocess.Popen(
        [*unshared, "sh", "-ec", _HOLD, "sh", name, str(cgroup)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    if holder.stdout.readline() != "held\n":
        raise RuntimeError(f"the namespaces of {name} cannot be made")
    return holder


def _end_all_in(host: Host) -> None:
    """Kill all that was started in there, containers below it too, and wait for their end."""
    deadline = time.monotonic() + _END_LIMIT_S
    while time.monotonic() < deadline:
        pids = _pids_in(host)
        if not pids:
            break
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    host.holder.kill()
    host.holder.wait()


def _pids_in(host: Host) -> Sequence[int]:
    """Processes in the host's mount namespace, and all below them; not the holder."""
    parents = {pid: _parent_of(pid) for pid in map(int, filter(str.isdecimal, os.listdir("/proc")))}
    holder = host.holder.pid
    found = {pid for pid in parents if pid != holder and _mounts_of(pid) == host.mounts}
    grown = True
    while grown:
        below = {pid for pid, parent in parents.items() if parent in found} - found
        grown = bool(below)
        found |= below
    return sorted(found)


def _mounts_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ""


def _parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0
