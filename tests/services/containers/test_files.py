"""The files that the engine writes for a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.containers.files import (
    files_in,
    hosts_text,
    is_untouched,
    own_names,
    write_files,
    write_resolv_conf,
)

LOCALHOST = "127.0.0.1\tlocalhost\n"


def hosts(
    *, address: str = "172.17.0.2", extra: tuple[str, ...] = (), domainname: str = ""
) -> list[str]:
    text = hosts_text(
        hostname="h",
        domainname=domainname,
        addresses=[address] if address else [],
        extra=extra,
        host_gateways=["172.17.0.1"],
    )
    assert text.startswith(LOCALHOST)
    assert text.endswith("\n")
    return text.splitlines()


def test_hosts() -> None:
    """The container's own address comes with its names."""
    assert hosts()[-1] == "172.17.0.2\th"
    assert hosts(domainname="example.org")[-1] == "172.17.0.2\th.example.org h"


def test_own_names_are_the_whole_and_its_first_part() -> None:
    """Wherever the domain was written."""
    assert own_names("web", "") == "web"
    assert own_names("web", "example.org") == "web.example.org web"
    assert own_names("web.example.org", "") == "web.example.org web"


def test_an_edited_resolv_conf_is_known(tmp_path: Path) -> None:
    """It is not written to while its container runs."""
    assert not is_untouched(tmp_path)
    write_resolv_conf(tmp_path, "nameserver 127.0.0.11\n")
    assert is_untouched(tmp_path)
    with (tmp_path / "resolv.conf").open("a") as file:
        file.write("options debug\n")
    assert not is_untouched(tmp_path)


def test_without_an_address_there_is_no_line_for_it() -> None:
    """For `--network none` and `host`."""
    assert not any("h" in line.split()[1:] for line in hosts(address=""))


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        ("db:10.0.0.1", "10.0.0.1\tdb"),
        ("db=10.0.0.1", "10.0.0.1\tdb"),
        ("db:fd00::1", "fd00::1\tdb"),
        ("host.docker.internal:host-gateway", "172.17.0.1\thost.docker.internal"),
    ],
)
def test_extra_hosts(extra: str, line: str) -> None:
    """Both separators; IPv6 addresses hold the older one."""
    assert line in hosts(extra=(extra,))


def test_host_gateway_is_all_that_it_stands_for() -> None:
    """An address of each family, with --host-gateway-ip twice."""
    text = hosts_text(
        hostname="h",
        domainname="",
        addresses=[],
        extra=["x:host-gateway"],
        host_gateways=["10.0.0.1", "fd00::1"],
    )
    assert text.splitlines()[-2:] == ["10.0.0.1\tx", "fd00::1\tx"]


def test_written_in_place(tmp_path: Path) -> None:
    """A file that is bind mounted stays the same file; everyone may read it."""
    write_files(tmp_path, hostname="a", hosts="x\n", resolv_conf="y\n")
    inode = (tmp_path / "hosts").stat().st_ino
    found = write_files(tmp_path, hostname="b", hosts="z\n", resolv_conf="y\n")
    assert found == files_in(tmp_path)
    assert Path(found.hostname).read_text() == "b\n"
    assert Path(found.hosts).read_text() == "z\n"
    assert (tmp_path / "hosts").stat().st_ino == inode
    assert (tmp_path / "hosts").stat().st_mode & 0o777 == 0o644
