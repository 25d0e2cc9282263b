"""HTTPS requests with a client certificate to the components themselves, for health and for etcd's gateway.

Plain http.client: starting kubectl for every question would cost more than the answer.
"""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any

from tests.cluster.base import ClusterError
from tests.cluster.kubectl import is_ready
from tests.cluster.local.layout import NODE_NAME
from tests.cluster.local.state import State

SECONDS = 5.0


class Client:
    """Speaks as the administrator to Kubernetes' components, and with etcd's client certificate to etcd."""

    def __init__(self, pki: Path, state: State) -> None:
        self.pki = pki
        self.state = state

    def request(self, method: str, address: str, port: int, path: str, body: Any = None) -> tuple[int, bytes]:
        """Status and body of the answer. Raises OSError or http.client.HTTPException when there is none."""
        user = "etcd-client" if port == self.state.ports["etcd"] else "admin"
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        context.load_cert_chain(self.pki / f"{user}.crt", self.pki / f"{user}.key")
        connection = http.client.HTTPSConnection(address, port, timeout=SECONDS, context=context)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def is_ok(self, address: str, port: int, path: str) -> bool:
        """True when the answer is 200."""
        try:
            return self.request("GET", address, port, path)[0] == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    def kube(self, path: str) -> Any:
        """An object of the API server, None when it is not there or nobody answers."""
        try:
            code, body = self.request("GET", self.state.api_address, self.state.ports["kube-apiserver"], path)
        except (OSError, http.client.HTTPException):
            return None
        return json.loads(body) if code == http.client.OK else None

    def node_is_ready(self) -> bool:
        """True when the node is Ready and accepts Pods."""
        node = self.kube(f"/api/v1/nodes/{NODE_NAME}")
        if node is None or node["spec"].get("taints"):
            return False
        conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", [])}
        return conditions.get("Ready") == "True"

    def nodes_are_ready(self, label: str) -> bool:
        """True when there are nodes with the label, and all are Ready and repel only what does not ask for them."""
        found = self.kube(f"/api/v1/nodes?labelSelector={label}")
        nodes = found["items"] if found else []
        taints = {taint["key"] for node in nodes for taint in node["spec"].get("taints", [])}
        return bool(nodes) and taints <= {label} and all(is_ready(node) for node in nodes)

    def has_default_account(self) -> bool:
        """True when the namespace `default` has its ServiceAccount: before that it refuses every Pod."""
        return self.kube("/api/v1/namespaces/default/serviceaccounts/default") is not None

    def etcd(self, path: str, body: Any) -> dict[str, Any]:
        """Call etcd's JSON gateway. Raises ClusterError when it refuses."""
        code, answer = self.request("POST", "127.0.0.1", self.state.ports["etcd"], path, body)
        if code != http.client.OK:
            raise ClusterError(f"etcd refused {path}: {answer.decode(errors='replace')}")
        found: dict[str, Any] = json.loads(answer)
        return found

    def compact_etcd(self) -> int:
        """Compact to the current revision, and return it."""
        revision = int(self.etcd("/v3/kv/range", {"key": "AA=="})["header"]["revision"])
        self.etcd("/v3/kv/compaction", {"revision": str(revision), "physical": True})
        return revision
