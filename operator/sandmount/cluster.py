"""Everything that is asked of or told to the API server. No decision is made here.

What an answer means is answers.py's matter, and how it travels transport.py's.
"""

import asyncio
import base64
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from sandmount.answers import Conflict, Exists, Json, Missing, Outdated, Refused, Transient, Unanswered, words
from sandmount.api import GROUP, LABEL_SANDBOX, PLURAL, VERSION
from sandmount.login import Login
from sandmount.observe import Key
from sandmount.transport import Count, Transport

log = logging.getLogger(__name__)

PAGE = 50
"""Objects in one page of a list; tenants make them as large as they can."""
EVENTS_PAGE = 100
EVENTS_PAGES = 20
_OF_AN_EVENT = ("involvedObject", "reason", "series", "lastTimestamp", "eventTime")
_MAX_EVENT = 4096
LONGEST_DELAY = 30.0
"""Seconds between attempts of what goes on for as long as the process runs."""
LONG_WATCH_SECONDS = 120
"""A watch of many objects is renewed after this time; nothing is read again for that, and a dead one is noticed."""
WATCH_SECONDS = 60
"""A watch of one named object is renewed after this time, so that one which went silent is noticed."""

_MERGE_PATCH = "application/merge-patch+json"
_RIGHTS = "(manifests/base/rbac.yaml has the rights that the operator needs)"


@dataclass(frozen=True, slots=True)
class Kind:
    """What there are many of: its path, and the label that those have which we look at."""

    path: str
    label: str = ""

    @property
    def query(self) -> dict[str, str]:
        """The selector, so that others cost nothing."""
        return {"labelSelector": self.label} if self.label else {}


@dataclass(frozen=True, slots=True)
class Named:
    """A kind of which one object is followed by its name: ``what`` it is for people, and where its ``rights`` are."""

    plural: str
    what: str
    rights: str


ALLOWLIST = Named("configmaps", "the allowlist", _RIGHTS)
WEBHOOK_SECRET = Named(
    "secrets",
    "the Secret of the admission webhook",
    "(manifests/webhook has the rights that the operator needs for it)",
)

SANDBOXES = Kind(f"/apis/{GROUP}/{VERSION}/{PLURAL}")
PODS = Kind("/api/v1/pods", LABEL_SANDBOX)


