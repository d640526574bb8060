"""What rmi takes away: every rule of dockerd's, without I/O."""

from __future__ import annotations

import pytest

from services.errors import Conflict
from services.images.catalog import find
from services.images.model import Image, ImageUse
from services.images.removal import Removal, plan_removal
from tests.services.images.samples import catalog, id_of, image

LATEST = "docker.io/library/busybox:latest"
OLD = "docker.io/library/busybox:old"
ELSEWHERE = "localhost:5000/busybox:latest"
DIGEST = f"docker.io/library/busybox@{id_of('aaaa')}"
RUNNING = ImageUse(container_id="r" * 64, is_running=True)
STOPPED = ImageUse(container_id="s" * 64, is_running=False)
SHORT = "aaaa00000000"


def plan(subject: Image, text: str, *uses: ImageUse, force: bool = False) -> Removal:
    return plan_removal(find(catalog(subject), text), uses, force=force)


def names(removal: Removal) -> list[str]:
    return [name.text for name in removal.names]


def test_one_name_of_several_goes_alone() -> None:
    """While other names keep the image, a name goes without a question, whoever uses the image."""
    removal = plan(image("aaaa", LATEST, OLD), "busybox", RUNNING)
    assert (names(removal), removal.deletes_image) == ([LATEST], False)


def test_last_name_takes_the_image() -> None:
    """With its last name an unused image goes."""
    removal = plan(image("aaaa", LATEST), "busybox")
    assert (names(removal), removal.deletes_image) == ([LATEST], True)


def test_digest_of_the_repository_goes_with_its_last_tag() -> None:
    """A name at a digest is the same name, unless another tag of the repository is left."""
    assert plan(image("aaaa", LATEST, DIGEST), "busybox").deletes_image
    assert names(plan(image("aaaa", LATEST, OLD, DIGEST), "busybox")) == [LATEST]


@pytest.mark.parametrize("use", [RUNNING, STOPPED])
def test_last_name_of_an_image_in_use(use: ImageUse) -> None:
    """It is refused; forced, the image stays for the container, without a name."""
    with pytest.raises(Conflict) as refusal:
        plan(image("aaaa", LATEST), "busybox", use)
    assert str(refusal.value) == (
        "conflict: unable to delete busybox:latest (must be forced) - container "
        f"{use.container_id[:12]} is using its referenced image {SHORT}"
    )
    removal = plan(image("aaaa", LATEST), "busybox", use, force=True)
    assert (removal.deletes_image, removal.keeps_dangling) == (False, True)


def test_by_id_with_one_name() -> None:
    """An ID takes the image with its only name."""
    assert plan(image("aaaa", LATEST), "aaaa").deletes_image
    assert plan(image("aaaa", LATEST, DIGEST), "aaaa").deletes_image


@pytest.mark.parametrize("other", [OLD, ELSEWHERE])
def test_by_id_with_several_names(other: str) -> None:
    """An ID does not take several names, unless forced."""
    with pytest.raises(Conflict) as refusal:
        plan(image("aaaa", LATEST, other), "aaaa")
    assert str(refusal.value) == (
        f"conflict: unable to delete {SHORT} (must be forced) - image is referenced in "
        "multiple repositories"
    )
    removal = plan(image("aaaa", LATEST, other), "aaaa", force=True)
    assert (set(names(removal)), removal.deletes_image) == ({LATEST, other}, True)


def test_by_id_in_use() -> None:
    """A stopped container must be overruled; a running one cannot be."""
    with pytest.raises(Conflict) as refusal:
        plan(image("aaaa", LATEST), "aaaa", STOPPED)
    assert str(refusal.value) == (
        f"conflict: unable to delete {SHORT} (must be forced) - image is being used by "
        f"stopped container {'s' * 12}"
    )
    assert plan(image("aaaa", LATEST), "aaaa", STOPPED, force=True).deletes_image
    with pytest.raises(Conflict) as refusal:
        plan(image("aaaa", LATEST), "aaaa", STOPPED, RUNNING, force=True)
    assert str(refusal.value) == (
        f"conflict: unable to delete {SHORT} (cannot be forced) - image is being used by "
        f"running container {'r' * 12}"
    )


def test_dangling_image() -> None:
    """An image without a name goes by its ID; its keeper is no name to tell of."""
    removal = plan(image("aaaa", f"moby-dangling@{id_of('aaaa')}"), "aaaa")
    assert removal.deletes_image
    assert len(removal.answer(id_of("aaaa"))) == 1
