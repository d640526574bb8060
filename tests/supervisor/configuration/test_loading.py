"""supervisor.configuration, `loading` and `file`: flags and daemon.json to Settings."""

# ruff: noqa: E501  (one case a line, however long dockerd's sentence is)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.configuration.file import parse_config
from supervisor.configuration.flags import parse_flags
from supervisor.configuration.loading import load
from supervisor.configuration.options import OPTIONS
from supervisor.configuration.settings import ClusterSettings, ConfigError, Settings
from supervisor.configuration.values import Runtime, Ulimit
from supervisor.reloading.plan import changed_fields


class Config:
    """A configuration file of the test's own, and what loading it gives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write({})

    def write(self, content: dict[str, Any] | str | bytes) -> None:
        text = json.dumps(content) if isinstance(content, dict) else content
        self.path.write_bytes(text.encode() if isinstance(text, str) else text)

    def flags(self, *argv: str) -> dict[str, Any]:
        return dict(parse_flags(["--config-file", str(self.path), *argv]))

    def load(self, *argv: str, environment: dict[str, str] | None = None) -> Settings:
        return load(self.flags(*argv), environment or {})

    def refusal(self, *argv: str) -> str:
        with pytest.raises(ConfigError) as caught:
            self.load(*argv)
        return str(caught.value)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path / "daemon.json")


def test_defaults(config: Config) -> None:
    """Nothing said: the socket where Docker's clients look, state under the engine's own name."""
    settings = config.load()
    assert [str(host) for host in settings.api.hosts] == ["unix:///var/run/docker.sock"]
    assert settings.data_root == Path("/var/lib/wharfinger")
    assert settings.exec_root == Path("/run/wharfinger")
    assert settings.pidfile == Path("/run/wharfinger.pid")
    assert settings.containerd.namespace == "moby"
    assert settings.containers.shm_size_bytes == 64 << 20
    assert settings.log.effective_level == "info"


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    """Only the default one may be missing."""
    missing = tmp_path / "none.json"
    with pytest.raises(ConfigError) as caught:
        load(parse_flags(["--config-file", str(missing)]), {})
    assert str(caught.value) == (
        f"unable to configure the Docker daemon with file {missing}: "
        f"open {missing}: no such file or directory"
    )


def test_the_file_sets_what_flags_would(config: Config) -> None:
    """dockerd's keys, whose names differ from the flags' where they hold several values."""
    config.write(
        {
            "data-root": "/d",
            "debug": True,
            "hosts": ["fd://", "tcp://127.0.0.1:1"],
            "labels": ["a=b"],
            "log-opts": {"max-size": "1m"},
            "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}},
            "default-shm-size": "32m",
            "runtimes": {"crun": {"path": "/usr/bin/crun", "runtimeArgs": ["--debug"]}},
            "default-runtime": "crun",
            "features": {"containerd-snapshotter": True},
            "proxies": {},
            "dns": ["1.1.1.1"],
            "exec-opts": ["native.cgroupdriver=systemd"],
            "allow-nondistributable-artifacts": ["x"],
            "userland-proxy": False,
            "mtu": None,
        }
    )
    from_file = config.load()
    config.write({})
    from_flags = config.load(
        "--data-root=/d",
        "--debug",
        "--host=fd://",
        "--host=tcp://127.0.0.1:1",
        "--label=a=b",
        "--log-opt=max-size=1m",
        "--default-ulimit=nofile=1:2",
        "--default-shm-size=32m",
        "--add-runtime=crun=/usr/bin/crun",
        "--default-runtime=crun",
        "--feature=containerd-snapshotter=true",
        "--dns=1.1.1.1",
        "--exec-opt=native.cgroupdriver=systemd",
        "--userland-proxy=false",
    )
    assert changed_fields(from_file, from_flags) == ["containers.runtimes"]
    assert from_file.containers.ulimits == (Ulimit(name="nofile", soft=1, hard=2),)
    crun = Runtime(name="crun", path="/usr/bin/crun", arguments=("--debug",))
    assert from_file.containers.runtimes == (crun,)


def test_unknown_keys_are_all_named(config: Config) -> None:
    """dockerd's sentence."""
    config.write({"zork": 1, "debug": True, "label": ["a=b"]})
    assert config.refusal() == (
        f"unable to configure the Docker daemon with file {config.path}: the following directives "
        "don't match any configuration option: zork, label"
    )


