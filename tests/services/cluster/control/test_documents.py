"""Secrets and configs."""

from __future__ import annotations

import re
from base64 import b64encode

import pytest

from services.cluster.control.documents import CONFIGS, SECRETS, Documents
from services.cluster.model.objects import Config, Secret
from services.cluster.model.specs import ConfigSpec, Driver, SecretSpec
from services.cluster.store.contract import OutOfSequence
from services.errors import Conflict, InvalidParameter, NotFound, NotSupported
from tests.services.cluster.objects import (
    config,
    container_spec,
    secret,
    service,
    store_of,
    with_config,
    with_secret,
)
from tests.support.memory_store import MemoryStore


def secrets(store: MemoryStore) -> Documents[Secret]:
    return Documents(store, SECRETS)


def configs(store: MemoryStore) -> Documents[Config]:
    return Documents(store, CONFIGS)


async def test_a_secret_is_kept_found_and_removed() -> None:
    """By name, by id, and by the beginning of an id."""
    store = store_of()
    made = await secrets(store).create(SecretSpec(name="key", data="AAEC"))
    for ref in ("key", made.id, made.id[:6]):
        assert secrets(store).get(ref).spec.data == "AAEC"
    await secrets(store).remove("key")
    with pytest.raises(NotFound, match=r"^secret key not found$"):
        secrets(store).get("key")


async def test_a_name_is_one_documents() -> None:
    """Also when another manager was quicker; a config may have a secret's name."""
    store = store_of(secret("key"))
    with pytest.raises(Conflict, match=r"secret key already exists$"):
        await secrets(store).create(SecretSpec(name="key", data="AAEC"))
    store.behind.append(secret("late"))
    with pytest.raises(Conflict, match=r"secret late already exists$"):
        await secrets(store).create(SecretSpec(name="late", data="AAEC"))
    await configs(store).create(ConfigSpec(name="key", data="AAEC"))


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (SecretSpec(data="AAEC"), "name must be provided"),
        (SecretSpec(name="-a", data="AAEC"), "invalid name, only 64"),
        (SecretSpec(name="a" * 65, data="AAEC"), "invalid name, only 64"),
        (SecretSpec(name="a"), "secret data must be larger than 0 and less than 512000 bytes"),
        (SecretSpec(name="a", data="%"), "illegal base64 data"),
        (
            SecretSpec(name="a", data=b64encode(b"x" * 512000).decode()),
            "secret data must be larger than 0",
        ),
        (
            ConfigSpec(name="a", data=b64encode(b"x" * 1024000).decode()),
            "config data must be larger than 0 and less than 1024000 bytes",
        ),
    ],
)
async def test_what_cannot_be_kept(spec: SecretSpec | ConfigSpec, text: str) -> None:
    """Refused with dockerd's words, and nothing is stored."""
    store = store_of()
    kind: Documents[Secret] | Documents[Config] = (
        secrets(store) if isinstance(spec, SecretSpec) else configs(store)
    )
    with pytest.raises(InvalidParameter, match=re.escape(text)):
        await kind.create(spec)
    assert store.commits == 0


async def test_secrets_of_plugins_are_refused() -> None:
    """There are no secret drivers."""
    with pytest.raises(NotSupported):
        await secrets(store_of()).create(SecretSpec(name="a", driver=Driver(name="vault")))


async def test_only_labels_change() -> None:
    """Data may be sent again if it is the same, and is kept when it is left out."""
    store = store_of(secret("key"))
    version = secrets(store).get("key").version
    await secrets(store).update("key", version, SecretSpec(name="key", labels={"a": "b"}))
    now = secrets(store).get("key")
    assert now.spec.labels == {"a": "b"}
    assert now.spec.data == "c2VjcmV0"
    await secrets(store).update("key", now.version, SecretSpec(name="key", data="c2VjcmV0"))
    now = secrets(store).get("key")
    for spec in (SecretSpec(name="key", data="AAEC"), SecretSpec(name="other")):
        with pytest.raises(InvalidParameter, match="only updates to Labels are allowed"):
            await secrets(store).update("key", now.version, spec)


async def test_an_update_of_what_has_changed_is_refused() -> None:
    """The version is the client's: neither an older one nor a newer one will do."""
    store = store_of(secret("key"), secret("other"))
    version = secrets(store).get("key").version
    spec = SecretSpec(name="key", labels={"a": "b"})
    store.behind.append(secret("key"))
    with pytest.raises(OutOfSequence, match="update out of sequence"):
        await secrets(store).update("key", version, spec)
    with pytest.raises(OutOfSequence, match="update out of sequence"):
        await secrets(store).update("key", version, spec)


async def test_what_services_use_stays() -> None:
    """All its users are named."""
    key, file = secret("key"), config("file")
    container = container_spec(secrets=[with_secret(key)], configs=[with_config(file)])
    store = store_of(key, file, service("web", container=container))
    with pytest.raises(InvalidParameter) as one:
        await secrets(store).remove("key")
    store.put(service("api", container=container))
    with pytest.raises(InvalidParameter) as two:
        await configs(store).remove("file")
    assert str(one.value).endswith("secret 'key' is in use by the following service: web")
    assert str(two.value).endswith("config 'file' is in use by the following services: api, web")


async def test_a_removal_is_decided_anew_when_it_was_outrun() -> None:
    """It is meant at any version."""
    store = store_of(secret("key"))
    store.behind.append(secret("key"))
    await secrets(store).remove("key")
    assert not store.snapshot().secrets


def test_filters() -> None:
    """Of name, names and id one must fit; of labels every one."""
    store = store_of(
        secret("abc", labels={"a": "1"}), secret("abd", labels={"a": "2"}), secret("x")
    )

    def names(**filters: tuple[str, ...]) -> list[str]:
        return [one.name for one in secrets(store).list(filters)]

    assert names() == ["abc", "abd", "x"]
    assert names(name=("ab",)) == ["abc", "abd"]
    assert names(names=("ab", "x")) == ["x"]
    assert names(id=("abd",), name=("x",)) == ["abd", "x"]
    assert names(label=("a",)) == ["abc", "abd"]
    assert names(label=("a=2",)) == ["abd"]
    with pytest.raises(InvalidParameter, match=r"^invalid filter 'color'$"):
        names(color=("red",))
