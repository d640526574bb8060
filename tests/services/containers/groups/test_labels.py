"""The labels of groups, and what they may not be."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from services.containers.groups.labels import (
    DEFAULT_INTENSITY,
    GROUP,
    INTENSITY,
    ORDER,
    STRATEGY,
    Membership,
    membership_of,
)
from services.containers.labels import check_labels
from services.errors import InvalidParameter
from supervisor.otp import Intensity, Strategy


def test_without_a_name_there_is_no_group() -> None:
    """And with one alone the rest is as in OTP, but for the intensity."""
    assert membership_of({"other": "label"}) is None
    assert membership_of({GROUP: "web"}) == Membership(
        group="web", strategy=Strategy.ONE_FOR_ONE, order=0, intensity=DEFAULT_INTENSITY
    )


def test_every_label_counts() -> None:
    """Strategy by OTP's name, a negative order, failures in a span."""
    labels = {GROUP: "web", STRATEGY: "rest_for_one", ORDER: "-3", INTENSITY: "2/1.5m"}
    assert membership_of(labels) == Membership(
        group="web",
        strategy=Strategy.REST_FOR_ONE,
        order=-3,
        intensity=Intensity(max_restarts=2, window_s=90.0),
    )


def test_the_compose_file_of_the_docs_is_one_group_in_order() -> None:
    """Its labels are what the engine takes, and say what its comment says."""
    path = Path(__file__).parents[4] / "docs" / "examples" / "groups.yaml"
    services = yaml.safe_load(path.read_text())["services"]
    places = {name: membership_of(service["labels"]) for name, service in services.items()}
    for service in services.values():
        check_labels(service["labels"])
    found = [(name, place.order) for name, place in places.items() if place is not None]
    assert found == [("db", 0), ("app", 1), ("web", 2)]
    assert {place.strategy for place in places.values() if place} == {Strategy.REST_FOR_ONE}


@pytest.mark.parametrize(
    "labels",
    [
        {GROUP: ""},
        {GROUP: "-x"},
        {GROUP: "a" * 200},
        {STRATEGY: "one_for_all"},
        {GROUP: "web", STRATEGY: "simple_one_for_one"},
        {GROUP: "web", ORDER: "1.5"},
        {GROUP: "web", ORDER: "9999999"},
        {GROUP: "web", INTENSITY: "5"},
        {GROUP: "web", INTENSITY: "5/0s"},
        {GROUP: "web", INTENSITY: "5/25h"},
        {GROUP: "web", INTENSITY: "-1/5s"},
    ],
)
def test_what_cannot_be_is_refused(labels: dict[str, str]) -> None:
    """With the label's name, when the container is made."""
    with pytest.raises(InvalidParameter, match=r"invalid label io\.wharfinger\.group"):
        membership_of(labels)
