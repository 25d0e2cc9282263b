"""The admission webhook: what `kubectl apply` says, its certificate, and that nothing depends on it.

The operator runs beside the cluster, as in all tests; the API server finds it by the Service of manifests/webhook,
with an EndpointSlice that a Pod's would be like.
"""

import re
import socket
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sandmount.certificates import DEFAULT_PATH
from sandmount.settings import Settings
from tests.cluster import Cluster
from tests.cluster.kubectl import SANDBOXES
from tests.e2e.webhook import HOST, NAME, ask, endpoint, fed, introduce, is_served, put, rendered, secret, served
from tests.support import Json, Kube, OperatorProcess, wait_until
from tests.support.fixtures import IMAGE, Sandboxes, host_volume
from tests.support.installation import SERVICE_ACCOUNT
from tests.support.kubectl import OPERATOR_NAMESPACE, tail

ACCOUNT = f"--as=system:serviceaccount:{OPERATOR_NAMESPACE}:{SERVICE_ACCOUNT}"
PINNED = f"{IMAGE}@sha256:{'0' * 64}"
"""An image that there is no warning about; it need not exist where nothing is to start."""


@pytest.fixture(scope="module")
def objects(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> list[Json]:
    """What manifests/webhook adds to the manifests."""
    text = rendered(Kube.of(cluster), tmp_path_factory.mktemp("kustomization"), "webhook")
    return [o for o in yaml.safe_load_all(text) if o["metadata"]["name"] in (NAME, "sandmount")]


@pytest.fixture(scope="module")
def address(cluster: Cluster) -> str:
    """An address of this machine that the API server reaches: the one from which we reach it."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    server = urllib.parse.urlsplit(config["clusters"][0]["cluster"]["server"])
    with socket.create_connection((server.hostname, server.port or 443), timeout=10) as connection:
        found: str = connection.getsockname()[0]
    return found


@pytest.fixture(scope="module")
def port(address: str) -> int:
    """A free port there."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        found: int = probe.getsockname()[1]
    return found


@pytest.fixture(scope="module")
def operator(
    operator: OperatorProcess, cluster: Cluster, address: str, port: int, objects: list[Json]
) -> Iterator[OperatorProcess]:
    """An operator with the webhook, instead of the one of all tests."""
    kube = operator.kube
    own = {"SANDMOUNT_ADMISSION": "Deny", "SANDMOUNT_ADMISSION_ADDRESS": address, "SANDMOUNT_ADMISSION_PORT": str(port)}
    operator.stop()
    kube.apply([*objects, endpoint(address, port)])
    ours = OperatorProcess(cluster, {**operator.settings, **own})
    try:
        ours.start()
        ours.wait_until_working()
        wait_until("the Secret is filled", lambda: "tls.crt" in secret(kube), 60, lambda: "\n".join(tail(ours.log)))
        introduce(kube)
        yield ours
    finally:
        ours.close()
        for item in [*objects, endpoint(address, port)]:
            kube.delete(item["kind"], item["metadata"]["name"], item["metadata"].get("namespace", ""))
        operator.start()
        operator.wait_until_working()


def refused(kube: Kube, sandboxes: Sandboxes) -> bool:
    """Whether the API server asks the webhook now: a Sandbox that nobody would allow is refused."""
    probe = sandboxes.manifest("probe", host_volume("/not-on-any-list"), image=PINNED)
    return "denied the request" in fed(kube, probe, "apply", "--dry-run=server").stderr


@pytest.fixture
def asked(kube: Kube, sandboxes: Sandboxes, shared: Path) -> Path:
    """The shared directory, with the webhook at work."""
    wait_until("the webhook is asked", lambda: refused(kube, sandboxes), 60)
    wait_until("the list is loaded", lambda: not _is_refused(kube, sandboxes, shared), 60)
    return shared


def _is_refused(kube: Kube, sandboxes: Sandboxes, root: Path) -> bool:
    good = sandboxes.manifest("probe", host_volume(root), image=PINNED)
    return fed(kube, good, "apply", "--dry-run=server").returncode != 0


def test_apply_is_refused_with_the_words_that_the_status_would_have(
    sandboxes: Sandboxes, kube: Kube, asked: Path, operator: OperatorProcess
) -> None:
    denied = sandboxes.manifest("denied", host_volume(asked.parent), image=PINNED)
    said = fed(kube, denied, "apply")
    assert said.returncode == 1
    assert 'admission webhook "sandboxes.sandmount.dev" denied the request: ' in said.stderr
    assert kube.find(SANDBOXES, "denied", sandboxes.namespace) is None
    operator.stop()
    kube.apply(denied)
    operator.start()
    operator.wait_until_working()
    words = sandboxes.wait_reason("denied", "HostPathNotAllowed")["message"]
    assert said.stderr.strip().endswith(f"denied the request: {words}")
    log = operator.log.read_text()
    assert f"{sandboxes.namespace}/denied: refused before it was stored: {words}" in log
    assert "failed permanently" not in log


def test_an_invalid_spec_and_a_forbidden_field_are_refused_as_well(
    sandboxes: Sandboxes, kube: Kube, asked: Path
) -> None:
    assert asked
    variable = {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    said = fed(kube, sandboxes.manifest("secret", env=[variable], image=PINNED), "apply")
    assert "secretKeyRef is not allowed here" in said.stderr
    assert kube.find(SANDBOXES, "secret", sandboxes.namespace) is None


def test_what_is_allowed_is_created_and_runs(sandboxes: Sandboxes, asked: Path) -> None:
    sandboxes.apply("good", host_volume(asked))
    metadata = sandboxes.wait_ready("good")["metadata"]
    assert not {"annotations", "finalizers"} & set(metadata)  # kopf's handlers of other kinds write both


def test_a_dry_run_is_judged_and_leaves_nothing(sandboxes: Sandboxes, kube: Kube, asked: Path) -> None:
    before = secret(kube)
    good = sandboxes.manifest("dry", host_volume(asked), image=PINNED)
    assert fed(kube, good, "apply", "--dry-run=server").returncode == 0
    assert refused(kube, sandboxes)
    assert not kube.items(SANDBOXES, "-n", sandboxes.namespace)
    assert secret(kube) == before


def test_only_changed_volumes_are_judged_and_everything_else_passes(
    sandboxes: Sandboxes, kube: Kube, asked: Path, host: Path
) -> None:
    other = host / "other"
    other.mkdir()
    kube.set_allowlist(f"- {asked}\n- {other}\n")
    wait_until("the list is loaded", lambda: not _is_refused(kube, sandboxes, other), 60)
    sandboxes.apply("running", host_volume(asked))
    sandboxes.wait_ready("running")
    kube.set_allowlist(f"- {other}\n")
    wait_until("the list is loaded", lambda: _is_refused(kube, sandboxes, asked), 60)
    denied = sandboxes.manifest("running", host_volume(asked), env=[{"name": "A", "value": "b"}])
    kube.apply(denied)  # no volume is another one
    kube.run("label", SANDBOXES, "running", "-n", sandboxes.namespace, "team=a")
    kube.run("annotate", SANDBOXES, "running", "-n", sandboxes.namespace, "note=x")
    finalizer = '{"metadata":{"finalizers":["example.com/hold"]}}'
    kube.run("patch", SANDBOXES, "running", "-n", sandboxes.namespace, "--type=merge", "-p", finalizer)
    changed = sandboxes.manifest("running", host_volume(asked, mount_path="/mnt/elsewhere"))
    assert "is not on the allowlist" in fed(kube, changed, "apply", "--server-side", "--force-conflicts").stderr
    moved = sandboxes.manifest("running", host_volume(other))
    assert fed(kube, moved, "apply", "--server-side", "--force-conflicts").returncode == 0
    sandboxes.wait_ready("running")
    sandboxes.delete("running", "--wait=false")
    being_deleted = sandboxes.get("running")
    assert "deletionTimestamp" in being_deleted["metadata"]
    free = '{"metadata":{"finalizers":null}}'
    kube.run("patch", SANDBOXES, "running", "-n", sandboxes.namespace, "--type=merge", "-p", free)
    wait_until("it is gone", lambda: kube.find(SANDBOXES, "running", sandboxes.namespace) is None, 30)


def test_warnings_are_shown_for_the_tag_latest_and_for_an_empty_allowlist(
    sandboxes: Sandboxes, kube: Kube, asked: Path
) -> None:
    latest = sandboxes.manifest("latest", host_volume(asked), image="busybox")
    said = fed(kube, latest, "apply", "--dry-run=server")
    assert said.returncode == 0
    assert 'Warning: image "busybox" may be another one tomorrow' in said.stderr
    kube.set_allowlist("[]\n")
    anywhere = sandboxes.manifest("any", host_volume("/not-on-any-list"), image=PINNED)
    said = wait_until("the list is loaded", lambda: _passed(fed(kube, anywhere, "apply", "--dry-run=server")), 60)
    assert "Warning: the allowlist is empty, so every host path is allowed" in said.stderr


def _passed(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str] | None:
    return done if done.returncode == 0 else None


def test_the_largest_changes_are_reviewed(sandboxes: Sandboxes, kube: Kube, asked: Path) -> None:
    # Each review has the Sandbox twice; aiohttp alone would stop at 1 MiB.
    filled = [{"name": f"V{n}", "value": "<" * 4096} for n in range(31)]  # each is six characters in Go's JSON
    paths = [host_volume(asked, mount_path=f"/mnt/{n}") | {"name": f"v{n}"} for n in range(31)]
    big = sandboxes.manifest("big", *paths, image=PINNED, env=filled)
    big["metadata"]["annotations"] = {f"example.com/{n}": "x" * 120_000 for n in range(2)}
    assert fed(kube, big, "apply", "--server-side").returncode == 0
    big["metadata"]["annotations"] = {}
    outside = host_volume(asked.parent, mount_path="/mnt/x") | {"name": "x"}
    big["spec"]["volumes"].append(outside)
    assert "is not on the allowlist" in fed(kube, big, "apply", "--server-side", "--force-conflicts").stderr


def test_with_warn_everything_passes_and_the_same_words_are_warnings(
    sandboxes: Sandboxes, kube: Kube, asked: Path, operator: OperatorProcess
) -> None:
    denied = sandboxes.manifest("warned", host_volume(asked.parent), image=PINNED)
    with operator.running_with({"SANDMOUNT_ADMISSION": "Warn"}):
        said = wait_until("the webhook is asked", lambda: _warned(fed(kube, denied, "apply", "--dry-run=server")), 60)
        assert said.returncode == 0
        assert fed(kube, denied, "apply").returncode == 0
        words = sandboxes.wait_reason("warned", "HostPathNotAllowed")["message"]
        assert f"Warning: {words}" in said.stderr


def _warned(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str] | None:
    return done if "Warning: " in done.stderr else None


def test_while_the_operator_is_down_everything_passes_and_is_denied_by_it_afterwards(
    sandboxes: Sandboxes, kube: Kube, asked: Path, operator: OperatorProcess
) -> None:
    operator.stop()
    kube.apply(sandboxes.manifest("early", host_volume(asked.parent), image=PINNED))
    operator.start()
    operator.wait_until_working()
    sandboxes.wait_reason("early", "HostPathNotAllowed")
    assert sandboxes.pod("early") is None


def test_the_operator_makes_a_certificate_that_its_ca_vouches_for(
    kube: Kube, operator: OperatorProcess, address: str, port: int
) -> None:
    assert operator.pid
    data = secret(kube)
    assert set(data) == {"ca.crt", "ca.key", "tls.crt", "tls.key", "path"}
    assert served(address, port, data["ca.crt"])["subjectAltName"] == (("DNS", HOST),)


def test_a_certificate_that_is_taken_away_is_made_anew_by_the_same_ca_and_used_without_a_restart(
    sandboxes: Sandboxes, kube: Kube, asked: Path, operator: OperatorProcess, address: str, port: int
) -> None:
    assert asked
    before, pid = secret(kube), operator.pid
    shown = served(address, port, before["ca.crt"])
    kube.run("patch", "secret", NAME, "-n", OPERATOR_NAMESPACE, "--type=merge", "-p", '{"data":{"tls.crt":null}}')
    wait_until("another one is stored", lambda: secret(kube).get("tls.crt", before["tls.crt"]) != before["tls.crt"], 60)
    other = wait_until("it is served", lambda: _other(served(address, port, before["ca.crt"]), shown), 60)
    assert other["subjectAltName"] == shown["subjectAltName"]
    assert {k: v for k, v in secret(kube).items() if k not in ("tls.crt", "tls.key")} == {
        k: v for k, v in before.items() if k not in ("tls.crt", "tls.key")
    }
    assert refused(kube, sandboxes)
    assert operator.pid == pid


def _other(found: Json, known: Json) -> Json | None:
    return found if found["serialNumber"] != known["serialNumber"] else None


def test_a_given_certificate_is_used_and_never_overwritten(
    sandboxes: Sandboxes, kube: Kube, asked: Path, address: str, port: int, tmp_path: Path
) -> None:
    assert asked
    own = secret(kube)
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=given"]
    files = ["-keyout", str(key), "-out", str(certificate), "-addext", f"subjectAltName=DNS:{HOST}"]
    subprocess.run([*command, *files], check=True, capture_output=True)
    given = {"tls.crt": certificate.read_bytes(), "tls.key": key.read_bytes(), "ca.crt": certificate.read_bytes()}
    put(kube, given)
    try:
        wait_until("it is served", lambda: is_served(address, port, given["ca.crt"]), 60)
        introduce(kube)
        wait_until("the webhook is asked", lambda: refused(kube, sandboxes), 60)
        assert secret(kube) == given
    finally:
        put(kube, own)
        wait_until("ours is served", lambda: is_served(address, port, own["ca.crt"]), 60)
        introduce(kube)


def test_without_its_secret_the_operator_works_and_says_what_is_missing(
    sandboxes: Sandboxes, kube: Kube, asked: Path, operator: OperatorProcess, objects: list[Json]
) -> None:
    kube.delete("secret", NAME, OPERATOR_NAMESPACE)
    operator.stop()
    operator.start()
    operator.wait_until_working()
    try:
        wait_until(
            "it says so", lambda: "is not there, so there is no admission webhook" in operator.log.read_text(), 60
        )
        sandboxes.apply("runs", host_volume(asked))
        sandboxes.wait_ready("runs")
    finally:
        kube.apply([o for o in objects if o["kind"] == "Secret"])
        wait_until("the Secret is filled", lambda: "tls.crt" in secret(kube), 60)
        introduce(kube)
    wait_until("the webhook is asked", lambda: refused(kube, sandboxes), 60)


def test_whoever_does_not_know_the_path_learns_nothing(
    address: str, port: int, kube: Kube, sandboxes: Sandboxes, asked: Path
) -> None:
    request = {
        "uid": "1",
        "operation": "CREATE",
        "userInfo": {},
        "resource": {"group": "sandmount.dev", "version": "v1alpha1", "resource": "sandboxes"},
        "object": sandboxes.manifest("x", host_volume("/not-on-any-list"), image=PINNED),
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    data = secret(kube)
    known = ask(address, port, data["ca.crt"], data["path"].decode(), review)
    assert known.startswith("HTTP/1.1 200") and str(asked) in known
    for path in ("/", "/validate", data["path"].decode()[:-1], data["path"].decode() + "/x"):
        unknown = ask(address, port, data["ca.crt"], path, review)
        assert unknown.startswith("HTTP/1.1 404") and str(asked) not in unknown, path


@pytest.mark.parametrize(
    ("verb", "what", "allowed"),
    [
        ("patch", f"secrets/{NAME}", True),
        ("watch", f"secrets/{NAME}", True),
        ("get", "secrets/another", False),
        ("list", "secrets", False),
        ("create", "secrets", False),
        ("delete", f"secrets/{NAME}", False),
        ("get", "validatingwebhookconfigurations", False),
        ("patch", "validatingwebhookconfigurations/sandmount", False),
        ("create", "mutatingwebhookconfigurations", False),
    ],
)
def test_the_operator_has_rights_on_one_secret_and_none_on_webhook_configurations(
    kube: Kube, verb: str, what: str, allowed: bool
) -> None:
    done = kube.try_run("auth", "can-i", verb, what, "-n", OPERATOR_NAMESPACE, ACCOUNT)
    assert done.stdout.strip() == ("yes" if allowed else "no")


def test_the_api_server_takes_the_component_a_second_time_without_undoing_anything(
    kube: Kube, objects: list[Json], asked: Path, sandboxes: Sandboxes
) -> None:
    assert asked
    before = secret(kube)
    kube.apply(objects)
    assert secret(kube) == before
    assert refused(kube, sandboxes)


def test_the_component_switches_the_webhook_on_in_the_deployment(kube: Kube, tmp_path: Path) -> None:
    text = rendered(kube, tmp_path, "webhook")
    said = kube.feed(text, "apply", "--dry-run=server", "-f", "-")
    assert re.search(r"deployment.apps/sandmount-operator (created|configured) \(server dry run\)", said)
    [deployment] = [o for o in yaml.safe_load_all(text) if o["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "SANDMOUNT_ADMISSION", "value": "Deny"} in container["env"]
    assert {"name": "webhook", "containerPort": Settings().admission_port} in container["ports"]


def test_with_cert_manager_the_operator_can_only_read_the_secret_that_cert_manager_makes(
    kube: Kube, tmp_path: Path
) -> None:
    found = list(yaml.safe_load_all(rendered(kube, tmp_path, "webhook-cert-manager")))
    by_kind = {o["kind"]: o for o in found if o["metadata"]["name"] in (NAME, "sandmount")}
    assert "Secret" not in by_kind
    assert by_kind["Role"]["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [NAME], "verbs": ["list", "watch"]}
    ]
    certificate, configuration = by_kind["Certificate"], by_kind["ValidatingWebhookConfiguration"]
    assert (certificate["spec"]["secretName"], certificate["spec"]["dnsNames"]) == (NAME, [HOST])
    source = configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
    assert source == f"{OPERATOR_NAMESPACE}/{certificate['metadata']['name']}"
    [webhook] = configuration["webhooks"]
    assert webhook["clientConfig"]["service"]["path"] == DEFAULT_PATH
    assert webhook["failurePolicy"] == "Ignore"
