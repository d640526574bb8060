"""Whom to trust of a registry, and what to show it: the certificates in certs.d.

A folder `HOST[:PORT]` holds CAs (*.crt) besides the system's, and client certificates (*.cert, each
with a *.key). Everything here reads files, and belongs into a thread.

Source: moby, daemon/pkg/registry/registry.go (ReadCertsDirectory), whose sentences these are.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

from services.errors import EngineError
from services.system.tls import client_context


def tls_context(host: str, *, verify: bool, certs_dirs: Iterable[Path]) -> ssl.SSLContext:
    """The context for connections to `host`; without `verify` any certificate will do.

    Raises:
        EngineError: a file of the host's folder cannot be used.
    """
    context = client_context() if verify else _believing_context()
    folder = _folder_of(host, certs_dirs)
    if folder is not None:
        _load(context, folder)
    return context


def _believing_context() -> ssl.SSLContext:
    """Without the system's authorities, which take 20 ms to read: nobody would be asked for one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _folder_of(host: str, certs_dirs: Iterable[Path]) -> Path | None:
    """The first that exists. A name that is no single part of a path has none."""
    if not host or "/" in host or host in (".", "..") or "\0" in host:
        return None
    return next((path for base in certs_dirs if (path := base / host).is_dir()), None)


def _load(context: ssl.SSLContext, folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    for name in sorted(names):
        path = folder / name
        try:
            if path.suffix == ".crt":
                context.load_verify_locations(path)
            elif path.suffix == ".cert":
                key = path.with_suffix(".key")
                if key.name not in names:
                    raise EngineError(
                        f"missing key {key.name} for client certificate {name}. "
                        "CA certificates must use the extension .crt"
                    )
                context.load_cert_chain(path, key)
            elif path.suffix == ".key" and path.with_suffix(".cert").name not in names:
                raise EngineError(f"missing client certificate {path.stem}.cert for key {name}")
        except (OSError, ssl.SSLError) as error:
            raise EngineError(f"cannot use {path}: {error}") from error
