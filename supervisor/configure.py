"""Flags and daemon.json, merged and checked whole, become Settings.

Source: moby, daemon/config (merging, conflicts, sentences) and daemon/command (TLS).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar, cast

from services.api.hosts import TcpHost, parse_host
from services.containers.logs.options import NONE, check_log_config, parse_file_options
from services.errors import EngineError
from services.networks.ports import ANY_ADDRESS
from services.registry.proxies import ProxySettings
from services.registry.settings import (
    CERTS_DIR,
    RegistrySettings,
    parse_insecure,
    parse_mirror,
)

from .configfile import read_config_file
from .options import OPTIONS, Kind, Option, Value
from .settings import (
    AccessSettings,
    ApiSettings,
    ConfigError,
    ContainerDefaults,
    ContainerdSettings,
    LogSettings,
    NetworkDefaults,
    Settings,
    TlsSettings,
)
from .values import AddressPool, Runtime, Ulimit, quoted

if TYPE_CHECKING:
    from services.api.scopes import ScopedSocket

LOG_LEVELS: Final = ("panic", "fatal", "error", "warn", "info", "debug", "trace")

CDI_DIRECTORIES: Final = ("/etc/cdi", "/var/run/cdi")  # what CDI's specification names
_ON: Final = ("true", "1")
_OFF: Final = ("false", "0")
_Checked = TypeVar("_Checked")


def load(given: Mapping[str, Value], environment: Mapping[str, str]) -> Settings:
    """The settings of the flags given (by flag name) and of the configuration file.

    Reads the file, in the calling thread. A file that was not asked for may be missing.
    `environment` is only asked for what dockerd asks it: where TLS files are by default.

    Raises:
        ConfigError: the file cannot be used, or a value cannot, wherever it came from.
    """
    path = Path(str(given.get("config-file", OPTIONS["config-file"].default)))
    try:
        from_file = read_config_file(path)
        _refuse_conflicts(given, from_file)
    except FileNotFoundError as error:
        if "config-file" in given:
            raise _unusable(path, f"open {path}: no such file or directory") from error
        from_file = {}
    except OSError as error:
        raise _unusable(path, f"open {path}: {error.strerror}") from error
    except ValueError as error:
        raise _unusable(path, str(error)) from error
    try:
        return build(given, from_file, environment, config_file=path)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _unusable(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"unable to configure the Docker daemon with file {path}: {reason}")


def _refuse_conflicts(given: Mapping[str, Value], from_file: Mapping[str, Value]) -> None:
    """An option stands in one place only, or nobody could say which holds after a reload."""
    both = [
        f"{option.key}: (from flag: {_show(option, given[flag])}, "
        f"from file: {_show(option, from_file[flag])})"
        for flag, option in OPTIONS.items()
        if flag in given and flag in from_file and option.kind is not Kind.RUNTIMES
    ]
    if both:
        raise ValueError(
            "the following directives are specified both as a flag and in the configuration file: "
            + ", ".join(both)
        )


def _show(option: Option, value: Value) -> str:
    """A value as Go prints it."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, tuple):
        return str(value)
    if option.kind is Kind.MAP:
        pairs = cast("tuple[tuple[str, str], ...]", value)
        return "map[" + " ".join(f"{key}:{item}" for key, item in sorted(pairs)) + "]"
    return "[" + " ".join(_show_item(item) for item in value) + "]"


def _show_item(item: object) -> str:
    return f"{item.name}={item.soft}:{item.hard}" if isinstance(item, Ulimit) else str(item)