class ApiServer:
    """The one client of the process; made once, closed at the end."""

    def __init__(self, transport: Transport) -> None:
        self._ask, self._watch = transport.ask, transport.watch
        self._transport = transport

    @classmethod
    async def connect(cls, connections: int, count: Count = lambda *_: None, context: str | None = None) -> "ApiServer":
        """A client for the cluster that the process runs in or, outside of one, that KUBECONFIG names.

        ``count`` is told of each request; ``context`` is one of KUBECONFIG's.

        Raises NoClusterError when neither can be used.
        """
        return cls(Transport(await Login.now(connections, context), count))

    async def close(self) -> None:
        """Closes all connections."""
        await self._transport.close()

    async def create_pod(self, body: Json) -> Json | Unanswered:
        """Creates a Pod; Exists when its name is taken."""
        return await self._ask("POST", _pods_in(body["metadata"]["namespace"]), body=body)

    async def get_pod(self, key: Key) -> Json | Unanswered:
        """Reads a Pod."""
        return await self._ask("GET", _pod(key))

    async def delete_pod(self, key: Key, uid: str, grace: int | None) -> Json | Unanswered:
        """Deletes the Pod with this uid and no other; ``grace`` in seconds, None for the Pod's own."""
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        return await self._ask("DELETE", _pod(key), body=options)

    async def label_pod(self, key: Key, uid: str, labels: Mapping[str, str]) -> Json | Unanswered:
        """Sets labels of the Pod with this uid."""
        body = {"metadata": {"uid": uid, "labels": dict(labels)}}
        return await self._ask("PATCH", _pod(key), body=body, content_type=_MERGE_PATCH)

    async def get_sandbox(self, key: Key) -> Json | Unanswered:
        """Reads a Sandbox."""
        return await self._ask("GET", _sandbox(key))

    async def list_sandboxes(self, namespace: str | None) -> list[Json] | Unanswered:
        """Those of a namespace, or all."""
        path = SANDBOXES.path if namespace is None else _sandboxes_in(namespace)
        return await self._list(path, {})

    async def list_events_about(self, key: Key) -> list[Json] | Unanswered:
        """Those about objects of that name: a Sandbox and its Pod have the same."""
        return await self._list(
            f"/api/v1/namespaces/{quote(key[0])}/events", {"fieldSelector": f"involvedObject.name={key[1]}"}
        )

    async def _list(self, path: str, query: Mapping[str, str]) -> list[Json] | Unanswered:
        """All pages."""
        found: list[Json] = []
        asked = {"limit": str(EVENTS_PAGE), **query}
        while True:
            page = await self._ask("GET", path, query=asked)
            if isinstance(page, Unanswered):
                return page
            found += page["items"] or ()
            if not page["metadata"].get("continue"):
                return found
            asked["continue"] = page["metadata"]["continue"]

    async def delete_sandbox(self, key: Key, uid: str, resource_version: str) -> Json | Unanswered:
        """Deletes the Sandbox with this uid, if nobody has changed it since ``resource_version``; its Pod follows."""
        options: Json = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
        }
        return await self._ask("DELETE", _sandbox(key), body=options)

    async def get_node(self, name: str) -> Json | Unanswered:
        """Reads a Node."""
        return await self._ask("GET", f"/api/v1/nodes/{quote(name, safe='')}")

    async def list_pod_warnings(self, namespace: str) -> list[Json]:
        """The warnings about Pods of a namespace, of very many only some. Raises Transient when they cannot be read.

        Whoever may create Events chooses how large they are, so little of each is kept.
        """
        path = f"/api/v1/namespaces/{quote(namespace)}/events"
        query = {"fieldSelector": "involvedObject.kind=Pod,type=Warning", "limit": str(EVENTS_PAGE)}
        found: list[Json] = []
        for _ in range(EVENTS_PAGES):
            page = await self._page(path, query)
            if isinstance(page, Missing):
                return found
            found += [{k: e[k] for k in _OF_AN_EVENT if k in e} | _cut(e) for e in page["items"] or ()]
            if not page["metadata"].get("continue"):
                break
            query["continue"] = page["metadata"]["continue"]
        return found

    async def get_config_map(self, namespace: str, name: str) -> Json | Unanswered:
        """Reads a ConfigMap."""
        return await self._ask("GET", f"/api/v1/namespaces/{quote(namespace)}/configmaps/{quote(name)}")

    async def patch_status(self, key: Key, uid: str, resource_version: str, status: Json) -> Json | Unanswered:
        """Merges into a Sandbox's status; Conflict when it has changed since ``resource_version``.

        An update that holds the status alone costs the API server less, but before Kubernetes 1.36 it also takes other
        appliers' ownership of labels and annotations away: only since then are the fields that a status update resets
        (GetResetFields) spec and metadata.
        """
        body = {"metadata": {"uid": uid, "resourceVersion": resource_version}, "status": status}
        return await self._ask("PATCH", _sandbox(key) + "/status", body=body, content_type=_MERGE_PATCH)

    async def create_event(self, namespace: str, body: Json) -> Json | Unanswered:
        """Writes an Event."""
        return await self._ask("POST", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events", body=body)

    async def has_kind(self, kind: Kind) -> bool:
        """Whether there is such a kind; raises Transient when that cannot be told."""
        return not isinstance(await self._page(kind.path, {"limit": "1"}), Missing)

    async def list_all(self, kind: Kind) -> AsyncGenerator[Json | Missing, None]:
        """All objects, page by page, as the API server sends lists; Missing when there is no such kind."""
        query = {"limit": str(PAGE), **kind.query}
        while True:
            page = await self._page(kind.path, query)
            yield page
            if isinstance(page, Missing) or not page["metadata"].get("continue"):
                return
            query["continue"] = page["metadata"]["continue"]

    async def _page(self, path: str, query: Mapping[str, str]) -> Json | Missing:
        """One page of a list. Raises Transient when it cannot be read."""
        page = await self._ask("GET", path, query=query)
        if isinstance(page, Exists | Conflict | Refused):
            raise Transient(f"{path} cannot be listed: {words(page)} {_RIGHTS}")
        return page

    def watch_all(self, kind: Kind, since: str) -> AsyncGenerator[Json, None]:
        """The events after that resource version, and bookmarks; ends after some minutes. Raises Outdated."""
        query = {**kind.query, "resourceVersion": since, "allowWatchBookmarks": "true"}
        return self._watch(kind.path, query, LONG_WATCH_SECONDS)

    async def watch_named(
        self, kind: Named, namespace: str, name: str, beat: Callable[[], None] = lambda: None
    ) -> AsyncIterator[Json | None]:
        """The object of that name now and after each change, None when there is none; goes on for ever.

        It is read again at least every WATCH_SECONDS, changed or not. List and watch name the object, so a Role with
        resourceNames is enough. While the API server is away nothing is yielded: what was read last stays in force.
        ``beat`` is called at each attempt.
        """
        url = f"/api/v1/namespaces/{quote(namespace)}/{kind.plural}"
        selector = {"fieldSelector": f"metadata.name={name}"}
        delays = growing(1.0, LONGEST_DELAY)
        while True:
            beat()
            try:
                listed = await self._ask("GET", url, query=selector)
                if isinstance(listed, Unanswered):
                    raise Transient(f"{kind.what} cannot be read: {words(listed)} {kind.rights}")
                delays = growing(1.0, LONGEST_DELAY)
                yield listed["items"][0] if listed["items"] else None
                since = {"resourceVersion": listed["metadata"]["resourceVersion"]}
                async for event in self._watch(url, selector | since, WATCH_SECONDS):
                    yield None if event["type"] == "DELETED" else event["object"]
            except Outdated:
                await asyncio.sleep(next(delays))
            except Transient as error:
                delay = max(next(delays), error.retry_after)
                log.warning("%s; trying again in %.0f s", error, delay)
                await asyncio.sleep(delay)

    async def write_secret(
        self, namespace: str, name: str, uid: str, resource_version: str, data: Mapping[str, bytes]
    ) -> Json | Unanswered:
        """Sets these keys of the Secret with this uid; Conflict when it has changed since ``resource_version``."""
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        body = {"metadata": {"uid": uid, "resourceVersion": resource_version}, "data": encoded}
        url = f"/api/v1/namespaces/{quote(namespace)}/secrets/{quote(name)}"
        return await self._ask("PATCH", url, body=body, content_type=_MERGE_PATCH)


def _cut(event: Json) -> Json:
    return {"message": str(event.get("message") or "")[:_MAX_EVENT]}


def growing(first: float, longest: float) -> Iterator[float]:
    """Delays in seconds, each twice the one before, up to the longest; without end."""
    delay = first
    while True:
        yield delay
        delay = min(2 * delay, longest)


def _pods_in(namespace: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace)}/pods"


def _pod(key: Key) -> str:
    return f"{_pods_in(key[0])}/{quote(key[1])}"


def _sandboxes_in(namespace: str) -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{quote(namespace)}/{PLURAL}"


def _sandbox(key: Key) -> str:
    return f"{_sandboxes_in(key[0])}/{quote(key[1])}"
