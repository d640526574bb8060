"""Serves one engine, and what is left after it."""

from __future__ import annotations

import ctypes
import resource
import socket
import sys

NAME = b"wf-proxy"
MOST_SOCKETS = 60000
SPARE_DESCRIPTORS = 64
_PR_SET_NAME = 15
_HERE = "/services/networks/published/proxy_process"


def main(descriptor: int) -> None:
    """Until nobody commands us any more, and nothing is left to be carried."""
    # Python has put this folder there; our modules go by their whole names.
    sys.path[0] = sys.path[0].removesuffix(_HERE)
    from services.networks.published.proxy_process.proxy import Proxy

    ctypes.CDLL(None).prctl(_PR_SET_NAME, NAME, 0, 0, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_SOCKETS if hard == resource.RLIM_INFINITY else min(hard, MOST_SOCKETS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    control = socket.socket(fileno=descriptor)
    Proxy(control, most_sockets=most - SPARE_DESCRIPTORS).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
