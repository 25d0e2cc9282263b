"""An administrator with one connection to the API server that is kept: a request takes a few milliseconds.

kubectl would take a hundred for each, and the races that are looked for would never happen.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from kubernetes import client, config

from tests.support import Json

NAMESPACE = "state-machine"
SANDBOXES = f"/apis/sandmount.dev/v1alpha1/namespaces/{NAMESPACE}/sandboxes"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"

PLAIN = "application/json"
MERGE = "application/merge-patch+json"
ANSWER_SECONDS = 60.0
EXPECTED = (404, 409, 422, 429)
"""What a step may be answered: what it is about is gone, has changed, must not be so, or cannot be evicted now."""


class UnansweredError(Exception):
    """The API server gave an answer that no step expects."""


@dataclass(frozen=True)
class Answer:
    """Status code and content."""

    code: int
    body: Json

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return self.code < 300

    def __str__(self) -> str:
        return str(self.code) if self.ok else f"{self.code} {self.body.get('message', '')}"


@dataclass(frozen=True)
class Door:
    """Where the API server is, and who we are."""

    host: str
    port: int
    context: ssl.SSLContext

    @classmethod
    def of(cls, kubeconfig: Path) -> Door:
        """With the credentials of a kubeconfig."""
        found = client.Configuration()
        config.load_kube_config(config_file=str(kubeconfig), client_configuration=found)
        context = ssl.create_default_context(cafile=found.ssl_ca_cert)
        context.load_cert_chain(found.cert_file, found.key_file)
        url = urlsplit(found.host)
        return cls(url.hostname or "", url.port or 443, context)

    def connect(self, timeout: float | None) -> http.client.HTTPSConnection:
        """A new connection; None waits for answers without end."""
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.context)


class Api:
    """One connection, for one thread."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self._connection = door.connect(ANSWER_SECONDS)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def ask(self, method: str, path: str, body: Json | None = None) -> Answer:
        """One request, a PATCH with a merge patch; an answer that no step may get is an UnansweredError."""
        content, kind = None if body is None else json.dumps(body), MERGE if method == "PATCH" else PLAIN
        try:
            found = self._send(method, path, content, kind)
        except (http.client.HTTPException, ConnectionError):  # it was idle for too long, and closed
            self._connection.close()
            found = self._send(method, path, content, kind)
        if found.code >= 300 and found.code not in EXPECTED:
            raise UnansweredError(f"{method} {path}: {found}")
        return found

    def list(self, path: str) -> tuple[list[Json], int]:
        """All objects there, and the revision of the list."""
        found = self.ask("GET", path)
        return found.body["items"], int(found.body["metadata"]["resourceVersion"])

    def find(self, path: str) -> Json | None:
        """The object there, or None."""
        found = self.ask("GET", path)
        return found.body if found.ok else None

    def _send(self, method: str, path: str, content: str | None, kind: str) -> Answer:
        self._connection.request(method, path, content, {"Content-Type": kind, "Accept": PLAIN})
        answer = self._connection.getresponse()
        return Answer(answer.status, json.loads(answer.read()))


def watch(connection: http.client.HTTPSConnection, path: str, since: int) -> Iterator[Json]:
    """The events of one watch, until it or the connection ends."""
    mark = "&" if "?" in path else "?"
    query = urlencode({"watch": "1", "resourceVersion": str(since)})
    connection.request("GET", f"{path}{mark}{query}", headers={"Accept": PLAIN})
    answer = connection.getresponse()
    while line := answer.readline():
        yield json.loads(line)
