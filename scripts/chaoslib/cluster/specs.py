"""The specs that clients ask for, and the words that a spec's content is recorded by."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any, Final

SLEEP: Final = ["sh", "-c", "trap exit TERM; sleep 1000000 & wait"]
NETWORK: Final = "woven"


def service(
    name: str, value: int, *, replicas: int, networks: bool = False, secret: str = ""
) -> dict[str, Any]:
    """A replicated service of containers that only wait. `secret`: id=name."""
    container: dict[str, Any] = {
        "Image": "busybox:latest",
        "Command": SLEEP,
        "StopGracePeriod": 1_000_000_000,
        "Env": ["N=0"],
    }
    if secret:
        id_, _, secret_name = secret.partition("=")
        file = {"Name": secret_name, "UID": "0", "GID": "0", "Mode": 0o444}
        container["Secrets"] = [{"SecretID": id_, "SecretName": secret_name, "File": file}]
    template: dict[str, Any] = {
        "ContainerSpec": container,
        "RestartPolicy": {"Condition": "any", "Delay": 500_000_000},
    }
    if networks:
        template["Networks"] = [{"Target": NETWORK}]
    return {
        "Name": name,
        "Labels": {"n": str(value)},
        "TaskTemplate": template,
        "Mode": {"Replicated": {"Replicas": replicas}},
        "EndpointSpec": {"Mode": "vip"},
    }


def document(name: str, value: int) -> dict[str, Any]:
    """A secret's, or a config's."""
    data = b64encode(f"{name} {value}".encode()).decode()
    return {"Name": name, "Labels": {"n": str(value)}, "Data": data}


def value_of(spec: dict[str, Any]) -> int:
    """The number that the last update of an object has brought."""
    return int(spec["Labels"]["n"])


def replicas_of(spec: dict[str, Any]) -> int:
    """How many tasks a service is to have."""
    return int(spec["Mode"]["Replicated"]["Replicas"])


def content_of(spec: dict[str, Any]) -> str:
    """What updates change of a service, as it is compared."""
    env = spec["TaskTemplate"]["ContainerSpec"].get("Env", [])
    return json.dumps([value_of(spec), replicas_of(spec), env])
