"""Specs of services on the wire, and back: clients change a service by what they were answered."""

from __future__ import annotations

import msgspec
import pytest

from services.api.types.cluster.services import spec_to_wire
from services.cluster.control.service_specs import filled
from services.cluster.model.specs import ServiceSpec

CONTAINER = b'"ContainerSpec": {"Image": "busybox", "Args": ["true"], "Init": false}'

SPECS = {
    "bare": b'{"Name": "a", "TaskTemplate": {%s}}',
    "empty members": b"""{"Name": "a", "TaskTemplate": {%s, "Resources": {"Limits": {},
        "Reservations": {}}, "RestartPolicy": {}, "Placement": {}, "ForceUpdate": 0},
        "EndpointSpec": {}, "UpdateConfig": {}, "RollbackConfig": {}, "Mode": {}}""",
    "full members": b"""{"Name": "a", "Labels": {"x": "y"}, "TaskTemplate": {%s,
        "RestartPolicy": {"Condition": "on-failure", "Delay": 5, "MaxAttempts": 3, "Window": 7},
        "Runtime": "container", "LogDriver": {"Name": "none"},
        "Resources": {"Limits": {"NanoCPUs": 5, "MemoryBytes": 6}}},
        "EndpointSpec": {"Mode": "dnsrr", "Ports": [{"TargetPort": 80, "PublishMode": "host"}]},
        "UpdateConfig": {"Parallelism": 2, "Delay": 3, "MaxFailureRatio": 0.5},
        "Mode": {"Global": {}}}""",
    "a job": b'{"Name": "a", "TaskTemplate": {%s}, "Mode": {"ReplicatedJob": {}}}',
}


@pytest.mark.parametrize("written", SPECS.values(), ids=SPECS.keys())
def test_what_is_answered_means_what_was_asked(written: bytes) -> None:
    """A spec that comes back as it was shown calls for no task to be replaced."""
    asked = filled(msgspec.json.decode(written % CONTAINER, type=ServiceSpec), "a")
    shown = msgspec.json.encode(spec_to_wire(asked))
    back = filled(msgspec.json.decode(shown, type=ServiceSpec), "a")
    assert back.task_template == asked.task_template
    assert back.endpoint_spec == asked.endpoint_spec
    assert back.mode == asked.mode
