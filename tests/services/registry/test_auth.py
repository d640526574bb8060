"""Registries that want to know who asks: passwords and tokens, over TLS; mirrors and proxies."""

from __future__ import annotations

import ipaddress
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.errors import EngineError, NotFound, Unauthorized
from services.images.reference import parse_reference
from services.registry import Credentials, ProxySettings, SearchRequest
from services.registry.errors import RegistryError
from tests.services.registry.conftest import open_scene, put_plain
from tests.support.broken_http import Fault, FaultProxy, fault_proxy
from tests.support.certificates import make_certificates
from tests.support.registry import PASSWORD, USER, TestRegistry, running_registry
from tests.support.tokens import REFRESH_TOKEN, TokenServer, token_server

pytestmark = pytest.mark.engine

GOOD = Credentials(username=USER, password=PASSWORD)
BAD = Credentials(username=USER, password="wrong")
ELSEWHERE = "127.9.8.7"  # loopback to the machine, but not to a registry's settings here
SECURE = (ipaddress.ip_network("127.0.0.0/16"),)
"""What counts as insecure when ELSEWHERE must not."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `make_certificates`."""
    return make_certificates(tmp_path_factory.mktemp("certificates"), ELSEWHERE)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[TestRegistry]:
    """A registry with TLS and passwords, which is not on an insecure network."""
    pair = (certificates / "server-cert.pem", certificates / "server-key.pem")
    folder = tmp_path_factory.mktemp("locked")
    with running_registry(folder, address=ELSEWHERE, certificate=pair, passwords=True) as registry:
        registry.authorization = "Basic dGVzdGVyOnNlY3JldA=="
        put_plain(registry, "mine", 60)
        yield registry


@pytest.fixture
def certs_dir(tmp_path: Path, locked: TestRegistry, certificates: Path) -> Path:
    """A folder of certificates that vouches for the registry."""
    folder = tmp_path / "certs.d" / locked.host
    folder.mkdir(parents=True)
    shutil.copy(certificates / "ca.pem", folder / "ca.crt")
    return tmp_path / "certs.d"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    """Who issues tokens."""
    with token_server(tmp_path_factory.mktemp("tokens")) as server:
        yield server


@pytest.fixture(scope="module")
def tokened(
    tmp_path_factory: pytest.TempPathFactory, tokens: TokenServer
) -> Iterator[TestRegistry]:
    """A registry that takes tokens."""
    with running_registry(tmp_path_factory.mktemp("tokened"), tokens=tokens.auth) as registry:
        yield registry


async def test_passwords_over_tls(
    containerd_address: Path, locked: TestRegistry, certs_dir: Path
) -> None:
    """Login, pull and push with the right password; with another one, or none, dockerd's words."""
    name = f"{locked.host}/mine:1"
    settings = {"certs_dirs": (certs_dir,), "insecure_networks": SECURE}
    async with open_scene(containerd_address, **settings) as scene:
        where = Credentials(username=USER, password=PASSWORD, server_address=locked.host)
        assert (await scene.registry.login(where)).identity_token == ""
        await scene.pull(name, GOOD)
        await scene.engine.images.tag(name, f"{locked.host}/mine/too:1")
        await scene.push(f"{locked.host}/mine/too:1", GOOD)
        found = await scene.registry.inspect(parse_reference(name), GOOD)
        assert [platform.architecture for platform in found.platforms] == ["amd64"]
        wrong = Credentials(username=USER, password="wrong", server_address=locked.url)
        with pytest.raises(Unauthorized, match="unauthorized: authentication required"):
            await scene.registry.login(wrong)
        with pytest.raises(RegistryError, match="unauthorized: authentication required"):
            await scene.pull(name, BAD)
        with pytest.raises(EngineError, match="no basic auth credentials"):
            await scene.pull(name)
        with pytest.raises(EngineError, match="no basic auth credentials"):
            await scene.push(f"{locked.host}/mine/too:1")
        with pytest.raises(Unauthorized):
            await scene.registry.inspect(parse_reference(name), BAD)