def test_an_option_in_both_places(config: Config) -> None:
    """dockerd's sentence, with both values, for each such option; nothing of either is used."""
    config.write({"debug": True, "labels": ["a=b"], "mtu": 1400})
    assert config.refusal("--debug=false", "--label=c=d", "--label=e=f").endswith(
        "the following directives are specified both as a flag and in the configuration file: "
        "debug: (from flag: false, from file: true), labels: (from flag: [c=d e=f], "
        "from file: [a=b])"
    )


def test_runtimes_of_both_places_add_up(config: Config) -> None:
    """The one option that dockerd merges; a name twice is an error."""
    config.write({"runtimes": {"one": {"path": "/1"}}})
    names = [item.name for item in config.load("--add-runtime=two=/2").containers.runtimes]
    assert names == ["one", "two"]
    assert config.refusal("--add-runtime=one=/2") == "runtime 'one' was already defined"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"debug": "yes"}', "json: cannot unmarshal string into Go struct field Config.debug of type bool"),
        ('{"mtu": "1"}', "json: cannot unmarshal string into Go struct field Config.mtu of type int"),
        ('{"mtu": true}', "json: cannot unmarshal bool into Go struct field Config.mtu of type int"),
        ('{"mtu": 1.5}', "json: cannot unmarshal number 1.5 into Go struct field Config.mtu of type int"),
        ('{"labels": "a=b"}', "json: cannot unmarshal string into Go struct field Config.labels of type []string"),
        ('{"labels": [1]}', "json: cannot unmarshal number into Go struct field Config.labels of type string"),
        ('{"data-root": []}', "json: cannot unmarshal array into Go struct field Config.data-root of type string"),
        ('{"log-opts": []}', "json: cannot unmarshal array into Go struct field Config.log-opts of type map[string]string"),
        ('{"features": {"x": 1}}', "json: cannot unmarshal number into Go struct field Config.features.x of type bool"),
        ("[1]", "json: cannot unmarshal array into Go value of type map"),
        ("{", "invalid JSON: Expecting property name enclosed in double quotes (line 1 column 2)"),
        ('{"default-shm-size": "5q"}', "invalid size: '5q'"),
        ('{"dns": ["x"]}', "x is not an ip address"),
        ('{"labels": ["x"]}', "bad attribute format: x"),
        ('{"runtimes": {"runc": {"path": "/x"}}}', "runtime name 'runc' is reserved"),
        ('{"builder": {}}', "builder: it is for BuildKit; docker builder prune removes build steps"),
        ('{"host-gateway-ip": "1.1.1.1", "host-gateway-ips": []}', "host-gateway-ip and host-gateway-ips must not both be specified in the config file"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used(config: Config, content: str, reason: str) -> None:
    """Every reason follows the file's name."""
    config.write(content)
    assert (
        config.refusal()
        == f"unable to configure the Docker daemon with file {config.path}: {reason}"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks(encoding: str) -> None:
    """A file from another system's editor reads as what it says."""
    assert parse_config('{"labels": ["ä=ö"]}'.encode(encoding)) == {"label": ("ä=ö",)}


def test_empty_files_set_nothing() -> None:
    """Empty, blank, and an empty object."""
    assert [parse_config(text) for text in (b"", b" \n", b"{}")] == [{}, {}, {}]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from([o.key for o in OPTIONS.values() if o.key]), JSON, max_size=4)
)
def test_any_json_under_any_key_is_values_or_a_sentence(document: dict[str, Any]) -> None:
    """No value, however odd, is anything but used or refused."""
    try:
        values = parse_config(json.dumps(document).encode())
    except ValueError:
        return
    assert values.keys() <= OPTIONS.keys()


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--log-level=loud"], "invalid logging level: loud"),
        (["--log-format=xml"], "invalid log format: xml"),
        (["--label=a=1", "--label=a=2"], "conflict labels for a=2 and a=1"),
        (["--mtu=-1"], "invalid default MTU: -1"),
        (["--exec-opt=x"], "invalid exec-opt (x): must be formatted 'opt=value'"),
        (["--exec-opt=x=y"], "invalid exec-opt (x=y): unknown option: 'x'"),
        (["--cpu-rt-runtime=-1"], "invalid cpu-rt-runtime: -1: it must not be negative"),
        (["--cpu-rt-runtime=2", "--cpu-rt-period=1"], "cpu-rt-runtime cannot be higher than cpu-rt-period"),
        (["--exec-opt=native.cgroupdriver=x"], "native.cgroupdriver option x not supported"),
        (["--default-runtime=x"], "specified default runtime 'x' does not exist"),
        (["--default-ipc-mode=host"], 'IPC mode "host" is not supported as default value; use "shareable" or "private"'),
        (["--default-ipc-mode=x"], 'default IPC mode setting (x) is invalid; use "shareable" or "private"'),
        (["--default-cgroupns-mode=x"], 'invalid default cgroup namespace (x): use "host" or "private"'),
        (["-b=x", "--bip=10.0.0.1/8"], "You specified -b & --bip, mutually exclusive options. Please specify only one"),
        (["--bip=10.0.0.1"], "--bip: invalid CIDR address: 10.0.0.1"),
        (["--fixed-cidr=x/8"], "--fixed-cidr: invalid CIDR address: x/8"),
        (["--exec-opt=native.cgroupdriver=systemd", "--cgroup-parent=/x"], 'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"'),
        (["--bridge-accept-fwmark=x"], 'invalid firewall mark "x"'),
        (["--bridge-accept-fwmark=1/"], 'invalid firewall mask ""'),
        (["--bridge-accept-fwmark=0x100000000"], 'invalid firewall mark "0x100000000": it has 32 bits'),
        (["--firewall-backend=x"], 'invalid firewall-backend: allowed values are "iptables" and "nftables"'),
        (["--log-driver=gelf"], "failed to set log opts: gelf-address is a required parameter"),
        (["--log-opt=foo=1"], "failed to set log opts: unknown log opt 'foo' for json-file log driver"),
        (["--log-opt=max-size=x"], "failed to set log opts: failed to initialize logging driver: invalid size: 'x'"),
        (["--storage-driver=btrfs"], "--storage-driver=btrfs: the only storage driver supported yet is overlayfs"),
        (["--metrics-addr=x"], 'invalid metrics address "x": must be host:port'),
        (["--observer-addr=x"], 'invalid observer address "x": must be host:port'),
        (["--observer-addr=127.0.0.1:99999"], 'invalid observer address "127.0.0.1:99999": must be host:port'),
        (["--observer-addr=0.0.0.0:80"], 'invalid observer address "0.0.0.0:80": must be a loopback address; to reach it from elsewhere forward a port with ssh -L'),
        (["--observer-addr=engine.example:80"], 'invalid observer address "engine.example:80": must be a loopback address; to reach it from elsewhere forward a port with ssh -L'),
        (["--data-root="], "--data-root: an empty path is not allowed"),
        (["--userns-remap=default"], "--userns-remap: user namespaces are not supported yet"),
    ],
)  # fmt: skip
def test_values_that_are_refused(config: Config, argv: list[str], sentence: str) -> None:
    """One sentence each, dockerd's where it has one."""
    assert config.refusal(*argv) == sentence


