"""What a client asks of the Dockerfile front end, as a request of our builder. Pure.

Source: BuildKit, frontend/dockerui/config.go and attr.go; buildx, build/opt.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from services.build.request import BuildRequest
from services.containers.config import HostConfig, LogConfig, Ulimit
from services.errors import InvalidParameter, NotSupported
from services.images import Platform, Reference
from services.images.platform import host_platform, parse_specifier
from services.images.ports import Body

FRONTEND: Final = "dockerfile.v0"
CONTEXT_DIR: Final = "context"
DOCKERFILE_DIR: Final = "dockerfile"
MAX_ATTRIBUTES: Final = 4096

_NETWORKS: Final = {"host": "host", "none": "none", "sandbox": "", "default": "", "": ""}
# What says how a client works, or is for those who read the result, and changes nothing here.
_PASSED_OVER: Final = frozenset(
    ("contextsubdir", "frontend.caps", "local-sessionid", "cmdline", "source")
)
_PASSED_OVER_PREFIXES: Final = ("vcs:", "input-metadata:")
# Build arguments that are BuildKit's own, of which none changes what our builder makes.
_OWN_ARGS: Final = frozenset(
    (
        "BUILDKIT_INLINE_CACHE",
        "BUILDKIT_MULTI_PLATFORM",
        "BUILDKIT_SANDBOX_HOSTNAME",
        "BUILDKIT_SYNTAX",
        "BUILDKIT_DOCKERFILE_CHECK",
    )
)
_HTTP: Final = re.compile(r"https?://")
_UPLOAD: Final = "http://buildkit-session/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A build as it is asked for. `upload` is where in the session the context is an archive, ""
    for nowhere; `context_dir` and `dockerfile_dir` are directories of the session's, "" where the
    context is elsewhere, or holds the Dockerfile.

    `named` are more contexts: name -> where it is.
    """

    request: BuildRequest
    context_dir: str = CONTEXT_DIR
    dockerfile_dir: str = DOCKERFILE_DIR
    upload: str = ""
    body: Body | None = None  # an archive that comes beside the session
    named: Mapping[str, str] = field(default_factory=dict)


def read_wish(attributes: Mapping[str, str], references: tuple[Reference, ...] = ()) -> Wish:
    """The build that the attributes of a front end mean.

    Raises:
        InvalidParameter: one is malformed.
        NotSupported: one asks for what this engine does not do; a sentence says what.
    """
    if len(attributes) > MAX_ATTRIBUTES:
        raise InvalidParameter("the build has too many attributes")
    reader = _Reader(attributes)
    wish = reader.wish(references)
    reader.check_all_read()
    return wish


def without_remote(request: BuildRequest) -> BuildRequest:
    """The same, with its context in the session."""
    return replace(request, remote="")


