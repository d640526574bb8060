"""The observer's page in headless Chromium: what crashes is seen, and that it comes back."""

from __future__ import annotations

import json
import shutil
import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.engine.many import COUNTER, facts, run
from tests.support.crashable import CrashableDaemon, crashable_daemon
from tests.support.daemon import wait_until

if TYPE_CHECKING:
    from selenium.webdriver.remote.webelement import WebElement

pytestmark = [pytest.mark.engine]

FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1500,1000",
)


class Page:
    """The page in a browser."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self) -> None:
        """Load it anew, and wait until it lives."""
        self.driver.get(self.url)
        wait_until(lambda: self.one("#link").text == "live", "the page is connected")
        self.until(lambda: self.part("root/store/database"))

    def one(self, selector: str) -> WebElement:
        found: WebElement = self.driver.find_element("css selector", selector)
        return found

    def all(self, selector: str) -> list[WebElement]:
        found: list[WebElement] = self.driver.find_elements("css selector", selector)
        return found

    def part(self, path: str) -> WebElement | None:
        found = self.all(f'.node[data-path="{path}"]')
        return found[0] if found else None

    def until(self, holds: Callable[[], object]) -> None:
        """Wait for it; what is drawn anew meanwhile is looked for again."""
        from selenium.common.exceptions import StaleElementReferenceException

        def looked() -> object:
            try:
                return holds()
            except StaleElementReferenceException:
                return False

        wait_until(looked, "the page shows it", pause_s=0.05)

    def press(self, keys: str) -> None:
        self.driver.switch_to.active_element.send_keys(keys)

    def text(self, selector: str) -> str:
        return " ".join(element.text for element in self.all(selector))


@pytest.fixture(scope="module")
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found: int = server.getsockname()[1]
        return found


@pytest.fixture(scope="module")
def daemon(port: int) -> Iterator[CrashableDaemon]:
    """One with a container that counts."""
    with crashable_daemon("--observer-addr", f"127.0.0.1:{port}") as crashable:
        run(crashable, "one", COUNTER)
        yield crashable


@pytest.fixture(scope="module")
def page(
    daemon: CrashableDaemon, port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """The page in a browser of its own."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile: Path = tmp_path_factory.mktemp("chromium")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    try:
        opened = Page(driver, f"http://127.0.0.1:{port}/")
        opened.open()
        yield opened
        # Neither scripts nor the policy of the page have had anything to complain of. Bridges that
        # other tests make have Chromium break connections off; the page comes back from that.
        said = [entry["message"] for entry in driver.get_log("browser")]
        assert [text for text in said if "net::ERR_NETWORK_CHANGED" not in text] == []
    finally:
        driver.quit()


def test_the_tree_is_drawn(page: Page, daemon: CrashableDaemon) -> None:
    """Every part of it, with containers as leaves under their names."""
    one = facts(daemon, "one").id
    own = {path for path in daemon.tree() if f"{one}/" not in path}
    assert {element.get_attribute("data-path") for element in page.all(".node")} == own
    container = page.part(f"root/engine/containers/running/{one}")
    assert container is not None
    assert container.text == "one"
    assert "is-container" in (container.get_attribute("class") or "")
    assert page.text("#fact-containers") == "1"


def test_a_crash_lights_up_and_opens(page: Page, daemon: CrashableDaemon) -> None:
    """The part, its report with the traceback, the recovery, and all of it in the list."""
    path = "root/engine/volumes"

    def attribute(name: str) -> str:
        return page.one(f'.node[data-path="{path}"]').get_attribute(name) or ""

    crashes = int(page.text("#fact-crashes"))
    daemon.crash(path)
    page.until(lambda: "is-late-crash" in attribute("class"))
    page.until(lambda: "Injected: thrown by a test" in page.text("#panel .crash .error"))
    traceback = page.one("#panel pre").get_attribute("textContent") or ""
    assert "Traceback (most recent call last)" in traceback
    page.until(lambda: attribute("data-state") == "running")
    page.until(lambda: "1 restart" in attribute("aria-label"))
    page.until(lambda: page.text("#fact-crashes") == str(crashes + 1))
    feed = [line.text for line in page.all("#feed li")][:2]
    assert "recovered" in feed[0]
    assert "crashed" in feed[1]
    assert "engine/volumes" in feed[1]
    page.press("\ue00c")  # Escape
    page.until(lambda: not page.one("#panel").is_displayed())


def test_a_restart_asks_first(page: Page, daemon: CrashableDaemon) -> None:
    """By keys alone: down to a part, r, and a question whose first answer is no."""
    path = "root/containerd/connection"
    restarts = daemon.tree()[path][1]
    page.driver.execute_script(f"document.querySelector('.node[data-path=\"{path}\"]').focus()")
    page.press("r")
    page.until(lambda: page.one("#confirm").is_displayed())
    assert "Restart connection?" in page.text("#confirm")
    assert "Calls to containerd that are under way fail" in page.text("#confirm")
    page.press("\ue007")  # Enter: the button that leaves it
    page.until(lambda: not page.one("#confirm").is_displayed())
    assert daemon.tree()[path][1] == restarts
    page.driver.execute_script(f"document.querySelector('.node[data-path=\"{path}\"]').focus()")
    page.press("r")
    page.until(lambda: page.one("#confirm").is_displayed())
    page.one("#confirm .danger").click()
    wait_until(lambda: daemon.tree()[path] == ("running", restarts + 1), "it was restarted")
    page.until(lambda: "restart asked for" in page.text("#feed"))