async def test_certificates_are_looked_at(
    containerd_address: Path, locked: TestRegistry, tmp_path: Path, certificates: Path
) -> None:
    """A CA that nobody knows is refused; by network or by name, anything is let pass."""
    name = f"{locked.host}/mine:1"
    async with open_scene(containerd_address, insecure_networks=SECURE) as scene:
        with pytest.raises(EngineError, match="x509: certificate signed by unknown authority"):
            await scene.pull(name, GOOD)
        scene.use(insecure_networks=(ipaddress.ip_network(f"{ELSEWHERE}/32"),))
        await scene.pull(name, GOOD)
        scene.use(insecure_networks=(), insecure_hosts=frozenset({locked.host}))
        await scene.pull(name, GOOD)
        folder = tmp_path / "certs.d" / locked.host
        folder.mkdir(parents=True)
        shutil.copy(certificates / "client-cert.pem", folder / "client.cert")
        scene.use(certs_dirs=(tmp_path / "certs.d",))
        with pytest.raises(EngineError, match=r"missing key client\.key for client certificate"):
            await scene.pull(name, GOOD)


async def test_client_certificates(
    containerd_address: Path, certificates: Path, tmp_path: Path
) -> None:
    """A registry that wants one gets the one of its folder."""
    pair = (certificates / "server-cert.pem", certificates / "server-key.pem")
    with running_registry(
        tmp_path / "r",
        address=ELSEWHERE,
        certificate=pair,
        client_ca=certificates / "ca.pem",
    ) as registry:
        folder = tmp_path / "certs.d" / registry.host
        folder.mkdir(parents=True)
        shutil.copy(certificates / "ca.pem", folder / "ca.crt")
        settings = {"certs_dirs": (folder.parent,), "insecure_networks": SECURE}
        async with open_scene(containerd_address, **settings) as scene:
            with pytest.raises(EngineError, match=r"tls|EOF|reset"):
                await scene.pull(f"{registry.host}/x:1")
            shutil.copy(certificates / "client-cert.pem", folder / "client.cert")
            shutil.copy(certificates / "client-key.pem", folder / "client.key")
            with pytest.raises(NotFound, match="manifest unknown"):
                await scene.pull(f"{registry.host}/x:1")


async def test_tokens(
    containerd_address: Path,
    open_registry: TestRegistry,
    tokens: TokenServer,
    tokened: TestRegistry,
) -> None:
    """Tokens with the scopes of what is done; a login gets one to keep, which works alone."""
    put_plain(open_registry, "tokens", 61)
    mine = f"{tokened.host}/tokens/mine"
    async with open_scene(containerd_address) as scene:
        await scene.pull(f"{open_registry.host}/tokens:1")
        await scene.engine.images.tag(f"{open_registry.host}/tokens:1", f"{mine}:1")
        tokens.asked.clear()
        await scene.push(f"{mine}:1", GOOD)
        assert {asked["scope"] for asked in tokens.asked} == {"repository:tokens/mine:pull,push"}
        await scene.engine.images.tag(f"{mine}:1", f"{mine}/too:1")
        assert "Mounted from tokens/mine" in await scene.push(f"{mine}/too:1", GOOD)
        login = await scene.registry.login(
            Credentials(username=USER, password=PASSWORD, server_address=tokened.host)
        )
        assert login.identity_token == REFRESH_TOKEN
        await scene.pull(f"{mine}/too:1", Credentials(identity_token=REFRESH_TOKEN))
        with pytest.raises(Unauthorized, match="unauthorized: incorrect username or password"):
            await scene.registry.login(
                Credentials(username=USER, password="wrong", server_address=tokened.host)
            )
        with pytest.raises(RegistryError, match="incorrect username or password"):
            await scene.pull(f"{mine}:1")
        # A token that does not hold what it was asked for.
        await scene.engine.images.tag(f"{mine}:1", f"{tokened.host}/no/thing:1")
        with pytest.raises(EngineError, match=r"^(denied|unauthorized): "):
            await scene.push(f"{tokened.host}/no/thing:1", GOOD)


