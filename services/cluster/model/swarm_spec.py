"""The settings of a cluster as a whole. Durations are nanoseconds. Source: schema SwarmSpec."""

from __future__ import annotations

from typing import Any

from services.cluster.model.task_spec import LogDriver
from services.cluster.model.wire import Wire


class Orchestration(Wire, frozen=True, kw_only=True):
    """How many ended tasks are kept for a slot; negative keeps all."""

    task_history_retention_limit: int = 5


class Raft(Wire, frozen=True, kw_only=True):
    """Kept and shown for clients; etcd has values of its own."""

    snapshot_interval: int = 10000
    keep_old_snapshots: int = 0
    log_entries_for_slow_followers: int = 500
    election_tick: int = 10
    heartbeat_tick: int = 1


class DispatcherConfig(Wire, frozen=True, kw_only=True):
    """How often agents say that they live."""

    heartbeat_period: int = 5_000_000_000


class CaConfig(Wire, frozen=True, kw_only=True):
    """Certificates of nodes. The signing key is never stored here, nor answered."""

    node_cert_expiry: int = 7_776_000_000_000_000  # 90 days
    external_cas: list[dict[str, Any]] = []
    signing_ca_cert: str = ""
    signing_ca_key: str = ""
    force_rotate: int = 0


class EncryptionConfig(Wire, frozen=True, kw_only=True):
    """Whether a manager that starts needs the unlock key."""

    auto_lock_managers: bool = False


class TaskDefaults(Wire, frozen=True, kw_only=True):
    """What tasks get whose services do not say."""

    log_driver: LogDriver | None = None


class SwarmSpec(Wire, frozen=True, kw_only=True):
    """The cluster's own settings."""

    name: str = "default"
    labels: dict[str, str] = {}
    orchestration: Orchestration = Orchestration()
    raft: Raft = Raft()
    dispatcher: DispatcherConfig = DispatcherConfig()
    ca_config: CaConfig = CaConfig()
    task_defaults: TaskDefaults = TaskDefaults()
    encryption_config: EncryptionConfig = EncryptionConfig()
