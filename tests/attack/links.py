"""Links that lead out of a root, in every place of a path where one can stand."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.attack.ground import GREEDY, LOOK, Attempt, Ground, Result
from tests.support.fixtures import USER, host_volume

Target = Callable[[Path, Path], str | Path]
"""The directory in which a link stands, and the canary's path, to what the link says."""


@dataclass(frozen=True)
class Link:
    """A link and the volume that asks for it: `path` continues host.path, both below the link's directory."""

    target: Target
    path: str = "link"
    sub_path: str = ""
    read_only: bool = False
    script: str = GREEDY


def _to_canary(_: Path, canary: Path) -> Path:
    return canary


def _below_canary(name: str) -> Target:
    return lambda _, canary: canary / name


WAYS_TO_ASK: Mapping[str, tuple[str, str]] = {
    "path": ("link", ""),
    "path-middle": ("link/deeper", ""),
    "path-deep-middle": ("link/deeper/deepest", ""),
    "sub-path": ("", "link"),
    "sub-path-middle": ("", "link/deeper"),
    "path-and-sub-path": ("link", "deeper"),
    "missing": ("link/missing", ""),
    "missing-deep": ("link/missing/below", ""),
    "missing-sub-path": ("", "link/missing"),
}
"""Name to what follows the link's directory in host.path, and the subPath."""

TARGETS: Mapping[str, Target] = {
    "relative": lambda place, canary: os.path.relpath(canary, place),
    "the-parent-of-the-root": lambda *_: "../..",
    "dots-from-the-root": lambda place, _: f"{place}/../../outside",
    "proc-self-root": lambda _, canary: f"/proc/self/root{canary}",
    "proc-1-root": lambda _, canary: f"/proc/1/root{canary}",
    "proc-thread-self-root": lambda _, canary: f"/proc/thread-self/root{canary}",
    "another-link": lambda *_: "second",
    "thirty-links": lambda *_: "chain-0",
    "itself": lambda *_: "link",
    "a-file": _below_canary("secret.txt"),
    "a-fifo": _below_canary("fifo"),
    "a-socket": _below_canary("socket"),
    "a-link-outside": _below_canary("to-a-file"),
    "nothing-in-the-canary": _below_canary("not-there"),
    "nothing-deep-in-the-canary": _below_canary("not/there"),
    "nothing-next-to-the-root": lambda _, canary: canary.parent / "not-there",
}

BEYOND: Mapping[str, Target] = {
    "the-host": lambda *_: "/",
    "the-root-of-a-process": lambda *_: "/proc/1/root",
    "the-directory-of-the-kubelet": lambda *_: "/proc/self/cwd",
    "a-descriptor-of-the-kubelet": lambda *_: "/proc/self/fd/0",
    "a-device": lambda *_: "/dev/null",
}
"""Where no attack may change anything, should it succeed."""

LINKS: Mapping[str, Link] = {
    **{name: Link(_to_canary, *asked) for name, asked in WAYS_TO_ASK.items()},
    **{f"{name}-ro": Link(_to_canary, *asked, read_only=True) for name, asked in WAYS_TO_ASK.items()},
    **{f"to-{name}": Link(target) for name, target in TARGETS.items()},
    **{f"to-{name}": Link(target, read_only=True, script=LOOK) for name, target in BEYOND.items()},
}


def prepare(ground: Ground, links: Mapping[str, Link]) -> None:
    """Make the links, each in a directory of its own below the root, as whoever may write there could."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(ground.canary.path / "socket"))
    for name, link in links.items():
        place = ground.root / name
        place.mkdir()
        (place / "link").symlink_to(link.target(place, ground.canary.path))
        (place / "second").symlink_to("third")
        (place / "third").symlink_to(ground.canary.path)
        for number in range(29):
            (place / f"chain-{number}").symlink_to(f"chain-{number + 1}")
        (place / "chain-29").symlink_to(ground.canary.path)
        for each in (place, *place.iterdir()):
            os.chown(each, USER, USER, follow_symlinks=False)


def follow(ground: Ground, links: Mapping[str, Link] = LINKS) -> Result:
    """A Sandbox for every link, which mounts what the link leads to."""
    prepare(ground, links)
    ground.begin()
    return ground.attack(
        {
            name: Attempt(
                (host_volume(ground.root / name / link.path, readOnly=link.read_only, **_sub_path(link)),), link.script
            )
            for name, link in links.items()
        }
    )


def _sub_path(link: Link) -> dict[str, str]:
    return {"subPath": link.sub_path} if link.sub_path else {}
