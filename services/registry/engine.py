"""The parts that speak to registries, put together. Imports httpx: therefore imported late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.images.platform import Platform

from .distribution import inspect as inspect
from .fetch import BlobFetcher
from .image_pull import PullMeans
from .leases import PullLeases
from .login import login as login
from .ports import ContainerdClient, ImageStore
from .pull import Puller
from .push import Pusher
from .search import search as search
from .settings import RegistrySettings
from .upload import BlobUploader


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryEngine:
    """What pulls and what pushes."""

    puller: Puller
    pusher: Pusher
    leases: PullLeases


def build_engine(
    *,
    containerd: ContainerdClient,
    images: ImageStore,
    settings: Callable[[], RegistrySettings],
    host: Platform,
    user_agent: str,
    is_ending: Callable[[], bool],
) -> RegistryEngine:
    """Make them."""
    fetcher = BlobFetcher(containerd.content, settings)
    leases = PullLeases(containerd, is_wanted=fetcher.is_wanted, is_ending=is_ending)
    means = PullMeans(
        containerd=containerd,
        images=images,
        fetcher=fetcher,
        leases=leases,
        settings=settings,
        host=host,
    )
    pusher = Pusher(
        containerd=containerd,
        images=images,
        uploader=BlobUploader(containerd.content, settings),
        settings=settings,
        host=host,
        user_agent=user_agent,
    )
    return RegistryEngine(puller=Puller(means, user_agent=user_agent), pusher=pusher, leases=leases)
