"""Join tokens and unlock keys, spelled as swarm spells them.

Source: moby/swarmkit, ca/certificates.go and manager/encryption: SWMTKN-1-DIGEST-SECRET with both
numbers in base 36, the digest 50 digits and the secret 25; SWMKEY-1- and base64 without padding.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final

from services.cluster.model.objects import JoinTokens
from services.errors import InvalidParameter

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_DIGEST_LENGTH: Final = 50  # of 256 bits
_SECRET_LENGTH: Final = 25  # of 128 bits
_TOKEN_PREFIX: Final = "SWMTKN-1"  # noqa: S105 - the same in every token
_UNLOCK_PREFIX: Final = "SWMKEY-1-"
_KEY_BYTES: Final = 32


def _base36(number: int, length: int) -> str:
    digits = []
    while number:
        number, digit = divmod(number, 36)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits)).rjust(length, "0")


def new_join_secret() -> str:
    """The secret half of a token: 128 random bits."""
    return _base36(secrets.randbits(128), _SECRET_LENGTH)


def root_digest(certificate_pem: str) -> bytes:
    """What a token pins: SHA-256 over the root's PEM text without surrounding white space."""
    return hashlib.sha256(certificate_pem.strip().encode() + b"\n").digest()


def make_token(certificate_pem: str, secret: str) -> str:
    """What a user hands to a node that is to join."""
    digest = _base36(int.from_bytes(root_digest(certificate_pem)), _DIGEST_LENGTH)
    return f"{_TOKEN_PREFIX}-{digest}-{secret}"


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A token that was read. `secret` says which role the node may have."""

    digest: bytes
    secret: str

    def pins(self, certificate_pem: str) -> bool:
        """Whether a root certificate is the one that the token was made for."""
        return hmac.compare_digest(self.digest, root_digest(certificate_pem))


def read_token(token: str) -> JoinToken:
    """Raises InvalidParameter in dockerd's words."""
    parts = token.split("-")
    try:
        prefix, digest, secret = "-".join(parts[:2]), *parts[2:]
        if prefix != _TOKEN_PREFIX or len(digest) != _DIGEST_LENGTH:
            raise InvalidParameter("invalid join token")
        if len(secret) != _SECRET_LENGTH:
            raise InvalidParameter("invalid join token")
        return JoinToken(int(digest, 36).to_bytes(_KEY_BYTES), secret)
    except (ValueError, OverflowError) as error:
        raise InvalidParameter("invalid join token") from error


def role_of(secret: str, tokens: JoinTokens) -> str | None:
    """The role that the secret half of a token gives: "worker", "manager", or None."""
    # Both are compared, whichever fits, so that the time taken does not tell them apart.
    is_manager = hmac.compare_digest(secret.encode(), tokens.manager.encode())
    is_worker = hmac.compare_digest(secret.encode(), tokens.worker.encode())
    if not secret:
        return None
    return "manager" if is_manager else "worker" if is_worker else None


def new_unlock_key() -> str:
    """A key for managers that lock themselves: 256 random bits."""
    return _UNLOCK_PREFIX + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode().rstrip("=")


def read_unlock_key(text: str) -> bytes:
    """The 32 bytes of an unlock key. Raises InvalidParameter in dockerd's words."""
    body = text.removeprefix(_UNLOCK_PREFIX)
    try:
        key = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except binascii.Error as error:
        raise InvalidParameter("invalid unlock key") from error
    if body == text or len(key) != _KEY_BYTES:
        raise InvalidParameter("invalid unlock key")
    return key