def test_what_the_file_asks_for_in_vain_is_refused_too(config: Config) -> None:
    """A key has no more effect than its flag."""
    config.write({"selinux-enabled": True})
    assert config.refusal() == "--selinux-enabled: SELinux is not supported yet"
    config.write({"selinux-enabled": False})
    config.load()


def test_tls(config: Config) -> None:
    """On when asked for or when --tlsverify is said at all; verifying unless that says no."""
    assert config.load().api.tls is None
    for argv, verify in (
        (["--tls"], True),
        (["--tlsverify"], True),
        (["--tlsverify=false"], False),
        (["--tls", "--tlsverify=false"], False),
    ):
        tls = config.load(*argv).api.tls
        assert tls is not None
        assert tls.verify is verify
    settings = config.load("--tls", "--tlskey=/k", environment={"DOCKER_CERT_PATH": "/c"})
    tls = settings.api.tls
    assert tls is not None
    assert (tls.ca_file, tls.cert_file, tls.key_file) == (
        Path("/c/ca.pem"),
        Path("/c/cert.pem"),
        Path("/k"),
    )
    assert [str(host) for host in settings.api.hosts] == ["tcp://localhost:2376"]


@pytest.mark.parametrize(
    ("flags", "directories"),
    [
        ((), ("/etc/cdi", "/var/run/cdi")),
        (("--cdi-spec-dir=/a", "--cdi-spec-dir=/b"), ("/a", "/b")),
        (("--cdi-spec-dir=",), ()),
        (("--feature=cdi=false", "--cdi-spec-dir=/a"), ()),
        (("--feature=cdi=true",), ("/etc/cdi", "/var/run/cdi")),
    ],
)
def test_where_cdi_devices_are_looked_for(
    flags: tuple[str, ...], directories: tuple[str, ...], config: Config
) -> None:
    """In CDI's own folders, in others, or not at all."""
    assert config.load(*flags).containers.cdi_directories == directories


