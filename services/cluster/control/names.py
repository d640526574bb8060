"""What services, secrets and configs may be called.

Source: swarmkit, manager/controlapi/common.go.
"""

from __future__ import annotations

import re
from typing import Final

from services.cluster.control.refusals import invalid

_DNS_NAME: Final = re.compile(r"[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*", re.ASCII)
_DOCUMENT_NAME: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,62}[a-zA-Z0-9])?", re.ASCII)
DNS_LABEL_CHARS: Final = 63


def check_service_name(name: str) -> None:
    """Names of services and networks are looked up by DNS.

    Raises:
        InvalidParameter: it is none.
    """
    if not name:
        raise invalid("meta: name must be provided")
    if len(name) > DNS_LABEL_CHARS:
        raise invalid("name must be 63 characters or fewer")
    if not _DNS_NAME.fullmatch(name):
        raise invalid("name must be valid as a DNS name component")


def check_document_name(name: str) -> None:
    """Secrets and configs.

    Raises:
        InvalidParameter: it is none.
    """
    if not name:
        raise invalid("name must be provided")
    if not _DOCUMENT_NAME.fullmatch(name):
        raise invalid(
            "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end "
            "character must be [a-zA-Z0-9]"
        )
