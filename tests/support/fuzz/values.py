"""Values at which programs stumble, and what parameters and filters may be."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from types import MappingProxyType
from typing import Any, Final

ODD_TEXTS: Final = (
    *("", " ", "\x00", "a\x00b", "\n", "x\r\nX-Injected: 1", "\u202e\u00e4\U0001f40b", "\ud800"),
    *(
        "-1",
        "0",
        "NaN",
        "1e400",
        "null",
        "true",
        "0x7f",
        "9" * 40,
        "9" * 5000,
        "--help",
        "${x:-y}",
        "{{.}}",
    ),
    *("../nosuch", "%2e%2e%2fnosuch", "a/b/c", ":", "@", "=", "=x", "a=b=c", "a:b:c:d", ","),
    *("a" * 300, "b" * 5000, "/" + "c/" * 2000, "sha256:", "sha256:" + "0" * 64, "f" * 64),
    *("[::1]:0", "256.1.1.1/33", "fe80::1%eth0", "localhost:99999/x", "*", "[", "(", "\\", "'"),
)
ODD_NUMBERS: Final = (
    *(0, 1, -1, -2, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53 + 1, 2**63 - 1, -(2**63)),
    *(2**63, 2**64 - 1, 2**64, 10**30, 0.5, -0.0, 1e308),
)
ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, *ODD_NUMBERS, *ODD_TEXTS, [], {}, [None], {"": None}, [[]], {"a": {}}),
)
ODD_BODIES: Final = (
    *(b"", b"null", b"[]", b"{}", b"{", b'{"a":1}{}', b"\xff\xfe", b'"x"', b"0"),
    *(b"[" * 50_000, b'{"a":' * 5_000),
)
ODD_TYPES: Final = ("text/plain", "application/x-www-form-urlencoded", "application/json; x", "x")
ODD_QUERIES: Final = ("%zz", ";", "=", "&&", "a=%00", "%ff=%fe", "x" * 9000, "filters")
AUTH: Final = ("e30=", "e30", "bnVsbA==", "W10=", "x", "", "A" * 9000, "eyJ1c2VybmFtZSI6MX0=")
NUMBERS: Final = ("0", "1", "-1", "2147483648", str(2**63), str(-(2**63)), "x", "", "1.5", "1e3")
BOOLEANS: Final = ("1", "0", "true", "false", "x", "")
TOO_LARGE: Final = "9" * 20

QUERY: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "path": ("/", "/tmp", "/etc/passwd", "/nosuch", ".", "", "/../..", "/proc/1/root", "/\x00"),
        "t": ("0", "1", "x", "1.5", TOO_LARGE),
        "signal": ("KILL", "SIGTERM", "0", "9", "65", "SIGNOSUCH", "-1", "9999999999"),
        "h": ("24", "0", "-1", "65536", "99999999999", "x", ""),
        "w": ("80", "0", "-1", "65536", "x"),
        "since": (
            "0",
            "1",
            "-1",
            "1.5",
            "1e3",
            TOO_LARGE,
            "x",
            "1.9999999999",
            "2020-01-01",
            "10m",
        ),
        "until": ("1", "0", "-1", "99999999999", "x", "2020-01-01T00:00:00Z"),
        "tail": ("all", "0", "1", "-1", "x", TOO_LARGE),
        "ps_args": ("-ef", "aux", "-o pid", "--nosuch", "-o", "; id", "-o x", "-eo pid,comm"),
        "condition": ("not-running", "next-exit", "removed", "x", ""),
        "limit": ("1", "0", "-1", "x", TOO_LARGE, ""),
        "platform": ("linux/amd64", '{"os":"linux"}', "{", "x", "[]", "null", '{"os":1}'),
        "platforms": ('{"os":"linux","architecture":"amd64"}', "x", "[]", "null"),
        "fromImage": ("127.0.0.1:1/x", "UPPER", "a//b", "x" * 300, "127.0.0.1:1/x@sha256:00", ""),
        "fromSrc": ("-", "http://127.0.0.1:1/x", "file:///nosuch", "http://["),
        "repo": ("made", "made:1", "UPPER", "a//b", "x" * 300, "", "f" * 64, "made@sha256:0"),
        "tag": ("t", "", "x y", "-", "a" * 129, "sha256:" + "0" * 64),
        "changes": ("CMD true", "ENV a=b", "FROM x", "CMD [", "EXPOSE x", "", "LABEL", "VOLUME []"),
        "names": ("busybox", "nosuch", "", "busybox:nosuch"),
        "container": ("c0", "c1", "nosuch", ""),
        "pause": ("0", "1"),
        "author": ("x", "\x00"),
        "detachKeys": ("ctrl-p,ctrl-q", "x", "ctrl-", "", ","),
        "type": ("image", "container", "volume", "build-cache", "x"),
        "scope": ("local", "swarm", "x", ""),
        "version": ("1", "0", "-1", "x", "2", TOO_LARGE),
        "term": ("127.0.0.1:1/x", "127.0.0.1:1/x y"),
        "remote": ("http://127.0.0.1:1/x", "git://127.0.0.1:1/x.git", "http://[", "client-session"),
        "buildargs": ("{}", '{"a":"b"}', '{"a":null}', "{", "[]", '{"a":1}'),
        "labels": ("{}", '{"a":"b"}', "[]", "{"),
        "networkmode": ("none", "host", "nosuch", "container:c0", ""),
        "cachefrom": ("[]", '["busybox"]', "{", "[1]"),
        "dockerfile": ("Dockerfile", "../Dockerfile", "nosuch", "", "a\x00"),
        "outputs": ("[]", "x", '[{"Type":"local"}]'),
        "extrahosts": ("a:1.2.3.4", "x"),
        "rollback": ("previous", "x", ""),
        "registryAuthFrom": ("spec", "previous-spec", "x"),
        "memory": ("0", "-1", "1", "x", TOO_LARGE),
        "shmsize": ("65536", "0", "-1", "x"),
    }
)
"""By the parameter's name: what is good stands first."""

FILTERS: Final = (
    *("id", "name", "label", "label!", "status", "driver", "scope", "type", "before", "since"),
    *("until", "reference", "dangling", "ancestor", "exited", "health", "publish", "expose"),
    *("volume", "network", "isolation", "is-task", "role", "mode", "desired-state", "service"),
    *("node", "membership", "runtime", "nosuch", "", "container", "event", "image", "all"),
)
FILTER_VALUES: Final = (
    *("true", "false", "running", "c0", "n0", "v0", "busybox", "a", "a=b", "80/tcp", "1-9", "x"),
    *("10m", "2020-01-01", "1", "", "0", "healthy", "builtin", "custom", "[", "*", "(", "9" * 5000),
)


def odd_filters(random: Random) -> Any:
    """A `filters` parameter before its encoding: as a list, as a map, or nonsense."""
    if random.random() < 0.1:
        return random.choice(ODD)
    chosen: dict[str, Any] = {}
    for name in random.sample(FILTERS, random.choice((0, 1, 1, 1, 2, 3))):
        values: list[Any] = random.choices(FILTER_VALUES, k=random.choice((0, 1, 1, 2)))
        if random.random() < 0.1:
            values.append(random.choice(ODD))
        shape = random.random()
        if shape < 0.7:
            chosen[name] = values
        elif shape < 0.95:
            chosen[name] = {str(value)[:99]: random.random() < 0.7 for value in values}
        else:
            chosen[name] = random.choice(ODD)
    return chosen
