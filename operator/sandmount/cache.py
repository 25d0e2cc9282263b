"""The newest that was seen of each object, by namespace and name, whoever brought it: a watch, a write, a read.

Answers of writes and events of watches come in any order; an older one never replaces a newer one. Resource versions
are compared as numbers, which the API conventions allow since Kubernetes 1.35 (KEP-5504) and etcd has always done.
"""

from collections.abc import Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from sandmount.observe import Key


class Versioned(Protocol):
    """What a cache holds."""

    @property
    def key(self) -> Key: ...

    @property
    def uid(self) -> str: ...

    @property
    def resource_version(self) -> str: ...


T = TypeVar("T", bound=Versioned)

ENDED = 4096
"""Objects whose end is remembered: as many as can end while one answer is under way."""


class Cache(Generic[T]):
    """Objects of one kind."""

    def __init__(self) -> None:
        self._objects: dict[Key, T] = {}
        self._ended: dict[str, int] = {}
        """By uid: what is older than this version is about an object that is gone, or is watched no more."""

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self._objects))

    def __len__(self) -> int:
        return len(self._objects)

    def values(self) -> list[T]:
        """All that is known."""
        return list(self._objects.values())

    def get(self, key: Key) -> T | None:
        """The newest known object, or None."""
        return self._objects.get(key)

    def put(self, seen: T) -> None:
        """Keeps ``seen`` unless a newer one is known, or its end: an answer can come later than the event of that."""
        if int(seen.resource_version) < self._ended.get(seen.uid, 0):
            return
        known = self._objects.get(seen.key)
        if known is None or int(known.resource_version) <= int(seen.resource_version):
            self._objects[seen.key] = seen

    def update(self, answered: T) -> None:
        """Keeps the answer to a write of ours, unless the object was deleted before the answer came."""
        known = self._objects.get(answered.key)
        if known is not None and known.uid == answered.uid:
            self.put(answered)

    def drop(self, gone: T) -> None:
        """Forgets an object that was deleted; one made later under the same name stays."""
        self._end(gone.uid, int(gone.resource_version))
        known = self._objects.get(gone.key)
        if known is not None and (known.uid == gone.uid or int(known.resource_version) < int(gone.resource_version)):
            del self._objects[gone.key]

    def sweep(self, existing: Mapping[Key, str], as_of: str) -> list[T]:
        """Forgets what a complete list did not bring, and says what that was.

        ``existing`` maps keys to uids; ``as_of`` is the list's resource version: what is newer than that stays.
        """
        ghosts = [
            known
            for key, known in self._objects.items()
            if existing.get(key) != known.uid and int(known.resource_version) <= int(as_of)
        ]
        for ghost in ghosts:
            del self._objects[ghost.key]
            self._end(ghost.uid, int(ghost.resource_version) + 1)
        return ghosts

    def _end(self, uid: str, version: int) -> None:
        self._ended[uid] = version
        if len(self._ended) > ENDED:
            del self._ended[next(iter(self._ended))]
