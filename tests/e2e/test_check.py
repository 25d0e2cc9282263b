"""`sandmount check` says what the operator does: the same grants, the same reasons, the same words."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from sandmount.check.documents import Document, plain, read
from sandmount.cli import main
from tests.cluster import Cluster
from tests.cluster.kubectl import SANDBOXES
from tests.e2e.cases_check import Case, Chance
from tests.support import Json, Kube, OperatorProcess, wait_until
from tests.support.fixtures import Recorder
from tests.support.installation import REPOSITORY
from tests.support.kubectl import ALLOWLIST_KEY, ALLOWLIST_NAME, OPERATOR_NAMESPACE, condition_of

SEED = 1
ROUNDS, SANDBOXES_EACH = 25, 20
BEGINNING = "check"
NAMESPACES = [f"{BEGINNING}-{name}" for name in ("team-a", "team-b", "ci-1", "other")]
ENOUGH = {"mounts": 60, "mounts on some nodes": 10, "HostPathNotAllowed": 100, "HostPathReadOnly": 20, "InvalidSpec": 5}
"""How many of each outcome there have to be, or the cases show little."""
LONGEST_MESSAGE = 4096
DECIDED_SECONDS = 60
EXAMPLES = REPOSITORY / "examples" / "host-volume-mount"
EXAMPLES_ALLOWLIST = "- /srv/sandmount-demo\n"

Found = dict[str, object]
"""What is known of a Sandbox: why it is refused, or what it mounts."""


@pytest.fixture
def namespaces(kube: Kube) -> Iterator[list[str]]:
    """Namespaces whose names matter."""
    for name in NAMESPACES:
        kube.make_namespace(name)
    yield NAMESPACES
    for name in NAMESPACES:
        kube.delete("namespace", name, wait=False)


@pytest.mark.settings(LOG_FORMAT="text", EMPTY_ALLOWLIST="allow")
def test_the_example_s_manifests_are_judged_as_the_operator_judges_them(
    kube: Kube, operator: OperatorProcess, namespace: str, tmp_path: Path
) -> None:
    put_allowlist(kube, operator, EXAMPLES_ALLOWLIST)
    (tmp_path / "list.yaml").write_text(EXAMPLES_ALLOWLIST)
    files = [str(f) for f in sorted(EXAMPLES.glob("*.yaml"))]
    command = [sys.executable, "-m", "sandmount", "check", *files, "-n", namespace, "-o", "json"]
    said = subprocess.run(
        [*command, "--allowlist", str(tmp_path / "list.yaml")],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "operator")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 1, said.stderr
    expected = {k: about_check(s) for k, s in by_key(json.loads(said.stdout)["sandboxes"]).items()}
    assert len(expected) == 5
    kube.run("apply", "-n", namespace, *(word for f in files for word in ("-f", f)))
    agree(kube, operator, expected)
    kube.run("delete", SANDBOXES, "--all", "-n", namespace, "--wait=false")


@pytest.mark.settings(LOG_FORMAT="text", EMPTY_ALLOWLIST="allow")
def test_500_generated_cases_are_judged_as_the_operator_judges_them(
    kube: Kube,
    operator: OperatorProcess,
    cluster: Cluster,
    namespaces: list[str],
    tmp_path: Path,
    record_property: Recorder,
) -> None:
    chance = Chance(SEED, namespaces, BEGINNING)
    outcomes: Counter[str] = Counter()
    for number in range(ROUNDS):
        case = chance.case(number, SANDBOXES_EACH)
        put_allowlist(kube, operator, case.allowlist)
        file = manifest_file(case, number, tmp_path)
        kube.run("apply", "--server-side", "-f", str(file))
        source = ("--from-cluster",) if number % 3 == 0 or case.allowlist is None else list_file(case, number, tmp_path)
        expected = checked(file, source, cluster)
        assert len(expected) == SANDBOXES_EACH
        agree(kube, operator, expected)
        outcomes.update(_outcome(found) for found in expected.values())
        for name in namespaces:
            kube.run("delete", SANDBOXES, "--all", "-n", name, "--wait=false")
    record_property("seed", SEED)
    record_property("outcomes", ", ".join(f"{v} {k}" for k, v in sorted(outcomes.items())))
    for outcome, least in ENOUGH.items():
        assert outcomes[outcome] >= least, outcome


SCALARS = """yes y n on Off 017 0o17 0x1F 0b11 1_000 1:30 1e3 1.5e3 1000.0 .5 5. +5 -0 2001-01-01 2001-01-01T00:00:00Z ~
null = 18446744073709551615 08 "yes" !!str 5|!!int "5"|'a'|TRUE tRUE 0_1 1__0 0x -0x1F -017 1e400x 0o8 1.2.3 + .
0b2 NULL Null nUll True Yes ON 9223372036854775807 -9223372036854775808 12e03 -.5 -5.e1 0.0 00 0x_1 1_ _1"""


def test_a_manifest_is_read_as_kubectl_reads_it(kube: Kube) -> None:
    written = [s for line in SCALARS.split("\n") for part in line.split("|") for s in _scalars(part)]
    merged = "m: &m {a: 1, b: &b [2, *m1]}\n".replace("*m1", "3") + "n: {<<: *m, b: *b}\nkeys: {1: a, yes: b, 1.5: c}\n"
    spec = "\n".join(f"  s{i}: {s}" for i, s in enumerate(written))
    head = "apiVersion: sandmount.dev/v1alpha1\nkind: Sandbox\nmetadata: {name: a, namespace: default}\n"
    text = f"# a comment\n---\n{head}spec:\n{spec}\n{merged}---\n---\n# nothing\n"
    kubectl = json.loads(kube.feed(text, "create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-"))
    [found] = read(text.encode())
    assert isinstance(found, Document)
    ours = plain(found.root)
    differing = {s: (ours["spec"][f"s{i}"], kubectl["spec"][f"s{i}"]) for i, s in enumerate(written)}
    assert {s: pair for s, pair in differing.items() if not _same(*pair)} == {}
    assert ours == kubectl | {"spec": ours["spec"]}


def _scalars(part: str) -> list[str]:
    return [part] if part.startswith("!!") else part.split()


def _same(one: object, other: object) -> bool:
    """Equal, and of one kind; kubectl prints numbers above 2**53 as the nearest that a float can hold."""
    return type(one) is type(other) and (one == other or (isinstance(one, int) and float(one) == float(str(other))))


def put_allowlist(kube: Kube, operator: OperatorProcess, text: str | None) -> None:
    """Writes the list, or removes it, and returns when the operator decides by it."""
    if text is None:
        kube.delete("configmap", ALLOWLIST_NAME, OPERATOR_NAMESPACE)
        version = "absent"
    else:
        kube.set_allowlist(text)
        metadata = kube.get("configmap", ALLOWLIST_NAME, OPERATOR_NAMESPACE)["metadata"]
        version = f"{metadata['uid']}/{metadata['resourceVersion']}"

    def loaded() -> bool:
        told = [line for line in operator.log.read_text().splitlines() if "allowlist loaded" in line]
        return bool(told) and told[-1].endswith(f"version: {version}")

    wait_until(f"the operator has loaded the list {version}", loaded, DECIDED_SECONDS)


def _outcome(found: Found) -> str:
    if "reason" in found:
        return str(found["reason"])
    nodes = found["nodes"]
    assert isinstance(nodes, set)
    return ("mounts on some nodes" if len(nodes) > 1 else "mounts") if found["mounts"] else "mounts nothing"


def list_file(case: Case, number: int, folder: Path) -> tuple[str, ...]:
    """The list as a file: bare, or in its ConfigMap among other objects."""
    assert case.allowlist is not None
    path = folder / f"list-{number}.yaml"
    metadata = {"name": ALLOWLIST_NAME, "namespace": OPERATOR_NAMESPACE}
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {ALLOWLIST_KEY: case.allowlist},
    }
    path.write_text(
        case.allowlist if number % 3 == 1 else yaml.safe_dump_all([{"kind": "X", "apiVersion": "x/v1"}, config_map])
    )
    return "--allowlist", str(path)


def manifest_file(case: Case, number: int, folder: Path) -> Path:
    """The Sandboxes as a file: YAML documents, or a list in JSON."""
    path = folder / f"sandboxes-{number}"
    whole = {"apiVersion": "v1", "kind": "List", "items": case.sandboxes}
    path.write_text(json.dumps(whole) if number % 2 else yaml.safe_dump_all(case.sandboxes))
    return path


def checked(file: Path, source: tuple[str, ...], cluster: Cluster) -> dict[str, Found]:
    """What `sandmount check` says of the Sandboxes in a file."""
    told = CliRunner().invoke(
        main, ["check", str(file), *source, "-o", "json"], env={"KUBECONFIG": str(cluster.kubeconfig)}
    )
    assert told.exception is None or isinstance(told.exception, SystemExit), told.output
    report = json.loads(told.stdout)
    assert report["exitCode"] == told.exit_code
    if all(s["allowed"] for s in report["sandboxes"]):
        assert told.exit_code == 0 or [f for f in report["findings"] if "sandbox" not in f]
    else:
        assert told.exit_code in (1, 2)
    return {key: about_check(s) for key, s in by_key(report["sandboxes"]).items()}


def about_check(sandbox: Json) -> Found:
    """What check says of a Sandbox."""
    if sandbox["problems"]:
        return {"reason": "InvalidSpec", "message": shortened("; ".join(sandbox["problems"]))}
    if sandbox["refusal"]:
        return {"reason": sandbox["refusal"]["reason"], "message": shortened(sandbox["refusal"]["message"])}
    denied = [v for v in sandbox["volumes"] if v["decision"] == "denied"]
    if denied:
        message = shortened("; ".join(v["message"] for v in denied))
        return {"reason": denied[0]["reason"], "message": message, "denied": True}
    mounts = {(v["name"], v["root"], v["subPath"], v["readOnly"]) for v in sandbox["volumes"]}
    nodes = {label for v in sandbox["volumes"] for label in v["nodes"].items()}
    return {"mounts": mounts, "nodes": nodes | ({("kubernetes.io/os", "linux")} if mounts else set())}


def about_operator(sandbox: Json, pod: Json | None) -> Found:
    """What the operator has done about a Sandbox, and says of it."""
    stalled = condition_of(sandbox, "Stalled")
    allowed = condition_of(sandbox, "VolumesAllowed") or {"status": "Unknown"}
    if stalled is not None and pod is None:
        ready = condition_of(sandbox, "Ready") or {}
        assert [ready.get(k) for k in ("status", "reason", "message")] == [
            "False",
            stalled["reason"],
            stalled["message"],
        ]
        denied = {"denied": True} if allowed["status"] == "False" else {}
        if denied:
            assert (allowed["reason"], allowed["message"]) == (stalled["reason"], stalled["message"])
        return {"reason": stalled["reason"], "message": stalled["message"], **denied}
    if pod is None or allowed["status"] != "True":
        return {}
    roots = {v["name"]: v["hostPath"]["path"] for v in pod["spec"].get("volumes", ()) if "hostPath" in v}
    [container] = pod["spec"]["containers"]
    mounted = [m for m in container.get("volumeMounts", ()) if m["name"] in roots]
    mounts = {(m["name"], roots[m["name"]], m.get("subPath", ""), m.get("readOnly", False)) for m in mounted}
    told = {(v["name"], v["root"], v.get("subPath", ""), v["readOnly"]) for v in sandbox["status"].get("volumes", ())}
    return {"mounts": mounts, "nodes": _required_labels(pod)} if told == mounts else {}


def _required_labels(pod: Json) -> set[tuple[str, str]]:
    affinity = pod["spec"].get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
    return {(e["key"], e["values"][0]) for t in terms for e in t["matchExpressions"]}


def agree(kube: Kube, operator: OperatorProcess, expected: dict[str, Found]) -> None:
    """Returns when the operator has done with each Sandbox what is expected, and raises when it does not."""
    seen: dict[str, Found] = {}

    def settled() -> bool:
        pods = by_key(kube.items("pods", "--all-namespaces"))
        sandboxes = by_key(kube.items(SANDBOXES, "--all-namespaces"))
        seen.update({k: about_operator(sandboxes[k], pods.get(k)) if k in sandboxes else {} for k in expected})
        return seen == expected

    def differing() -> str:
        return "\n".join(f"{k}: check: {expected[k]} operator: {seen[k]}" for k in expected if seen[k] != expected[k])

    wait_until("operator and check agree", settled, DECIDED_SECONDS, differing)
    assert "Traceback" not in operator.log.read_text()


def by_key(objects: list[Json]) -> dict[str, Json]:
    """Objects, or what is said of them, by namespace and name."""
    plain_objects = [o.get("metadata", o) for o in objects]
    return {f"{m['namespace']}/{m['name']}": o for m, o in zip(plain_objects, objects, strict=True)}


def shortened(message: str) -> str:
    """As a condition holds it."""
    return message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 3] + "..."
