"""What is looked at all the time: every version of every Sandbox and Pod, in the order in which etcd wrote them.

A resource version is etcd's revision, so it also tells which list was in force when a Pod was made. What was seen is
judged afterwards, at a quiet time, so that it does not matter which watch was faster.
"""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.statemachine.client import PODS, SANDBOXES, Api, Door, watch
from tests.statemachine.lists import Listing, Mount
from tests.statemachine.model import LABEL_UID, mounts_of
from tests.support import Json

RECENT_SECONDS = 60.0
"""For so long before a Pod was made the list that allowed it may have been replaced."""


@dataclass
class Life:
    """From when to when a Pod was there, in revisions."""

    name: str
    sandbox: str
    mounts: frozenset[Mount]
    made: int
    ended: int | None = None
    """When it had run to its end, or was gone."""


@dataclass
class Told:
    """Since when a Sandbox says something that has consequences, in revisions."""

    finished: int | None = None
    reason: str = ""
    paused: list[int] = field(default_factory=list)


class Watcher:
    """Two watches in threads, and what they have seen of our namespace."""

    def __init__(self, door: Door, api: Api, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._connections: list[http.client.HTTPSConnection] = []
        self._lists: list[tuple[int, float, Listing]] = []
        self._closing = False
        self._judged = 0
        self._paused_now: set[str] = set()
        self.lives: dict[str, Life] = {}
        self.told: dict[str, Told] = {}
        self.broken: list[str] = []
        """Rules that were seen to be broken."""
        self.doubtful: set[str] = set()
        """uids of Pods that the list in force at their making denies."""
        for path, saw in ((PODS, self._saw_pod), (f"{SANDBOXES}", self._saw_sandbox)):
            _, since = api.list(path)
            threading.Thread(target=self._follow, args=(door, path, since, saw), daemon=True).start()

    def close(self) -> None:
        """End both watches."""
        self._closing = True
        for connection in self._connections:
            with suppress(OSError):
                if connection.sock is not None:
                    connection.sock.close()

    def set_list(self, revision: int, listing: Listing) -> None:
        """From this revision on, this list is in force."""
        with self._lock:
            self._lists.append((revision, self._now(), listing))

    def judge(self) -> list[str]:
        """What was broken in what was seen until now."""
        with self._lock:
            lives = list(self.lives.items())
            for uid, life in lives[self._judged :]:
                self._judge_grant(uid, life)
            self._judged = len(lives)
            by_sandbox: dict[str, list[Life]] = {}
            for _, life in lives:
                by_sandbox.setdefault(life.sandbox, []).append(life)
            for sandbox, told in self.told.items():
                self._judge_story(told, by_sandbox.get(sandbox, []))
            return list(self.broken)

    def ends(self) -> Counter[str]:
        """How many Pods have ended, by the uid of their Sandbox."""
        with self._lock:
            return Counter(life.sandbox for life in self.lives.values() if life.ended is not None)

    def forget(self) -> None:
        """What is over; a uid never comes again."""
        with self._lock:
            self.lives = {uid: life for uid, life in self.lives.items() if life.ended is None}
            self.told.clear()
            self._judged = len(self.lives)

    def _judge_story(self, told: Told, lives: list[Life]) -> None:
        for life in lives:
            if told.finished is not None and life.made > told.finished:
                self.broken.append(f"{life.name}: a Pod was made at {life.made}, after Finished at {told.finished}")
            for moment in told.paused:
                if life.made < moment and (life.ended is None or life.ended > moment):
                    self.broken.append(f"{life.name}: it said Paused at {moment}, with a Pod from {life.made} on")

    def _judge_grant(self, uid: str, life: Life) -> None:
        """The list in force when a Pod was made has to grant what it mounts, or one shortly before."""
        before = [(at, listing) for revision, at, listing in self._lists if revision < life.made]
        if not before or before[-1][1].grants(life.mounts):
            return
        self.doubtful.add(uid)
        latest = before[-1][0]
        if not any(listing.grants(life.mounts) for at, listing in before if latest - at < RECENT_SECONDS):
            self.broken.append(f"{life.name}: a Pod with {set(life.mounts)} was made, which no list grants")

    def _follow(self, door: Door, path: str, since: int, saw: Callable[[str, str, int, Json], None]) -> None:
        while not self._closing:
            connection = door.connect(None)
            self._connections.append(connection)
            try:
                for event in watch(connection, path, since):
                    found = event["object"]
                    since = int(found["metadata"]["resourceVersion"])
                    with self._lock:
                        saw(event["type"], found["metadata"]["uid"], since, found)
            except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
                if not self._closing:
                    self.broken.append(f"the test's own watch of {path} ended: {error!r}")
                    return

    def _saw_pod(self, kind: str, uid: str, revision: int, pod: Json) -> None:
        sandbox = (pod["metadata"].get("labels") or {}).get(LABEL_UID)
        if sandbox is None:
            return
        name = pod["metadata"]["name"]
        if kind == "ADDED":
            others = [o for o in self.lives.values() if o.sandbox == sandbox and o.ended is None]
            self.broken.extend(f"{name}: a second Pod beside {o.name}, of one Sandbox" for o in others)
            self.lives[uid] = Life(name, sandbox, mounts_of(pod), revision)
        life = self.lives.get(uid)
        over = kind == "DELETED" or pod["status"].get("phase") in ("Succeeded", "Failed")
        if life is not None and life.ended is None and over:
            life.ended = revision

    def _saw_sandbox(self, kind: str, uid: str, revision: int, sandbox: Json) -> None:
        if kind == "DELETED":
            self._paused_now.discard(uid)
            return
        told = self.told.setdefault(uid, Told())
        conditions: dict[str, Any] = {c["type"]: c for c in (sandbox.get("status") or {}).get("conditions") or ()}
        finished = conditions.get("Finished")
        name = sandbox["metadata"]["name"]
        if told.finished is None and finished:
            told.finished, told.reason = revision, finished["reason"]
        elif told.finished is not None and (finished is None or finished["reason"] != told.reason):
            self.broken.append(
                f"{name}: Finished was {told.reason} at {told.finished}, and is {finished} at {revision}"
            )
        if "Paused" in conditions and uid not in self._paused_now:
            told.paused.append(revision)
        (self._paused_now.add if "Paused" in conditions else self._paused_now.discard)(uid)
