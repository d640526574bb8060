"""The fixtures that every test of this package may use."""

from __future__ import annotations

from tests.engine_fixtures import containerd_config as containerd_config