def test_the_keyboard_moves_in_the_tree(page: Page) -> None:
    """Arrows move, Enter shows, Escape closes."""
    page.driver.execute_script("document.querySelector('.node[data-path=\"root\"]').focus()")
    page.press("\ue014")  # right
    moved = page.driver.switch_to.active_element.get_attribute("data-path")
    assert moved.startswith("root/")
    page.press("\ue007")
    page.until(lambda: moved in page.text("#panel .path"))
    page.press("\ue00c")
    page.until(lambda: not page.one("#panel").is_displayed())


def test_a_container_is_shown(page: Page, daemon: CrashableDaemon) -> None:
    """Its log as it grows, what it uses as plots, what watches over it."""
    one = facts(daemon, "one").id
    page.one(f'.node[data-path="root/engine/containers/running/{one}"]').click()
    page.until(lambda: len(page.all("#panel .log li")) > 20)
    lines = [int(line.text.split()[-1]) for line in page.all("#panel .log li")[:10]]
    assert lines == list(range(lines[0], lines[0] + 10))
    page.until(lambda: len(page.all("#panel .plots canvas")) == 4)
    page.until(lambda: "%" in page.text("#panel .plots em"))
    page.until(lambda: {"pump", "task"} <= set(page.text("#panel .below").split()))
    page.press("\ue00c")


def test_a_container_that_keeps_failing_is_seen(page: Page, daemon: CrashableDaemon) -> None:
    """What watches over it is well all the while: it is the container that waits."""
    body = {
        "Image": "busybox",
        "Cmd": ["false"],
        "Labels": {"io.wharfinger.restart.first": "1h"},
        "HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "always"}},
    }
    made = daemon.http("POST", "/containers/create?name=failing", body)
    assert made.status == 201, made
    path = f"root/engine/containers/running/{made.json()['Id']}"
    assert daemon.http("POST", "/containers/failing/start").status == 204

    def shown() -> str | None:
        found = page.part(path)
        return found.get_attribute("data-state") if found is not None else None

    page.until(lambda: shown() == "restarting")
    assert "restarting" in (page.one(f'.node[data-path="{path}"]').get_attribute("title") or "")
    assert daemon.http("DELETE", "/containers/failing?force=1").status == 204
    page.until(lambda: shown() is None)


def test_dark_and_light(page: Page) -> None:
    """As the system has it, until somebody chooses."""

    def ground() -> str:
        colour: str = page.driver.execute_script(
            "return getComputedStyle(document.body).backgroundColor"
        )
        return colour

    before = ground()
    page.press("t")
    assert ground() != before
    page.driver.refresh()
    page.until(lambda: page.one("#link").text == "live")
    assert ground() != before
    page.press("t")
    assert ground() == before


def test_it_comes_back_with_the_engine(page: Page, daemon: CrashableDaemon) -> None:
    """The page says that the engine is away, and goes on with the next one."""
    daemon.kill()
    page.until(lambda: page.one("#link").text != "live")
    daemon.start()
    page.until(lambda: page.one("#link").text == "live")
    page.until(lambda: "another engine answers now" in page.text("#feed"))
    page.until(lambda: page.text("#fact-containers") == "1")
    page.driver.get_log("browser")  # that nobody was there is no complaint of ours


def test_another_sites_page_gets_nothing(page: Page) -> None:
    """It can neither read nor restart; nor may it show the page in a frame."""
    script = """
        const done = arguments[1], base = arguments[0] + "wharfinger/v1";
        const restart = base + "/parts/root/engine/images/restart";
        const tried = [
            fetch(base + "/tree").then((r) => r.text()),
            fetch(restart, {method: "POST"}).then((r) => r.text()),
            fetch(restart, {method: "POST", headers: {"X-Wharfinger": "x"}}).then((r) => r.text()),
        ];
        Promise.allSettled(tried).then((all) => done(all.map((one) => one.status)));
    """
    page.driver.get("data:text/html,<title>another site</title>")
    assert page.driver.execute_async_script(script, page.url) == ["rejected"] * 3
    page.driver.get_log("browser")
    page.open()
    feed = page.text("#feed")
    assert "images" not in feed


def test_the_page_is_what_its_policy_says(port: int) -> None:
    """No script and no style but files of its own; nothing from elsewhere."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/wharfinger/", timeout=10) as answer:
        html = answer.read().decode()
        policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "://" not in html
    assert " style=" not in html
    assert "<script>" not in html
    assert json.dumps(html).count("onclick") == 0