class _Merged:
    """The value of every option: from a flag, else from the file, else its default."""

    def __init__(self, given: Mapping[str, Value], from_file: Mapping[str, Value]) -> None:
        self._values: dict[str, Value] = {
            flag: given.get(flag, from_file.get(flag, option.default))
            for flag, option in OPTIONS.items()
        }
        self._given = given.keys() | from_file.keys()

    def is_given(self, flag: str) -> bool:
        return flag in self._given

    def raw(self, flag: str) -> Value:
        return self._values[flag]

    def text(self, flag: str) -> str:
        return self._checked(flag, str)

    def number(self, flag: str) -> int:
        return self._checked(flag, int)

    def switch(self, flag: str) -> bool:
        return self._checked(flag, bool)

    def texts(self, flag: str) -> tuple[str, ...]:
        return cast("tuple[str, ...]", self._checked(flag, tuple))

    def pairs(self, flag: str) -> tuple[tuple[str, str], ...]:
        # The last one of a name counts.
        return tuple(dict(cast("tuple[tuple[str, str], ...]", self._values[flag])).items())

    def _checked(self, flag: str, kind: type[_Checked]) -> _Checked:
        value = self._values[flag]
        assert isinstance(value, kind), flag
        return value


def build(
    given: Mapping[str, Value],
    from_file: Mapping[str, Value],
    environment: Mapping[str, str],
    *,
    config_file: Path,
) -> Settings:
    """Settings of values that are well-formed one by one.

    Raises:
        ValueError: a value is not allowed, cannot take effect yet, or contradicts another.
    """
    values = _Merged(given, from_file)
    _refuse_unsupported(values)
    runtimes = tuple(
        runtime
        for source in (from_file, given)  # the one option that both places add to
        for runtime in cast("tuple[Runtime, ...]", source.get("add-runtime", ()))
    )
    pidfile = values.text("pidfile")
    return Settings(
        config_file=config_file,
        data_root=_absolute(values, "data-root"),
        exec_root=_absolute(values, "exec-root"),
        pidfile=Path(pidfile).absolute() if pidfile else None,
        shutdown_timeout_s=values.number("shutdown-timeout"),
        live_restore=values.switch("live-restore"),
        labels=_labels(values.texts("label")),
        experimental=values.switch("experimental"),
        features=_features(values.pairs("feature")),
        metrics_address=_metrics_address(values.text("metrics-addr")),
        observer=_observer_host(values.text("observer-addr")),
        log=_log(values),
        api=_api(values, environment),
        access=_access(values),
        containerd=_containerd(values),
        containers=_containers(values, runtimes),
        network=_network(values),
        registry=_registry(values, environment, config_file),
    )


def _refuse_unsupported(values: _Merged) -> None:
    for flag, option in OPTIONS.items():
        if option.refused and values.raw(flag) != option.default:
            raise ValueError(f"--{flag}: {option.refused}")


def _absolute(values: _Merged, flag: str) -> Path:
    if not values.text(flag):
        raise ValueError(f"--{flag}: an empty path is not allowed")
    return Path(values.text(flag)).absolute()