async def test_a_token_that_ran_out_is_replaced(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy
) -> None:
    """A 401 in the middle asks for another token and goes on."""
    put_plain(open_registry, "expires", 62)
    with fault_proxy("127.0.0.1:1") as issuer:
        issuer.judge = lambda _seen, before: Fault(
            status=200, body=b'{"token":"%d","expires_in":300}' % before
        )
        wanted = {"WWW-Authenticate": f'Bearer realm="http://{issuer.host}/t",service="s"'}

        def judge(seen: object, _before: int) -> Fault | None:
            header = getattr(seen, "headers", {}).get("authorization", "")
            is_old = header == "Bearer 0" and getattr(seen, "is_layer", False)
            return Fault(status=401, headers=wanted) if not header or is_old else None

        faulty.judge = judge
        async with open_scene(containerd_address) as scene:
            await scene.pull(f"{faulty.host}/expires:1")
        assert len(issuer.seen) == 2


async def test_passwords_are_not_sent_in_the_clear(
    containerd_address: Path, locked: TestRegistry, faulty: FaultProxy
) -> None:
    """A registry that is not insecure cannot have them sent to a server that is plain."""
    realm = f"http://{ELSEWHERE}:1/token"
    challenge = {"WWW-Authenticate": f'Bearer realm="{realm}"'}
    faulty.judge = lambda _seen, _before: Fault(status=401, headers=challenge)
    async with open_scene(containerd_address, insecure_networks=SECURE) as scene:
        with pytest.raises(
            EngineError, match=r"credentials are not sent to .*: it is not encrypted"
        ):
            await scene.pull(f"{faulty.host}/x:1", GOOD)


async def test_mirrors(
    containerd_address: Path, open_registry: TestRegistry, faulty: FaultProxy
) -> None:
    """Images of docker.io come from the mirror, without the credentials; the next one steps in."""
    put_plain(open_registry, "library/mirrored", 63)
    mirrors = ("http://127.0.0.1:1/", f"http://{faulty.host}/")
    async with open_scene(containerd_address, mirrors=mirrors) as scene:
        told = await scene.pull("mirrored:1", GOOD)
        assert told.endswith("Status: Downloaded newer image for mirrored:1")
        assert all("authorization" not in seen.headers for seen in faulty.seen)
        (image,) = await scene.engine.images.list()
        assert image.repo_tags == ("mirrored:1",)


async def test_proxies(
    containerd_address: Path, open_registry: TestRegistry, tmp_path: Path
) -> None:
    """A registry that is not on loopback is reached through the proxy, unless it is excepted."""
    put_plain(open_registry, "proxied", 64)
    name = "registry.test:5000/proxied:1"
    with fault_proxy(open_registry.host) as proxy:
        settings = {
            "insecure_hosts": frozenset({"registry.test:5000"}),
            "proxies": ProxySettings(http_proxy=f"http://{proxy.host}"),
        }
        async with open_scene(containerd_address, **settings) as scene:
            proxy.rewrite = {"registry.test:5000": open_registry.host}
            await scene.pull(name)
            assert all(s.path.startswith("http://registry.test:5000/v2/") for s in proxy.seen)
            scene.use(
                proxies=ProxySettings(http_proxy=f"http://{proxy.host}", no_proxy=".test:5000")
            )
            with pytest.raises(EngineError, match="no such host"):
                await scene.pull(name)


async def test_search(containerd_address: Path, faulty: FaultProxy) -> None:
    """What the index of a host says, as far as it passes the filters."""
    results = (
        b'{"results":[{"name":"a/b","description":"d","star_count":5,"is_official":false},'
        b'{"name":"b","star_count":9,"is_official":true}]}'
    )
    faulty.judge = lambda _seen, _before: Fault(status=200, body=results)
    async with open_scene(containerd_address) as scene:
        both = await scene.registry.search(SearchRequest(term=f"{faulty.host}/some/b", limit=7))
        official = await scene.registry.search(
            SearchRequest(term=f"{faulty.host}/b", is_official=True, least_stars=6)
        )
        faulty.judge = lambda _seen, _before: Fault(status=404)
        with pytest.raises(EngineError, match="Unexpected status code 404"):
            await scene.registry.search(SearchRequest(term=f"{faulty.host}/b"))
    assert [one.name for one in both] == ["a/b", "b"]
    assert [one.name for one in official] == ["b"]
    assert faulty.seen[0].path == "/v1/search?q=some%2Fb&n=7"
