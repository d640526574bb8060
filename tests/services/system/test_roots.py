"""services.system.roots: what is asked of which kernel."""

from __future__ import annotations

import pytest

from services.system.roots import takes_layers_singly


@pytest.mark.parametrize(
    ("release", "knows"),
    [
        ("6.1.0-50-cloud-amd64", False),
        ("6.6.99", False),
        ("6.7.0", True),
        ("6.12-rc1", True),
        ("7.0", True),
        ("5.15.0-generic", False),
        ("unknown", False),
    ],
)
def test_layers_are_given_as_the_kernel_knows_them(release: str, knows: bool) -> None:
    """Each by itself since 6.7; an older one would complain in its log at each mount."""
    assert takes_layers_singly(release) is knows