def test_buildkit_may_be_switched_off(config: Config) -> None:
    """Many a daemon.json says so, and so it is."""
    assert config.load("--feature=buildkit=false")


@pytest.mark.parametrize("feature", ["containerd-snapshotter=false", "buildkit=perhaps", "cdi=x"])
def test_features_that_are_not_there_are_refused(feature: str, tmp_path: Path) -> None:
    """containerd's image store is the only one; of the others none is offered."""
    (tmp_path / "none.json").write_text("{}")
    given = parse_flags([f"--config-file={tmp_path}/none.json", f"--feature={feature}"])
    with pytest.raises(ConfigError, match=f"feature {feature} is not supported"):
        load(given, {})


def test_the_options_of_a_runtime_type(config: Config) -> None:
    """By their names in Go, for runc's shim."""
    options = {"BinaryName": "/bin/x", "NoPivotRoot": True, "IoUid": 5}
    config.write({"runtimes": {"a": {"runtimeType": "io.containerd.runc.v2", "options": options}}})
    (runtime,) = config.load().containers.runtimes
    assert runtime.options == {"binary_name": "/bin/x", "no_pivot_root": True, "io_uid": 5}


@pytest.mark.parametrize(
    ("runtime", "text"),
    [
        ({"path": "/x", "options": {"Root": "/r"}}, "options cannot be used with a path runtime"),
        ({"runtimeType": "a.b", "options": {"Root": "/r"}}, "io.containerd.runc.v2 only"),
        ({"runtimeType": "io.containerd.runc.v2", "options": {"X": 1}}, 'unknown option "X"'),
        (
            {"runtimeType": "io.containerd.runc.v2", "options": {"NoPivotRoot": 1}},
            "cannot unmarshal number",
        ),
    ],
)
def test_options_that_no_runtime_has(config: Config, runtime: dict[str, Any], text: str) -> None:
    """They are refused at the start."""
    config.write({"runtimes": {"a": runtime}})
    assert text in config.refusal()


@pytest.mark.parametrize(
    ("addresses", "kept"),
    [
        ((), ()),
        (("10.0.0.1",), ("10.0.0.1",)),
        (("fd00::1", "10.0.0.1"), ("10.0.0.1", "fd00::1")),
    ],
)
def test_what_host_gateway_means(
    config: Config, addresses: tuple[str, ...], kept: tuple[str, ...]
) -> None:
    """One address of each family, IPv4 first."""
    flags = [f"--host-gateway-ip={address}" for address in addresses]
    assert config.load(*flags).network.host_gateways == kept


def test_one_host_gateway_of_each_family(config: Config) -> None:
    """dockerd's sentence."""
    assert config.refusal("--host-gateway-ip=10.0.0.1", "--host-gateway-ip=10.0.0.2").endswith(
        "only one IPv4 host gateway IP address can be specified"
    )


def test_what_a_swarm_is_told_of_the_node(config: Config) -> None:
    """An address to announce, and things that only some nodes have."""
    assert config.load().cluster == ClusterSettings()
    config.write({"node-generic-resources": ["gpu=a,gpu=b", "ssd=3"]})
    settings = config.load("--swarm-default-advertise-addr", "eth1")
    assert settings.cluster.advertise_addr == "eth1"
    assert settings.cluster.generic_resources == ("gpu=a,gpu=b", "ssd=3")
    config.write({})
    for text, reason in (
        ("gpu", "invalid generic resource: gpu"),
        ("gpu=a,gpu=2", "mixed discrete and named resources in expression 'gpu'"),
    ):
        said = config.refusal("--node-generic-resource", text)
        assert said.endswith(f"--node-generic-resource: {reason}")
