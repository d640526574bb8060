"""The host: what it is, what it can limit, what it lacks."""

from services.system.facts import UNLIMITED, CgroupFacts, HostFacts, RlimitPair
from services.system.reading import read_host_facts
from services.system.warnings import info_warnings, security_options

__all__ = [
    "UNLIMITED",
    "CgroupFacts",
    "HostFacts",
    "RlimitPair",
    "info_warnings",
    "read_host_facts",
    "security_options",
]
