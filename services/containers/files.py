"""The files that the engine writes for each container: hostname, hosts and resolv.conf.

The text of hosts is a pure function, that of resolv.conf in a module of its own; `write_files`
blocks.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from services.containers.spec import NetworkFiles

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
    address: str,
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
    if address:
        names = f"{hostname}.{domainname} {hostname}" if domainname else hostname
        lines.append(f"{address}\t{names}\n")
    return "".join(lines)


def write_files(directory: Path, *, hostname: str, hosts: str, resolv_conf: str) -> NetworkFiles:
    """Write the three files in place: they may be bind mounted into a container."""
    texts = {"hostname": f"{hostname}\n", "hosts": hosts, "resolv.conf": resolv_conf}
    for name, text in texts.items():
        path = directory / name
        path.write_text(text)
        path.chmod(0o644)
    return files_in(directory)


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
