"""Writes docs/configuration.md from the engine's own table of options.

`scripts/gen-docs` calls it. What cannot be read from the table stands in the few mappings below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from supervisor.configuration.option import Kind, Option
from supervisor.configuration.options import IGNORED_KEYS, OPTIONS, REFUSED_KEYS
from supervisor.reloading.table import FIELDS, How, Rule, rule_of
from tests.compatibility_doc import flag_text

PAGE: Final = Path(__file__).parent.parent / "docs" / "configuration.md"

IN_FILE: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.STRING: "string",
        Kind.LIST: "list of strings",
        Kind.LABELS: "list of `key=value`",
        Kind.DOMAINS: "list of strings",
        Kind.IPS: "list of addresses, or one",
        Kind.HOSTS: "list of strings",
        Kind.INT: "number",
        Kind.BOOL: "true or false",
        Kind.BYTES: "number, or string with a unit",
        Kind.IP: "string",
        Kind.MAP: "object of strings",
        Kind.MAPMAP: "object",
        Kind.ULIMITS: "object, see below",
        Kind.RUNTIMES: "object, see below",
        Kind.POOLS: "list",
        Kind.NRI: "object",
        Kind.SCOPES: "list of objects, see below",
    }
)

# What the short help text leaves open.
REMARKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "log-budget": "At least `1m`; [which lines go](operations.md#a-budget-for-all-logs).",
        "audit-log": "JSON lines, mode 0600; [what is in it](security.md#the-audit-log).",
        "authorization-plugin": "Names; [how they are asked](security.md#authorization-plugins).",
        "data-root": "A relative path is made absolute.",
        "default-runtime": "`runc`, or the name of one that `--add-runtime` registered.",
        "exec-opt": "`native.cgroupdriver=cgroupfs` or `=systemd`; nothing else is taken.",
        "exec-root": "Keep it on tmpfs. Its path may have 74 bytes.",
        "feature": "`containerd-snapshotter` is on, `buildkit` off, `cdi` either; no others.",
        "group": "A missing group `docker` is a warning, any other missing group an error.",
        "http-proxy": "For registries. Without it `$HTTP_PROXY` or `$http_proxy`.",
        "https-proxy": "For registries. Without it `$HTTPS_PROXY` or `$https_proxy`.",
        "insecure-registry": "`HOST[:PORT]`, or a network; `127.0.0.0/8` and `::1/128` always are.",
        "ip-forward-no-drop": "Without effect: the policy of the FORWARD chain is never changed.",
        "bridge-accept-fwmark": "`MARK` or `MARK/MASK`.",
        "ip": "Of the default bridge. `0.0.0.0`, the default, is all addresses of both families.",
        "ip6tables": "Without them the userland proxy carries the ports of containers with IPv6.",
        "log-driver": "`json-file`, `local`, `none`, `fluentd`, `gelf`, `journald` or `syslog`.",
        "log-level": "Also `panic` and `trace`. `--debug` means at least `debug`.",
        "max-download-attempts": "Of a blob, down or up.",
        "no-proxy": "Names (with all below them), addresses, networks, `*`; commas between. "
        "Without it `$NO_PROXY` or `$no_proxy`. Loopback is never proxied.",
        "observer-addr": "`host:port`, see [the observer](observer.md). Empty: its page is on "
        "unix sockets only. dockerd has no such option.",
        "registry-mirror": "URLs, asked before Docker Hub and for its images only.",
        "metrics-addr": "`host:port`. Empty: no metrics server.",
        "scoped-socket": "[What a policy may say](security.md#scoped-sockets).",
        "shutdown-timeout": "-1: as long as it takes.",
        "storage-driver": "`overlayfs` or empty; others are refused.",
        "tlscacert": "Default: `ca.pem` in `$DOCKER_CERT_PATH`, `$DOCKER_CONFIG` or `~/.docker`.",
        "tlscert": "Default: `cert.pem` there.",
        "tlskey": "Default: `key.pem` there.",
        "userland-proxy": "It carries what the kernel cannot lead: from IPv6 to containers without "
        "it, and from `[::1]`.",
    }
)

_HEAD: Final = """\
# Configuration

Wharfinger takes dockerd's flags and reads `daemon.json` with dockerd's keys. This page is written
from the engine's own table of options by `scripts/gen-docs`, and a test keeps it so.

    sudo scripts/run --debug --label rack=7
    sudo scripts/run --validate --config-file daemon.json

`--help` prints the flags, `--version` the version, `--validate` checks flags and file and ends.
Whatever is wrong with them is one message on standard error and exit status 1.

## The rules

- The file is `/etc/wharfinger/daemon.json` unless `--config-file` says otherwise. The default file
  may be missing; one that was asked for may not.
- An option stands in one place: given both as a flag and in the file it is an error. The exception
  is `--add-runtime`, to which both places add.
- A key that no option has, and a value of the wrong type, are errors.
- A switch is given as `--icc` or `--icc=false`, never as `--icc false`. A flag of the type `list`,
  `map` or `ulimit` may be given several times.
- An option that cannot take effect yet is refused with a sentence. Its default may be given.
- Sizes take `k`, `m`, `g`, `t`, `p`, powers of 1024. In `log-opts` they are powers of 1000, as in
  dockerd.

A file:

    {
      "hosts": ["unix:///run/wharfinger/docker.sock", "tcp://127.0.0.1:2376"],
      "tlsverify": true,
      "tlscacert": "/etc/wharfinger/ca.pem",
      "tlscert": "/etc/wharfinger/cert.pem",
      "tlskey": "/etc/wharfinger/key.pem",
      "live-restore": true,
      "labels": ["rack=7"],
      "log-opts": {"max-size": "10m", "max-file": "3"},
      "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 4096}},
      "runtimes": {"crun": {"path": "/usr/bin/crun"}}
    }

