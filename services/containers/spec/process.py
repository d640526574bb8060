"""The OCI `process` object, for a container's first process and for exec."""

from __future__ import annotations

from collections.abc import Sequence

from services.containers.apparmor import container_profile
from services.containers.config import ContainerConfig, HostConfig
from services.containers.spec.capabilities import capability_sets, container_capabilities
from services.containers.spec.environment import container_env, override_env
from services.containers.spec.limits import merge_ulimits, oom_score_adj, process_rlimits
from services.containers.spec.mounts import INIT_PATH, wants_init
from services.containers.spec.security import parse_security_options
from services.containers.spec.values import Json, ResolvedUser, SpecDefaults, SpecInputs
from services.system import HostFacts


def container_process(inputs: SpecInputs) -> Json:
    """What runs first. The user's command comes after the engine's init when one is wanted."""
    config, host, facts = inputs.config, inputs.host_config, inputs.facts
    args = [INIT_PATH, "--", *inputs.args] if wants_init(inputs) else list(inputs.args)
    process = _common(
        host=host,
        facts=facts,
        defaults=inputs.defaults,
        user=inputs.user,
        privileged=host.privileged,
    )
    process["args"] = args
    process["cwd"] = config.working_dir or "/"
    process["env"] = container_env(
        hostname=config.hostname, tty=config.tty, links=inputs.link_env, config=config.env or ()
    )
    process["oomScoreAdj"] = oom_score_adj(host.oom_score_adj, facts)[0]
    _add_terminal(process, tty=config.tty, rows_columns=host.console_size)
    return process


def build_exec_process(
    *,
    args: Sequence[str],
    config: ContainerConfig,
    host_config: HostConfig,
    facts: HostFacts,
    defaults: SpecDefaults,
    user: ResolvedUser,
    env: Sequence[str] = (),
    cwd: str = "",
    tty: bool = False,
    privileged: bool = False,
    rows_columns: tuple[int, int] = (0, 0),
    link_env: Sequence[str] = (),
) -> Json:
    """The OCI `process` object of an exec in a container made with these settings.

    `env` overrides the container's environment; an empty `cwd` is the container's. `privileged`
    is the exec's own: it gives all capabilities that we hold, and changes nothing else.
    """
    process = _common(
        host=host_config,
        facts=facts,
        defaults=defaults,
        user=user,
        privileged=privileged or host_config.privileged,
    )
    inherited = container_env(
        hostname=config.hostname, tty=tty, links=link_env, config=config.env or ()
    )
    process["args"] = list(args)
    process["cwd"] = cwd or config.working_dir or "/"
    process["env"] = override_env(inherited, env)
    _add_terminal(process, tty=tty, rows_columns=rows_columns)
    return process


def _common(
    *,
    host: HostConfig,
    facts: HostFacts,
    defaults: SpecDefaults,
    user: ResolvedUser,
    privileged: bool,
) -> Json:
    security = parse_security_options(
        host.security_opt or (), no_new_privileges=defaults.no_new_privileges
    )
    names = container_capabilities(
        add=host.cap_add or (),
        drop=host.cap_drop or (),
        privileged=privileged,
        available=facts.capabilities,
    )
    process: Json = {
        "user": _user(user),
        "capabilities": capability_sets(names, uid=user.uid),
        "noNewPrivileges": security.no_new_privileges,
    }
    ulimits = merge_ulimits(host.ulimits or (), defaults.ulimits)
    if rlimits := process_rlimits(ulimits, facts)[0]:
        process["rlimits"] = rlimits
    if facts.apparmor:
        profile = container_profile(
            security.apparmor, privileged=host.privileged, default=defaults.apparmor_profile
        )
        if profile:
            process["apparmorProfile"] = profile
    return process


def _user(user: ResolvedUser) -> Json:
    """The primary group is among the additional ones: dropping it later gains nothing."""
    groups = dict.fromkeys((user.gid, *user.groups))
    return {"uid": user.uid, "gid": user.gid, "additionalGids": list(groups)}


def _add_terminal(process: Json, *, tty: bool, rows_columns: tuple[int, int]) -> None:
    process["terminal"] = tty
    rows, columns = rows_columns
    if tty and rows and columns:
        process["consoleSize"] = {"height": rows, "width": columns}
