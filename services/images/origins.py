"""Where content came from, as containerd's clients note it on the content itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

LABEL_SOURCE: Final = "containerd.io/distribution.source."


def repositories_of(labels: Mapping[str, str]) -> Sequence[str]:
    """The repositories, by whole names ("docker.io/library/busybox"), in order."""
    return sorted(
        {
            f"{label.removeprefix(LABEL_SOURCE)}/{repository}"
            for label, repositories in labels.items()
            if label.startswith(LABEL_SOURCE)
            for repository in repositories.split(",")
            if repository
        }
    )
