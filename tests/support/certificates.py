"""Certificates for tests, made by openssl on the spot."""

from __future__ import annotations

import subprocess
from pathlib import Path


def openssl(*arguments: str, cwd: Path) -> None:
    """Run openssl; a failure shows what it said."""
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)


def make_certificates(directory: Path, address: str = "127.0.0.1") -> Path:
    """{server,client}-{cert,key}.pem signed by ca.pem, stranger-* by other.pem; for `address`."""
    new = (
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    )
    for name in ("ca", "other"):
        openssl(*new, "-x509", "-keyout", f"{name}-key.pem", "-out", f"{name}.pem",
                "-subj", f"/CN={name}", cwd=directory)  # fmt: skip
    (directory / "ext").write_text(f"subjectAltName=IP:{address}\n")
    for name, issuer in (("server", "ca"), ("client", "ca"), ("stranger", "other")):
        openssl(*new[:-2], "-keyout", f"{name}-key.pem", "-out", f"{name}.csr",
                "-subj", f"/CN={name}", cwd=directory)  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.pem", "-CAkey",
                f"{issuer}-key.pem", "-CAcreateserial", "-days", "2", "-out", f"{name}-cert.pem",
                "-extfile", "ext", cwd=directory)  # fmt: skip
    return directory
