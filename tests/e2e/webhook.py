"""What tests of the admission webhook need: its manifests, a way to it beside the cluster, and its certificate."""

import base64
import json
import os
import re
import socket
import ssl
import subprocess
from pathlib import Path

import yaml

from tests.support import Json, Kube
from tests.support.installation import MANIFESTS, REPOSITORY
from tests.support.kubectl import OPERATOR_NAMESPACE

DOCUMENT = REPOSITORY / "docs" / "admission.md"
NAME = "sandmount-webhook"
HOST = f"{NAME}.{OPERATOR_NAMESPACE}.svc"


def rendered(kube: Kube, folder: Path, component: str) -> str:
    """The manifests with a component, as an admin's kustomization in this folder has them."""
    base, added = (os.path.relpath(f, folder.resolve()) for f in (MANIFESTS, MANIFESTS / component))
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({"resources": [base], "components": [added]}))
    return kube.run("kustomize", str(folder))


def endpoint(address: str, port: int) -> Json:
    """Where the Service leads."""
    about = {"name": NAME, "namespace": OPERATOR_NAMESPACE, "labels": {"kubernetes.io/service-name": NAME}}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": about,
        "addressType": "IPv4",
        "ports": [{"name": "webhook", "port": port}],
        "endpoints": [{"addresses": [address]}],
    }


def secret(kube: Kube) -> dict[str, bytes]:
    """What is in the webhook's Secret."""
    data = kube.get("secret", NAME, OPERATOR_NAMESPACE).get("data") or {}
    return {k: base64.b64decode(v) for k, v in data.items()}


def introduce(kube: Kube) -> None:
    """Tells the API server of CA and path, by the command in docs/admission.md."""
    [command] = re.findall(
        r"^```console\n(kubectl get secret .*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE
    )
    path = f"{kube.binary.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(kube.kubeconfig)}
    shell = ["bash", "-o", "pipefail", "-c", command]
    subprocess.run(shell, cwd=REPOSITORY, env=environment, check=True, capture_output=True, timeout=60)


def fed(kube: Kube, item: Json, *args: str) -> subprocess.CompletedProcess[str]:
    """Run kubectl with an object as standard input."""
    command = [str(kube.binary), f"--kubeconfig={kube.kubeconfig}", *args, "-f", "-"]
    return subprocess.run(command, input=json.dumps(item), capture_output=True, text=True, timeout=60, check=False)


def served(address: str, port: int, authority: bytes) -> Json:
    """The certificate that the webhook shows, verified with that CA for the name that the API server calls it by."""
    context = ssl.create_default_context(cadata=authority.decode())
    with (
        socket.create_connection((address, port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname=HOST) as secured,
    ):
        found = secured.getpeercert()
    assert found is not None
    return dict(found)


def put(kube: Kube, data: dict[str, bytes]) -> None:
    """Makes this all that the Secret holds."""
    stored = kube.get("secret", NAME, OPERATOR_NAMESPACE)
    stored["data"] = {k: base64.b64encode(v).decode() for k, v in data.items()}
    kube.feed(json.dumps(stored), "replace", "-f", "-")


def is_served(address: str, port: int, authority: bytes) -> bool:
    """Whether the webhook shows a certificate that this CA vouches for."""
    try:
        return bool(served(address, port, authority))
    except ssl.SSLError:
        return False


def ask(address: str, port: int, authority: bytes, path: str, body: Json) -> str:
    """The answer to a request, as text."""
    context = ssl.create_default_context(cadata=authority.decode())
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
    with (
        socket.create_connection((address, port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname=HOST) as secured,
    ):
        secured.sendall(head.encode() + content)
        return b"".join(iter(lambda: secured.recv(65536), b"")).decode()
