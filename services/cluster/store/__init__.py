"""The cluster's objects: a mirror in memory of what is in etcd, and writes by compare-and-swap."""

from __future__ import annotations

from .contract import ClusterStore as ClusterStore
from .contract import LeadershipLost as LeadershipLost
from .contract import NameTaken as NameTaken
from .contract import OutOfSequence as OutOfSequence
from .contract import Sealer as Sealer
from .contract import SessionLease as SessionLease
from .store import EtcdStore as EtcdStore
from .store import FencedStore as FencedStore