class _Reader:
    """Takes attributes one after the other, and knows which are left."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self._left = dict(attributes)

    def wish(self, references: tuple[Reference, ...]) -> Wish:
        """All of them."""
        if self._take("requestid"):
            raise NotSupported("this engine builds; it does not check or outline Dockerfiles")
        self._refuse_attestations()
        context = self._take("context")
        context_dir, upload, remote = self._take("contextkey") or CONTEXT_DIR, "", ""
        dockerfile_key = self._take("dockerfilekey")
        if context.startswith(_UPLOAD):
            upload = "/" + context.removeprefix(_UPLOAD)
        elif context.startswith("input:"):
            raise NotSupported("a context that is another build's result is not supported")
        elif context:
            remote = context
        if remote or upload:
            context_dir = ""
        no_cache = self._left.pop("no-cache", None)
        if no_cache:
            raise NotSupported(
                "no-cache for single stages (--no-cache-filter) is not supported; use --no-cache"
            )
        request = BuildRequest(
            dockerfile=self._take("filename") or "Dockerfile",
            remote=remote,
            references=references,
            target=self._take("target"),
            build_args=self._build_args(),
            labels=dict(self._prefixed("label:")),
            host=self._host(),
            platform=self._platform(),
            uses_cache=no_cache is None,
            cache_from=tuple(filter(None, self._take("cache-from").split(","))),
            pulls=self._take("image-resolve-mode") == "pull",
        )
        return Wish(
            request=request,
            context_dir=context_dir,
            dockerfile_dir=dockerfile_key or ("" if remote or upload else DOCKERFILE_DIR),
            upload=upload,
            named=dict(self._prefixed("context:")),
        )

    def check_all_read(self) -> None:
        """Raises NotSupported where something is left."""
        for name in _PASSED_OVER:
            self._left.pop(name, None)
        for name in self._left:
            if not name.startswith(_PASSED_OVER_PREFIXES):
                raise NotSupported(f"the build option {name!r} is not supported by this engine")

    def _take(self, name: str) -> str:
        return self._left.pop(name, "")

    def _prefixed(self, prefix: str) -> list[tuple[str, str]]:
        names = [name for name in self._left if name.startswith(prefix)]
        return [(name.removeprefix(prefix), self._left.pop(name)) for name in names]

    def _build_args(self) -> dict[str, str | None]:
        given = dict(self._prefixed("build-arg:"))
        if given.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "0").lower() in ("1", "true"):
            raise NotSupported("BUILDKIT_CONTEXT_KEEP_GIT_DIR is not supported")
        if given.get("SOURCE_DATE_EPOCH"):
            raise NotSupported("SOURCE_DATE_EPOCH is not supported: images have the time of now")
        skipped = (*_OWN_ARGS, "BUILDKIT_CONTEXT_KEEP_GIT_DIR", "SOURCE_DATE_EPOCH")
        return {name: value for name, value in given.items() if name not in skipped}

    def _host(self) -> HostConfig:
        network = self._take("force-network-mode")
        if network not in _NETWORKS:
            raise NotSupported(f"network mode {network!r} is not supported for builds")
        return HostConfig(
            network_mode=_NETWORKS[network],
            extra_hosts=self._extra_hosts(),
            shm_size=self._number("shm-size"),
            ulimits=self._ulimits(),
            cgroup_parent=self._take("cgroup-parent"),
            log_config=LogConfig(type="none"),
        )

    def _extra_hosts(self) -> list[str] | None:
        found = []
        for text in filter(None, self._take("add-hosts").split(",")):
            name, equals, address = text.partition("=")
            if not (name and equals and address):
                raise InvalidParameter(f"invalid host {text!r} in add-hosts")
            found.append(f"{name}:{address}")
        return found or None

    def _number(self, name: str) -> int:
        text = self._take(name)
        if text and not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise InvalidParameter(f"invalid {name}: {text!r}")
        return int(text or 0)

    def _ulimits(self) -> list[Ulimit] | None:
        found = []
        for text in filter(None, self._take("ulimit").split(",")):
            match = re.fullmatch(r"([a-z]+)=(-?\d{1,18})(?::(-?\d{1,18}))?", text, re.ASCII)
            if match is None:
                raise InvalidParameter(f"invalid ulimit {text!r}")
            name, soft, hard = match.groups()
            found.append(Ulimit(name=name, soft=int(soft), hard=int(hard or soft)))
        return found or None

    def _platform(self) -> Platform | None:
        text = self._take("platform")
        if "," in text:
            raise NotSupported("a build for several platforms at once is not supported")
        if self._take("multi-platform").lower() in ("1", "true"):
            raise NotSupported("an index of one platform (multi-platform) is not supported")
        return parse_specifier(text, host_platform()) if text else None

    def _refuse_attestations(self) -> None:
        for name, value in self._prefixed("attest:"):
            if "disabled=true" not in value.split(","):
                raise NotSupported(f"attestations ({name}) are not supported: --{name}=false")