A socket for a monitoring agent and one for a CI job:

    {
      "scoped-sockets": [
        {"path": "/run/wharfinger/read.sock", "group": "monitoring", "policy": {"read-only": true}},
        {
          "path": "/run/wharfinger/ci.sock",
          "group": "ci",
          "policy": {
            "operations": ["ContainerCreate", "ContainerStart", "ContainerAttach", "ContainerWait",
                           "ContainerList", "ContainerInspect", "ContainerLogs", "ContainerDelete"],
            "labels": {"team": "blue"},
            "allow": ["volumes"]
          }
        }
      ]
    }

A runtime has either a `path`, with `runtimeArgs` if need be, or a `runtimeType`, which is
containerd's name of a shim. The name `runc` is taken.

## Where to listen

`--host` may be given several times.

| `--host` | |
| --- | --- |
| `unix:///path` | a socket, mode 0660, of the group that `--group` names |
| `tcp://host:port` | port 2375 if left out, with TLS 2376; `host:port` is the same |
| `fd://`, `fd://name` | what systemd passed: all sockets, or those with this name |
| none | `unix:///var/run/docker.sock`; with TLS `tcp://localhost:2376` |

## Registries

Certificates for a registry are in a folder named `HOST[:PORT]`: `*.crt` are CAs that are trusted
besides the system's, `*.cert` with its `*.key` is what the engine shows. The folder is looked for
in `certs.d` beside the configuration file, then in `/etc/docker/certs.d`; the first one counts.

Credentials come with each request from the client (`docker login` keeps them there); the engine
stores none.

## Reloading

SIGHUP, `systemctl reload`, `python -m supervisor reload` and `POST /wharfinger/v1/reload` read the
file again, as one transaction: all that has changed takes effect, or nothing does. With `--dry-run`
or `?dry-run=1` they only say what would happen. [Operations](operations.md#reload) says how it
goes.

The column *Reload* below says what becomes of a changed setting:

| Reload | |
| --- | --- |
| live | it takes effect at once, for all that is done from then on; nothing is restarted |
| a path | this part of the tree begins anew, and no other |
| daemon | it waits for a restart of the daemon, and is named in the answer, the log and `/info` |
| none | the setting has no effect |

A key that was taken out of the file goes back to its default. Flags hold as long as the process.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_working(), *_refused(), *_keys()])


def _working() -> Iterator[str]:
    yield "## Options that work"
    yield ""
    yield "| Flag | Key | In the file | Default | Reload | |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for option in _sorted(is_refused=False):
        key = f"`{option.key}`" if option.key else "flag only"
        kind = _kind(option) if option.key else ""
        cells = (f"`{flag_text(option)}`", key, kind, _default(option), _reload(option))
        yield f"| {' | '.join(cells)} | {_remark(option)} |"
    yield ""


def _refused() -> Iterator[str]:
    yield "## Options that are refused"
    yield ""
    yield "They are known, so that a typing error is told from a part that is missing."
    yield ""
    yield "| Flag | Key | Only value | Why |"
    yield "| --- | --- | --- | --- |"
    for option in _sorted(is_refused=True):
        key = f"`{option.key}`" if option.key else "flag only"
        yield f"| `{flag_text(option)}` | {key} | {_default(option)} | {option.refused} |"
    yield ""


def _keys() -> Iterator[str]:
    yield "## Keys without a flag"
    yield ""
    yield "| Key | |"
    yield "| --- | --- |"
    yield "| `proxies` | object; holds the keys `http-proxy`, `https-proxy`, `no-proxy` |"
    yield "| `host-gateway-ip` | an older name of `host-gateway-ips` |"
    for key, sentence in REFUSED_KEYS.items():
        yield f"| `{key}` | refused: {sentence} |"
    for key in sorted(IGNORED_KEYS):
        yield f"| `{key}` | read over, as dockerd does |"
    yield ""


def _sorted(*, is_refused: bool) -> list[Option]:
    chosen = [option for option in OPTIONS.values() if bool(option.refused) is is_refused]
    return sorted(chosen, key=lambda option: option.flag)


def _kind(option: Option) -> str:
    if option.flag == "feature":  # the one map whose values are booleans
        return "object of true or false"
    return IN_FILE[option.kind]


def _default(option: Option) -> str:
    if option.flag == "host":
        return "see above"
    if isinstance(option.default, bool):
        return f"`{str(option.default).lower()}`"
    if option.default in ("", None, ()):
        return "none"
    if option.kind is Kind.INT and not option.default:
        return "0"
    return f"`{option.default}`"


def _rules(option: Option) -> list[Rule]:
    return [rule_of(field) for field in FIELDS.get(option.flag, ())]


def _reload(option: Option) -> str:
    """How it is changed. Of an option with several fields the first one tells."""
    if not option.key:
        return ""
    rules = _rules(option)
    if not rules:
        return "none"
    return f"`{rules[0].part}`" if rules[0].how is How.PART else rules[0].how.value


def _notes(option: Option) -> list[str]:
    notes = [rule.note for rule in _rules(option)[:1] if rule.note and option.key]
    return [f"on reload: {note}" for note in notes]


def _remark(option: Option) -> str:
    sentences = [
        f"{option.help}.",
        REMARKS.get(option.flag, ""),
        *(f"{note[0].upper()}{note[1:]}." for note in _notes(option)),
    ]
    return " ".join(filter(None, sentences)).replace("|", "\\|")  # a bar would end the cell


if __name__ == "__main__":
    PAGE.write_text(page())
