"""Tar files as clients upload them: build contexts, images, files; good and bad, packed or not."""

from __future__ import annotations

import gzip
import io
import tarfile
from random import Random
from typing import Final

_MANIFEST: Final = b"application/vnd.oci.image.manifest.v1+json"
_DOCKERFILES: Final = (
    b"FROM busybox\nLABEL a=b\n",
    b"FROM nosuch",
    b"",
    b"FROM busybox\nCOPY x /\n",
    b"FROM busybox\nCOPY --from=9 / /\n",
    b"FROM scratch\nENV a",
    b"\xff\xfe\x00",
    b"FROM busybox\nLABEL a=\xff\n",
    b"FROM busybox\nARG a\nENV b=${a:?x}\n",
    b"FROM busybox\nHEALTHCHECK --interval=x CMD y\n",
    b"FROM busybox\nEXPOSE 99999/x\nUSER \nWORKDIR a\n",
    b"FROM ${x}\n",
    b"ARG x=busybox\nFROM ${x} AS X\nFROM 0\nADD http://127.0.0.1:1/x /\n",
    b"FROM busybox\nSTOPSIGNAL x\nSHELL []\n",
)
_MANIFESTS: Final = (
    *(b"[]", b"{}", b"[{}]", b"null", b'[{"Config":1}]', b"[null]", b"[" * 2000),
    b'[{"Config":"../x","Layers":["y"],"RepoTags":[":"]}]',
)
_INDEXES: Final = (
    *(b"{}", b"[]", b'{"manifests":null}', b'{"manifests":[{}]}'),
    b'{"schemaVersion":2,"manifests":[{"digest":"x","size":-1}]}',
    b'{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"sha256:%s","size":3}]}'
    % (_MANIFEST, b"0" * 64),
)
_JUNK: Final = (
    *(b"", b"\x1f\x8b", b"x" * 511, b"x" * 4096, b"BZh9", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"),
    b"\x00" * 1024,
)
_LINKS: Final = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)


def make_archive(random: Random) -> bytes:
    """An archive; the same for the same state of `random`."""
    data = _tar(random)
    chance = random.random()
    if chance < 0.1:
        return gzip.compress(data, mtime=0)
    if chance < 0.15:
        return gzip.compress(data, mtime=0)[:-9]
    if chance < 0.2:
        return data[: random.randrange(len(data))]
    if chance < 0.25:
        changed = bytearray(data)
        for _ in range(5):
            changed[random.randrange(min(len(changed), 2048))] = random.randrange(256)
        return bytes(changed)
    return random.choice(_JUNK) if chance < 0.3 else data


def _tar(random: Random) -> bytes:
    name = random.choice(("file", "../up", "/abs", "a" * 300, "tmp/x"))
    files = {
        "Dockerfile": random.choice(_DOCKERFILES),
        "manifest.json": random.choice(_MANIFESTS),
        "index.json": random.choice(_INDEXES),
        "oci-layout": random.choice((b'{"imageLayoutVersion":"1.0.0"}', b"{}", b"x")),
        "repositories": b'{"x":{"y":"z"}}',
        name: b"text" * random.choice((0, 1, 3000)),
    }
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, data in files.items():
            if random.random() < 0.6:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        if random.random() < 0.2:
            link = tarfile.TarInfo(random.choice(("link", "tmp/link")))
            link.type = random.choice(_LINKS)
            link.linkname = random.choice(("..", "/nosuch", "link", "../../../x"))
            tar.addfile(link)
    return raw.getvalue()
