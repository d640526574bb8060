"""What a daemon can leave on the host: finding it, and taking it away."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path
from typing import Final

SETTLE_S: Final = 20.0
CGROUPS: Final = Path("/sys/fs/cgroup")
BRIDGES_LOCK: Final = Path("/tmp/wf-bridges.lock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A bridge of one's own, with a subnet that nobody else has."""

    name: str
    address: str  # its own; the subnet is a /24

    @classmethod
    def make(cls) -> Bridge:
        """Make one on the host; the daemon is to find and use it."""
        with _alone():  # the daemons of a run are hundreds, and some live side by side
            used = _networks_of_host()
            while True:
                number = secrets.token_bytes(3)
                address = f"10.{192 + number[0] % 62}.{number[1]}.1"
                bridge = cls(name=f"wf{number.hex()}", address=address)
                own = (ip_network(f"{address}/24", strict=False), ip_network(bridge.pool))
                if not any(one.overlaps(other) for one in own for other in used):
                    break
            _run("ip", "link", "add", bridge.name, "type", "bridge")
            _run("ip", "address", "add", f"{bridge.address}/24", "dev", bridge.name)
        return bridge

    @property
    def pool(self) -> str:
        """Where the daemon's other networks take their subnets from: 16 of them."""
        second, third = (int(number) for number in self.address.split(".")[1:3])
        return f"10.{second - 64}.{third}.0/24"

    def networks(self) -> list[str]:
        """The bridges of the daemon's other networks."""
        done = subprocess.run(["ip", "-j", "address"], check=False, capture_output=True)
        if not self.address:
            return []  # there is no bridge, and no daemon that makes networks
        pool = ip_network(self.pool)
        return [
            link["ifname"]
            for link in json.loads(done.stdout or "[]")
            if any(
                address["family"] == "inet" and ip_address(address["local"]) in pool
                for address in link.get("addr_info", ())
            )
        ]

    @property
    def table(self) -> str:
        """The firewall table of a daemon that uses it."""
        return f"wharfinger-{self.name}"

    def links(self) -> list[str]:
        """The host's ends of the containers on it."""
        with suppress(FileNotFoundError):
            return sorted(os.listdir(f"/sys/class/net/{self.name}/brif"))
        return []

    def published(self) -> list[str]:
        """The published ports that its firewall table has, as `nft` writes them."""
        found = []
        for name in ("pub4_any", "pub4_ip", "pub6_any", "pub6_ip"):
            command = ["nft", "-j", "list", "map", "inet", self.table, name]
            done = subprocess.run(command, check=False, capture_output=True)
            for entry in json.loads(done.stdout or "{}").get("nftables", []):
                found += [json.dumps(element) for element in entry.get("map", {}).get("elem", ())]
        return found

    def remove(self) -> None:
        """Take it away, and the firewall table with it."""
        for link in [*self.links(), *self.networks()]:
            _try("ip", "link", "delete", link)
        _try("ip", "link", "delete", self.name)
        _try("nft", "delete", "table", "inet", self.table)


class Leftovers:
    """What is there on the host because of the daemon whose folder this is."""

    def __init__(self, folder: Path, bridge: Bridge) -> None:
        self._folder = folder
        self._bridge = bridge

    def find(self, container_ids: Set[str]) -> list[str]:
        """What is left some seconds after a daemon without containers has ended, one line each."""
        deadline = time.monotonic() + SETTLE_S
        while (found := self._now(container_ids)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _now(self, container_ids: Set[str]) -> list[str]:
        return [
            *(f"left running: {pid} {_command(pid)}" for pid in self._processes()),
            *(f"left mounted: {mount}" for mount in self._mounts()),
            *(f"left on the bridge: {link}" for link in self._bridge.links()),
            *(f"left published: {port}" for port in self._bridge.published()),
            *(f"left of a network: {link}" for link in self._bridge.networks()),
            *(f"left in cgroups: {path}" for path in cgroups_of(container_ids)),
            *(f"left on disk: {path}" for path in self._files()),
        ]

    def _processes(self) -> Iterator[int]:
        """Those that have our folder in their arguments, and those that run in our containers.

        That is where their root lies: another daemon's container that is being made still has all
        mounts of the host, ours among them.
        """
        namespace = os.readlink("/proc/self/ns/mnt")
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) == os.getpid():
                continue
            with suppress(OSError):
                is_ours = os.fsencode(f"{self._folder}/") in (entry / "cmdline").read_bytes()
                is_inside = os.readlink(entry / "ns" / "mnt") != namespace and any(
                    line.split()[4] == "/" and f"{self._folder}/" in line
                    for line in (entry / "mountinfo").read_text().splitlines()
                )
                if is_ours or is_inside:
                    yield int(entry.name)

    def _mounts(self) -> list[str]:
        """Not the data folder itself: a test may give it a disk of its own."""
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        inside = f"{self._folder}/"
        return [m for m in mounts if m.startswith(inside) and m != f"{inside}data"]

    def _files(self) -> Iterator[Path]:
        """Sockets, pidfiles, namespaces, fifos, bundles and containers' folders."""
        exec_root, data_root = self._folder / "exec", self._folder / "data"
        yield from (path for path in (self._folder / "d.sock", self._folder / "pid") if _is(path))
        for folder, pattern in (
            (exec_root, "netns/*"),
            (exec_root, "shm/*"),
            (exec_root, "io/*"),
            (exec_root, "mounts/*"),
            (exec_root, "containerd/daemon/io.containerd.runtime.v2.task/*/*"),
            (data_root, "containers/*"),
        ):
            with suppress(FileNotFoundError):  # it goes while it is looked at
                yield from folder.glob(pattern)

    def sweep(self) -> None:
        """Take away whatever there is, in whatever state."""
        self.end_all()
        self._bridge.remove()
        shutil.rmtree(self._folder, ignore_errors=True)

    def end_all(self) -> None:
        """End the processes and let go of the mounts, as a machine does that goes down."""
        deadline = time.monotonic() + SETTLE_S
        while left := list(self._processes()):
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        for mount in reversed(self._mounts()):
            _try("umount", "--lazy", mount)


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time, of all that run these tests on this machine."""
    with BRIDGES_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _networks_of_host() -> list[IPv4Network]:
    """Those that its links are in, and those that daemons will take theirs from."""
    done = subprocess.run(["ip", "-j", "-4", "address"], check=False, capture_output=True)
    found = []
    for link in json.loads(done.stdout or "[]"):
        for address in link.get("addr_info", ()):
            own = IPv4Network(f"{address['local']}/{address['prefixlen']}", strict=False)
            found.append(own)
            if link["ifname"].startswith("wf") and own.prefixlen == 24:
                found.append(IPv4Network(Bridge(name="", address=address["local"]).pool))
    return found


def _is(path: Path) -> bool:
    return os.path.lexists(path)


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:200]
    return ""


def cgroups_of(container_ids: Set[str]) -> Iterator[Path]:
    """The control groups of containers, in every hierarchy."""
    for folder in [*CGROUPS.glob("docker"), *CGROUPS.glob("*/docker")]:
        yield from (path for path in folder.iterdir() if path.name in container_ids)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _try(*command: str) -> None:
    subprocess.run(command, check=False, capture_output=True)
