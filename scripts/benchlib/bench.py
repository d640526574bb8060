"""The place where lines are measured: folders, engines, images; and how much is measured."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .archives import write_archive
from .engines import Containerd, Engine, docker_archive, dockerd, unmount_below, wharfinger
from .results import Measure, Result, alternate

SHORT: Final = 20
"""Characters of a folder for temporary ones; below it lie sockets, whose paths have 107 bytes."""

IMAGE: Final = "busybox"
CREATE_BODY: Final = {
    "Image": IMAGE,
    "Cmd": ["sleep", "100000"],
    "HostConfig": {"NetworkMode": "none"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured; the smaller one shows that all works, and roughly how it stands."""

    rounds: int
    heavy_rounds: int  # of lines that take seconds a round
    few: int  # containers
    many: int
    stopped: int  # of a start over many
    starts: int  # at once
    stream_bytes: int
    image_bytes: int
    requests_s: float  # how long requests are counted


FULL: Final = Scale(
    rounds=15,
    heavy_rounds=5,
    few=100,
    many=1000,
    stopped=2000,
    starts=300,
    stream_bytes=200_000_000,
    image_bytes=300_000_000,
    requests_s=1.0,
)
QUICK: Final = Scale(
    rounds=3,
    heavy_rounds=1,
    few=10,
    many=50,
    stopped=100,
    starts=20,
    stream_bytes=20_000_000,
    image_bytes=30_000_000,
    requests_s=0.2,
)


Maker = Callable[[Path], Engine | None]
BOTH: Final[Mapping[str, Maker]] = {"wharfinger": wharfinger, "dockerd": dockerd}


class Bench:
    """Running engines, and what the lines share.

    Attributes:
        engines: by name; ours first, dockerd when it is installed.
        skipped: why a contender or a line is missing from the results.
    """

    def __init__(self, folder: Path, scale: Scale, makers: Mapping[str, Maker]) -> None:
        self.folder = folder
        self.scale = scale
        self._makers = makers
        self.containerd = Containerd(folder)
        self.engines: dict[str, Engine] = {}
        self.skipped: dict[str, str] = {}

    def start(self) -> None:
        """Start containerd and the engines, and give each the image."""
        self.containerd.start()
        archive = docker_archive(self.folder / "busybox.tar")
        self.containerd.load(archive)
        for name, make in self._makers.items():
            engine = make(self.folder / name)
            if engine is None:
                self.skipped[name] = "not installed"
                continue
            self.engines[name] = engine
            engine.start_timed()
            with engine.connect() as connection:
                connection.upload("/images/load?quiet=1", archive.read_bytes())

    def stop(self) -> None:
        """End everything, whatever state it is in."""
        for engine in self.engines.values():
            engine.remove_containers()
            engine.stop()
        self.containerd.stop()

    def compare(
        self,
        name: str,
        title: str,
        unit: str,
        measure: Callable[[Engine], float],
        *,
        rounds: int | None = None,
        more_is_better: bool = False,
        aims: Mapping[str, float] | None = None,
        also: Mapping[str, Measure] | None = None,
    ) -> Result:
        """Let every engine, and the contenders in `also`, take turns."""
        contenders: dict[str, Measure] = {
            who: lambda engine=engine: measure(engine)  # type: ignore[misc]
            for who, engine in self.engines.items()
        }
        figures = alternate(rounds or self.scale.rounds, {**contenders, **(also or {})})
        return Result(
            name=name,
            title=title,
            unit=unit,
            figures=figures,
            more_is_better=more_is_better,
            aims=aims if aims is not None else {"dockerd": 1.0},
        )

    def ensure_created(self, engine: Engine, count: int) -> None:
        """Have at least `count` containers, made through the API."""
        with engine.connect() as connection:
            have = len(connection.call("GET", "/containers/json?all=1"))
            for _ in range(count - have):
                connection.call("POST", "/containers/create", CREATE_BODY)

    def start_all(self, engine: Engine) -> None:
        """Start every container that there is."""
        with engine.connect() as connection:
            for container in connection.call("GET", "/containers/json?all=1"):
                connection.call("POST", f"/containers/{container['Id']}/start")

    @contextmanager
    def sleeping(self) -> Iterator[None]:
        """Each engine has a running container of the name `sleeper` within the block."""
        with ExitStack() as running:
            for engine in self.engines.values():
                engine.docker(
                    *("run", "-d", "--name", "sleeper", "--network", "none"),
                    *(IMAGE, "sleep", "100000"),
                )
                running.callback(engine.docker, "rm", "-f", "sleeper")
            yield

    def fresh_archive(self, name: str) -> Path:
        """A docker-archive of `name:1` that nobody has seen, half of it noise."""
        path = self.folder / f"{name}.tar"
        write_archive(path, f"{name}:1", self.scale.image_bytes)
        return path


@contextmanager
def running_bench(scale: Scale, makers: Mapping[str, Maker] = BOTH) -> Iterator[Bench]:
    """A bench with the engines wanted, on folders of its own; nothing is left of it afterwards."""
    place = tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="wb", dir=place if len(place) <= SHORT else "/tmp"))
    bench = Bench(folder, scale, makers)
    try:
        bench.start()
        yield bench
    finally:
        bench.stop()
        time.sleep(0.5)  # shims are the last to let go
        unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)