def _features(features: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """containerd's image store is the only one, and always on; CDI may be switched off."""
    for name, value in features:
        known = {"containerd-snapshotter": _ON, "cdi": (*_ON, *_OFF)}.get(name, ())
        if value.lower() not in known:
            raise ValueError(f"feature {name}={value} is not supported")
    return features


def _cdi_directories(values: _Merged) -> tuple[str, ...]:
    """Where CDI's files are; none for --cdi-spec-dir="" and for --feature cdi=false.

    Source: moby, daemon/command (initializing the CDI driver).
    """
    if any(name == "cdi" and value.lower() in _OFF for name, value in values.pairs("feature")):
        return ()
    directories = values.texts("cdi-spec-dir") or CDI_DIRECTORIES
    return () if directories == ("",) else directories


def _labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Labels without repetition; two values for one key are an error."""
    by_key: dict[str, str] = {}
    for label in labels:
        key, _, value = label.partition("=")
        if by_key.setdefault(key, value) != value:
            raise ValueError(f"conflict labels for {key}={value} and {key}={by_key[key]}")
    return tuple(f"{key}={value}" for key, value in by_key.items())


def _metrics_address(text: str) -> str:
    if text:
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"invalid metrics address {quoted(text)}: must be host:port")
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise ValueError(f"invalid metrics address {quoted(text)}: too many colons in address")
    return text


def _observer_host(text: str) -> TcpHost | None:
    """Ours. There is no password, so only this machine may reach it."""
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError(f"invalid observer address {quoted(text)}: must be host:port")
    name = host.removeprefix("[").removesuffix("]")
    try:
        is_loopback = name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ValueError(
            f"invalid observer address {quoted(text)}: must be a loopback address; "
            "to reach it from elsewhere forward a port with ssh -L"
        )
    return TcpHost(host=name, port=int(port))


def _check_log(driver: str, options: dict[str, str]) -> None:
    try:
        check_log_config(driver, options)
        if driver != NONE:
            parse_file_options(driver, options)
    except EngineError as error:
        raise ValueError(f"failed to set log opts: {error}") from error


def _log(values: _Merged) -> LogSettings:
    level, form = values.text("log-level").lower(), values.text("log-format")
    if level not in LOG_LEVELS:
        raise ValueError(f"invalid logging level: {values.text('log-level')}")
    if form not in ("text", "json"):
        raise ValueError(f"invalid log format: {form}")
    return LogSettings(
        level=level,
        debug=values.switch("debug"),
        format=cast("Literal['text', 'json']", form),
        raw=values.switch("raw-logs"),
    )


def _api(values: _Merged, environment: Mapping[str, str]) -> ApiSettings:
    tls = _tls(values, environment)
    hosts = [parse_host(text, tls=tls is not None) for text in values.texts("host") or ("",)]
    return ApiSettings(
        hosts=tuple(dict.fromkeys(hosts)),  # the same one twice could not be bound twice
        group=values.text("group"),
        group_given=values.is_given("group"),
        tls=tls,
    )


def _access(values: _Merged) -> AccessSettings:
    from services.plugins.authorization import check_plugins

    plugins = tuple(dict.fromkeys(values.texts("authorization-plugin")))
    check_plugins(plugins)
    audit_log = values.text("audit-log")
    return AccessSettings(
        authorization_plugins=plugins,
        scoped_sockets=_scoped_sockets(values.texts("scoped-socket")),
        audit_log=Path(audit_log).absolute() if audit_log else None,
    )


def _scoped_sockets(texts: tuple[str, ...]) -> tuple[ScopedSocket, ...]:
    if not texts:
        return ()
    # Imported when asked for: a table of all operations, and patterns made from it.
    from services.api.scopes import parse_scoped_socket

    found = tuple(map(parse_scoped_socket, texts))
    paths = [one.path for one in found]
    for path in paths:
        if paths.count(path) > 1:
            raise ValueError(f"scoped-sockets: {path} is there twice")
    return found


def _tls(values: _Merged, environment: Mapping[str, str]) -> TlsSettings | None:
    """TLS is on when asked for or when --tlsverify was said at all, be it with false.

    Verification is on with it unless --tlsverify=false says otherwise.
    """
    verify_asked = bool(environment.get("DOCKER_TLS_VERIFY"))
    verify_said = values.is_given("tlsverify")
    if not (values.switch("tls") or verify_said or verify_asked):
        return None
    home = Path(environment.get("HOME", "/root"))
    certificates = Path(
        environment.get("DOCKER_CERT_PATH") or environment.get("DOCKER_CONFIG") or home / ".docker"
    )
    return TlsSettings(
        verify=values.switch("tlsverify") if verify_said else True,
        ca_file=Path(values.text("tlscacert") or certificates / "ca.pem"),
        cert_file=Path(values.text("tlscert") or certificates / "cert.pem"),
        key_file=Path(values.text("tlskey") or certificates / "key.pem"),
    )


def _containerd(values: _Merged) -> ContainerdSettings:
    address = values.text("containerd").removeprefix("unix://")
    namespace = values.text("containerd-namespace")
    if not namespace:
        raise ValueError("--containerd-namespace: an empty name is not allowed")
    return ContainerdSettings(
        address=Path(address).absolute() if address else None, namespace=namespace
    )


def _containers(values: _Merged, runtimes: tuple[Runtime, ...]) -> ContainerDefaults:
    names = [runtime.name for runtime in runtimes]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"runtime '{name}' was already defined")
    default_runtime = values.text("default-runtime")
    if default_runtime not in (*names, "runc", "io.containerd.runc.v2"):
        raise ValueError(f"specified default runtime '{default_runtime}' does not exist")
    if values.text("storage-driver") not in ("", "overlayfs"):
        raise ValueError(
            f"--storage-driver={values.text('storage-driver')}: "
            "the only storage driver supported yet is overlayfs"
        )
    _check_log(values.text("log-driver"), dict(values.pairs("log-opt")))
    driver, parent = _cgroup_driver(values.texts("exec-opt")), values.text("cgroup-parent")
    if driver == "systemd" and parent and not _is_slice(parent):
        raise ValueError(
            'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"'
        )
    rt_period, rt_runtime = values.number("cpu-rt-period"), values.number("cpu-rt-runtime")
    _check_realtime(rt_period, rt_runtime)
    ulimits = {item.name: item for item in cast("tuple[Ulimit, ...]", values.raw("default-ulimit"))}
    return ContainerDefaults(
        shm_size_bytes=cast("int", values.raw("default-shm-size")),
        ulimits=tuple(ulimits.values()),
        cgroupns_mode=_cgroupns_mode(values.text("default-cgroupns-mode")),
        ipc_mode=_ipc_mode(values.text("default-ipc-mode")),
        stop_timeout_s=values.number("default-stop-timeout"),
        cgroup_parent=parent,
        cgroup_driver=driver,
        cpu_rt_period_us=rt_period,
        cpu_rt_runtime_us=rt_runtime,
        init=values.switch("init"),
        init_path=values.text("init-path"),
        no_new_privileges=values.switch("no-new-privileges"),
        seccomp_profile=values.text("seccomp-profile") or "builtin",
        log_driver=values.text("log-driver"),
        log_opts=values.pairs("log-opt"),
        default_runtime=default_runtime,
        runtimes=runtimes,
        dns=values.texts("dns"),
        dns_options=values.texts("dns-opt"),
        dns_search=values.texts("dns-search"),
        cdi_directories=_cdi_directories(values),
    )


def _is_slice(name: str) -> bool:
    return name.endswith(".slice") and len(name) > len(".slice") and "/" not in name


def _check_realtime(period_us: int, runtime_us: int) -> None:
    for name, value in (("cpu-rt-period", period_us), ("cpu-rt-runtime", runtime_us)):
        if value < 0:
            raise ValueError(f"invalid {name}: {value}: it must not be negative")
    if period_us and runtime_us > period_us:
        raise ValueError("cpu-rt-runtime cannot be higher than cpu-rt-period")


def _cgroup_driver(options: tuple[str, ...]) -> Literal["", "cgroupfs", "systemd"]:
    driver = ""
    for option in options:
        name, _, value = (part.strip() for part in option.partition("="))
        if not name or not value:
            raise ValueError(f"invalid exec-opt ({option}): must be formatted 'opt=value'")
        if name.lower() == "isolation":
            raise ValueError(
                f"invalid exec-opt ({option}): option 'isolation' is only supported on windows"
            )
        if name.lower() != "native.cgroupdriver":
            raise ValueError(f"invalid exec-opt ({option}): unknown option: '{name.lower()}'")
        driver = value
    if driver not in ("", "cgroupfs", "systemd"):
        raise ValueError(f"native.cgroupdriver option {driver} not supported")
    return cast("Literal['', 'cgroupfs', 'systemd']", driver)


def _cgroupns_mode(mode: str) -> Literal["", "host", "private"]:
    if mode not in ("", "host", "private"):
        raise ValueError(f'invalid default cgroup namespace ({mode}): use "host" or "private"')
    return cast("Literal['', 'host', 'private']", mode)


def _ipc_mode(mode: str) -> Literal["private", "shareable"]:
    hint = 'use "shareable" or "private"'
    if mode in ("host", "none") or mode.startswith("container:"):
        raise ValueError(f'IPC mode "{mode}" is not supported as default value; {hint}')
    if mode not in ("", "private", "shareable"):
        raise ValueError(f"default IPC mode setting ({mode}) is invalid; {hint}")
    return cast("Literal['private', 'shareable']", mode or "private")


def _network(values: _Merged) -> NetworkDefaults:
    bridge, bip = values.text("bridge"), values.text("bip")
    if bridge and bip:
        raise ValueError(
            "You specified -b & --bip, mutually exclusive options. Please specify only one"
        )
    if values.number("mtu") < 0:
        raise ValueError(f"invalid default MTU: {values.number('mtu')}")
    if values.text("firewall-backend") not in ("", "iptables", "nftables"):
        raise ValueError('invalid firewall-backend: allowed values are "iptables" and "nftables"')
    if values.text("firewall-backend") == "iptables":
        raise ValueError("--firewall-backend=iptables: the only firewall supported is nftables")
    gateway = values.raw("default-gateway")
    if gateway is not None and not isinstance(gateway, ipaddress.IPv4Address):
        raise ValueError(f"--default-gateway: {gateway} is not an IPv4 address")
    gateway6 = values.raw("default-gateway-v6")
    if gateway6 is not None and not isinstance(gateway6, ipaddress.IPv6Address):
        raise ValueError(f"--default-gateway-v6: {gateway6} is not an IPv6 address")
    if bridge and values.text("bip6"):
        raise ValueError(
            "You specified -b & --bip6, mutually exclusive options. Please specify only one"
        )
    icc, iptables = values.switch("icc"), values.switch("iptables")
    if not icc and not iptables:
        raise ValueError(
            "You specified --iptables=false with --icc=false. ICC=false uses iptables to function. "
            "Please set --icc or --iptables to true"
        )
    return NetworkDefaults(
        bridge=bridge,
        bridge_address=_cidr("bip", bip),
        fixed_cidr=fixed.network
        if (fixed := _cidr("fixed-cidr", values.text("fixed-cidr")))
        else None,
        gateway=gateway,
        ipv6=values.switch("ipv6"),
        bridge_address6=_cidr6("bip6", values.text("bip6")),
        fixed_cidr6=fixed6.network
        if (fixed6 := _cidr6("fixed-cidr-v6", values.text("fixed-cidr-v6")))
        else None,
        gateway6=gateway6,
        icc=icc,
        pools=cast("tuple[AddressPool, ...]", values.raw("default-address-pool")),
        default_options=_driver_options(values),
        mtu=values.number("mtu") or 1500,
        ip_forward=values.switch("ip-forward"),
        ip_masquerade=values.switch("ip-masq"),
        firewall=values.switch("iptables"),
        firewall6=values.switch("ip6tables"),
        userland_proxy=values.switch("userland-proxy"),
        host_address=str(values.raw("ip") or ANY_ADDRESS),
        allow_direct_routing=values.switch("allow-direct-routing"),
        accept_mark=_firewall_mark(values.text("bridge-accept-fwmark")),
        host_gateways=_host_gateways(values.texts("host-gateway-ip")),
    )


def _driver_options(values: _Merged) -> Mapping[str, Mapping[str, str]]:
    """The default options of new networks, by driver; the last one of a name counts."""
    found: dict[str, dict[str, str]] = {}
    triples = cast("tuple[tuple[str, str, str], ...]", values.raw("default-network-opt"))
    for driver, option, value in triples:
        found.setdefault(driver, {})[option] = value
    return found


def _firewall_mark(text: str) -> tuple[int, int] | None:
    """`MARK` or `MARK/MASK`, each as the kernel's tools write it: 1, 0x1, 0o1."""
    if not text:
        return None
    mark, has_mask, mask = text.partition("/")
    numbers = []
    for what, number in (("mark", mark), ("mask", mask if has_mask else "0xffffffff")):
        try:
            numbers.append(int(number, 0))
        except ValueError:
            raise ValueError(f'invalid firewall {what} "{number}"') from None
        if not 0 <= numbers[-1] <= 0xFFFFFFFF:
            raise ValueError(f'invalid firewall {what} "{number}": it has 32 bits')
    return numbers[0], numbers[1]


def _host_gateways(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """One of each family, IPv4 first. Source: moby, daemon/config."""
    by_version: dict[int, str] = {}
    for address in addresses:
        version = ipaddress.ip_address(address).version
        if version in by_version:
            raise ValueError(f"only one IPv{version} host gateway IP address can be specified")
        by_version[version] = address
    return tuple(by_version[version] for version in sorted(by_version))


def _registry(
    values: _Merged, environment: Mapping[str, str], config_file: Path
) -> RegistrySettings:
    networks, hosts = parse_insecure(values.texts("insecure-registry"))
    downloads, uploads = (
        values.number(f"max-concurrent-{what}") for what in ("downloads", "uploads")
    )
    attempts = values.number("max-download-attempts")
    if downloads < 0:
        raise ValueError(f"invalid max concurrent downloads: {downloads}")
    if uploads < 0:
        raise ValueError(f"invalid max concurrent uploads: {uploads}")
    if attempts <= 0:
        raise ValueError(f"invalid max download attempts: {attempts}")
    return RegistrySettings(
        mirrors=tuple(map(parse_mirror, values.texts("registry-mirror"))),
        insecure_networks=networks,
        insecure_hosts=hosts,
        max_downloads=downloads or cast("int", OPTIONS["max-concurrent-downloads"].default),
        max_uploads=uploads or cast("int", OPTIONS["max-concurrent-uploads"].default),
        max_attempts=attempts,
        proxies=ProxySettings(
            http_proxy=_proxy(values, environment, "http-proxy"),
            https_proxy=_proxy(values, environment, "https-proxy"),
            no_proxy=_proxy(values, environment, "no-proxy"),
        ),
        # dockerd's folder, and before it one of our own beside the configuration.
        certs_dirs=(config_file.parent / "certs.d", CERTS_DIR),
    )


def _proxy(values: _Merged, environment: Mapping[str, str], flag: str) -> str:
    """What the configuration says, else the environment, in either case of letters."""
    name = flag.replace("-", "_")
    return values.text(flag) or environment.get(name.upper()) or environment.get(name) or ""


def _cidr6(flag: str, text: str) -> ipaddress.IPv6Interface | None:
    """An IPv6 address with the length of its network. Source: moby, ValidateFixedCIDRV6."""
    if not text:
        return None
    try:
        address = ipaddress.IPv6Interface(text) if "/" in text else None
    except ValueError:
        address = None
    if address is None:
        raise ValueError(f"--{flag}: invalid CIDR address: {text}")
    local = ipaddress.IPv6Network("fe80::/64")
    if address.ip.is_multicast:
        raise ValueError(f"invalid {flag}: multicast subnet '{text}' is not allowed")
    if address.network != local and address.network.overlaps(local):
        raise ValueError(f"invalid {flag}: '{text}' clashes with the Link-Local prefix 'fe80::/64'")
    return address


def _cidr(flag: str, text: str) -> ipaddress.IPv4Interface | None:
    if not text:
        return None
    try:
        if "/" in text:
            return ipaddress.IPv4Interface(text)
    except ValueError:
        pass
    raise ValueError(f"--{flag}: invalid CIDR address: {text}")
