"""The files that the engine writes for each container: hostname, hosts and resolv.conf.

The text of hosts is a pure function, that of resolv.conf in a module of its own; `write_files`
blocks.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from services.containers.spec import NetworkFiles

_DIGEST: Final = "resolv.conf.hash"  # dockerd's name
_LARGEST_RESOLV_CONF: Final = 1 << 20

_HOSTS: Final = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


def hosts_text(
    *,
    hostname: str,
    domainname: str,
    addresses: Iterable[str],
    extra: Iterable[str],
    host_gateways: Sequence[str],
    linked: Iterable[tuple[str, Sequence[str]]] = (),
) -> str:
    """/etc/hosts. `extra` are Docker's "name:address"; the address may be `host-gateway`,
    which stands for all of `host_gateways`.

    `linked` are addresses with their names.
    """
    lines = [_HOSTS]
    for entry in extra:
        name, _, target = entry.partition(":" if "=" not in entry else "=")
        targets = host_gateways if target == "host-gateway" else (target,)
        lines += [f"{one}\t{name}\n" for one in targets]
    lines += [f"{target}\t{' '.join(names)}\n" for target, names in linked]
    names = own_names(hostname, domainname)
    lines += [f"{address}\t{names}\n" for address in addresses]
    return "".join(lines)


def own_names(hostname: str, domainname: str) -> str:
    """What a container's own lines say: its whole name, and the first part of it.

    Source: moby, daemon/libnetwork/sandbox_dns_unix.go (makeHostsRecs).
    """
    whole = f"{hostname}.{domainname}" if domainname else hostname
    first, dot, _ = whole.partition(".")
    return f"{whole} {first}" if dot else whole


def write_files(directory: Path, *, hostname: str, hosts: str, resolv_conf: str) -> NetworkFiles:
    """Write the three files in place: they may be bind mounted into a container."""
    for name, text in (("hostname", f"{hostname}\n"), ("hosts", hosts)):
        _write(directory / name, text)
    write_resolv_conf(directory, resolv_conf)
    return files_in(directory)


def write_resolv_conf(directory: Path, text: str) -> None:
    """Write it, and what it was: an edited one is left alone while the container runs."""
    _write(directory / "resolv.conf", text)
    _write(directory / _DIGEST, _digest(text.encode()))


def is_untouched(directory: Path) -> bool:
    """Whether a container's resolv.conf is as it was written."""
    try:
        written = (directory / _DIGEST).read_text()
    except FileNotFoundError:
        return False
    with (directory / "resolv.conf").open("rb") as file:
        return _digest(file.read(_LARGEST_RESOLV_CONF)) == written


def files_in(directory: Path) -> NetworkFiles:
    """Where the files of a container lie."""
    return NetworkFiles(
        hostname=str(directory / "hostname"),
        hosts=str(directory / "hosts"),
        resolv_conf=str(directory / "resolv.conf"),
    )


def remove_tree(path: Path) -> None:
    """Remove a directory and all in it; gone already is fine. Blocks."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o644)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def container_directory(data_root: Path, container_id: str) -> Path:
    """Where a container's files and logs lie."""
    return data_root / "containers" / container_id
