"""parse_spec: each field's bounds, what is accepted at the edge and refused beyond it, with the field named."""

from datetime import UTC, datetime
from typing import Any

import pytest

from sandmount.api import SandboxSpec, parse_spec
from tests.unit.builders import problems, raw_spec, spec

REF = {"name": "s", "key": "k"}
FIELD = {"fieldRef": {"fieldPath": "metadata.name"}}
LABEL_63 = "a" * 63
SUBDOMAIN_253 = ".".join(["a" * 63] * 3 + ["b" * 61])
LONGEST_PATH = "/" + "/".join(["a" * 255] * 4)


def env(**item: Any) -> list[dict[str, Any]]:
    return [{"name": "A", **item}]


def many(count: int, **item: Any) -> list[dict[str, Any]]:
    return [{"name": f"n{i}", **item} for i in range(count)]


def scratch(**item: Any) -> list[dict[str, Any]]:
    return [{"name": "data", "mountPath": "/mnt/data", "emptyDir": {}, **item}]


def probe(**fields: Any) -> dict[str, Any]:
    return {"tcpSocket": {"port": 80}, **fields}


ACCEPTED: list[tuple[str, Any]] = [
    ("image", "a"),
    ("image", "a" * 512),
    *[("imagePullPolicy", p) for p in ("Always", "IfNotPresent", "Never")],
    ("imagePullSecrets", many(16)),
    ("imagePullSecrets", [{"name": SUBDOMAIN_253}]),
    ("entrypoint", ["x"] * 64),
    ("entrypoint", ["", "a\nb", "x" * 8192]),
    ("workingDir", "/"),
    ("workingDir", "/process"),
    ("workingDir", LONGEST_PATH),
    ("env", many(128)),
    ("env", [{"name": "a" * 256}, {"name": "-._B"}]),
    ("env", env(value="")),
    ("env", env(value="x" * 4096)),
    ("env", env(valueFrom={"secretKeyRef": {**REF, "optional": True}})),
    ("env", env(valueFrom={"configMapKeyRef": {"name": SUBDOMAIN_253, "key": "K" * 253}})),
    ("env", env(valueFrom={"fieldRef": {"fieldPath": "f" * 512}})),
    ("env", env(valueFrom={"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}})),
    ("ports", [{"containerPort": p} for p in range(1, 33)]),
    ("ports", [{"containerPort": 65535, "name": "a" * 15, "protocol": "SCTP"}]),
    ("resources", {"requests": {"cpu": 1}, "limits": {"memory": "1Gi"}}),
    ("resources", {"limits": {f"example.com/r{i}": 1 for i in range(16)}}),
    *[
        ("resources", {"limits": {"cpu": q}})
        for q in (0, 2**40, "0", "1", "1.5", ".5", "1.", "100m", "1Gi", "5k", "1E", "1e3", "1E-3", "9" * 64)
    ],
    ("ports", [{"containerPort": 80, "name": "a-1-b"}]),
    ("readinessProbe", {"tcpSocket": {"port": 65535}}),
    ("securityContext", {"runAsUser": 0, "runAsGroup": 2**31 - 1, "fsGroup": 0, "runAsNonRoot": False}),
    ("securityContext", {"supplementalGroups": list(range(32)), "readOnlyRootFilesystem": True}),
    ("securityContext", {"runAsNonRoot": True, "runAsUser": 1}),
    ("runtimeClassName", "gvisor"),
    ("nodeSelector", {f"k{i}": "v" for i in range(32)}),
    ("tolerations", [{"key": f"k{i}"} for i in range(32)]),
    ("tolerations", [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]),
    ("tolerations", [{"key": "k" * 317, "operator": "Equal", "value": "v" * 63}]),
    *[("restartPolicy", p) for p in ("Always", "OnFailure", "Never")],
    ("terminationGracePeriodSeconds", 0),
    ("terminationGracePeriodSeconds", 300),
    ("readinessProbe", probe(initialDelaySeconds=0, periodSeconds=1, timeoutSeconds=3600, successThreshold=10)),
    ("readinessProbe", probe(initialDelaySeconds=3600, failureThreshold=100)),
    ("readinessProbe", {"httpGet": {"port": "http", "path": "/healthz", "scheme": "HTTPS"}}),
    ("readinessProbe", {"exec": {"command": ["true"]}}),
    *[("timeoutSeconds", s) for s in (60, 315_360_000)],
    *[
        ("expiresAt", t)
        for t in (
            "2026-12-01T00:00:00Z",
            "2026-12-01T00:00:00.5Z",
            "2026-12-01T00:00:00.123456789Z",
            "2026-12-01T23:59:59+14:00",
            "2026-12-01T00:00:00-00:00",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
        )
    ],
    *[("expiryPolicy", p) for p in ("Retain", "Delete")],
    *[("paused", p) for p in (True, False)],
    ("volumes", [{"name": f"v{i}", "mountPath": f"/mnt/{i}", "emptyDir": {}} for i in range(32)]),
    ("volumes", scratch(name=LABEL_63)),
    ("volumes", scratch(mountPath=LONGEST_PATH)),
    ("volumes", scratch(emptyDir={"medium": "Memory", "sizeLimit": "1Gi"}, readOnly=True, subPath="a/b")),
    ("volumes", [{"name": "c", "mountPath": "/c", "pvc": {"claimName": SUBDOMAIN_253}}]),
    ("volumes", [{"name": "h", "mountPath": "/h", "host": {"path": LONGEST_PATH}, "subPath": "x"}]),
]

REFUSED: list[tuple[str, Any, str]] = [
    *[("image", v, "image") for v in ("", "a" * 513, "a b", "a\n", None, 5)],
    ("imagePullPolicy", "Sometimes", "imagePullPolicy"),
    ("imagePullSecrets", many(17), "imagePullSecrets"),
    *[
        ("imagePullSecrets", [{"name": n}], "imagePullSecrets[0].name")
        for n in ("", "A", "a_b", "a\n", SUBDOMAIN_253 + "b")
    ],
    ("imagePullSecrets", [{}], "imagePullSecrets[0].name"),
    ("entrypoint", ["x"] * 65, "entrypoint"),
    ("entrypoint", ["a", "x" * 8193], "entrypoint[1]"),
    ("entrypoint", "sleep", "entrypoint"),
    ("entrypoint", [1], "entrypoint[0]"),
    *[
        ("workingDir", d, "workingDir")
        for d in ("", "work", "/a/../b", "/a\n", "/proc", "/proc/1/cwd", LONGEST_PATH + "a")
    ],
    ("env", [{"name": f"n{i}"} for i in range(129)], "env"),
    *[("env", [{"name": n}], "env[0].name") for n in ("", "1A", "A=B", "A B", "A\n", "A\0", "a" * 257)],
    ("env", env(value="x" * 4097), "env[0].value"),
    ("env", env(value=1), "env[0].value"),
    ("env", env(value="", valueFrom=FIELD), "env[0]"),
    ("env", env(valueFrom={}), "env[0].valueFrom"),
    ("env", env(valueFrom={**FIELD, "secretKeyRef": REF}), "env[0].valueFrom"),
    ("env", env(valueFrom={"secretKeyRef": {"name": "s"}}), "env[0].valueFrom.secretKeyRef.key"),
    *[
        ("env", env(valueFrom={"secretKeyRef": {**REF, "key": k}}), "secretKeyRef.key")
        for k in ("", "a/b", "a\n", "k" * 254)
    ],
    ("env", env(valueFrom={"configMapKeyRef": {**REF, "name": "A" * 254}}), "configMapKeyRef.name"),
    ("env", env(valueFrom={"configMapKeyRef": {**REF, "optional": "yes"}}), "configMapKeyRef.optional"),
    ("env", env(valueFrom={"fieldRef": {"fieldPath": ""}}), "fieldRef.fieldPath"),
    ("env", env(valueFrom={"fieldRef": {"fieldPath": "f" * 513}}), "fieldRef.fieldPath"),
    ("env", env(valueFrom={"resourceFieldRef": {"resource": ""}}), "resourceFieldRef.resource"),
    ("env", env(valueFrom={"resourceFieldRef": {"resource": "x" * 513}}), "resourceFieldRef.resource"),
    ("ports", [{"containerPort": p} for p in range(1, 34)], "ports"),
    *[("ports", [{"containerPort": p}], "ports[0].containerPort") for p in (0, -1, 65536, "80", 80.5, True)],
    ("ports", [{"containerPort": 80, "name": "a" * 16}], "ports[0].name"),
    ("ports", [{"containerPort": 80, "name": "A"}], "ports[0].name"),
    ("ports", [{"containerPort": 80, "protocol": "tcp"}], "ports[0].protocol"),
    *[
        ("resources", {"limits": {"cpu": q}}, "resources.limits.cpu")
        for q in (True, -1, "", "-1", "one", "1 Gi", "1GiB", "1Gi\n", "1e100", "9" * 65, None, 1.5)
    ],
    ("volumes", scratch(emptyDir={"sizeLimit": "much"}), "volumes[0].emptyDir.sizeLimit"),
    (
        "env",
        env(valueFrom={"resourceFieldRef": {"resource": "limits.cpu", "divisor": "x"}}),
        "resourceFieldRef.divisor",
    ),
    *[
        ("readinessProbe", {"tcpSocket": {"port": p}}, "readinessProbe.tcpSocket.port")
        for p in (0, 65536, "", "A", "a--b", "-a", "a" * 16, "a\n", None)
    ],
    ("resources", {"requests": {"cpu": 1.5}}, "resources.requests.cpu"),
    ("resources", {"limits": {f"r{i}": 1 for i in range(17)}}, "resources.limits"),
    *[("securityContext", {"runAsUser": u}, "securityContext.runAsUser") for u in (-1, 2**31, "0", True)],
    ("securityContext", {"runAsGroup": -1}, "securityContext.runAsGroup"),
    ("securityContext", {"fsGroup": 2**31}, "securityContext.fsGroup"),
    ("securityContext", {"supplementalGroups": list(range(33))}, "securityContext.supplementalGroups"),
    ("securityContext", {"supplementalGroups": [-1]}, "securityContext.supplementalGroups[0]"),
    ("securityContext", {"runAsNonRoot": True, "runAsUser": 0}, "securityContext: runAsNonRoot is true"),
    ("runtimeClassName", "Gvisor", "runtimeClassName"),
    ("runtimeClassName", "", "runtimeClassName"),
    ("nodeSelector", {f"k{i}": "v" for i in range(33)}, "nodeSelector"),
    ("nodeSelector", {"k": 1}, "nodeSelector.k"),
    ("tolerations", [{"key": f"k{i}"} for i in range(33)], "tolerations"),
    ("tolerations", [{"operator": "Exists"}], "tolerations[0].key"),
    ("tolerations", [{"key": "", "operator": "Exists"}], "tolerations[0].key"),
    ("tolerations", [{"key": "k" * 318}], "tolerations[0].key"),
    ("tolerations", [{"key": "k", "value": "v" * 64}], "tolerations[0].value"),
    ("tolerations", [{"key": "k", "operator": "Exists", "value": "v"}], "tolerations[0]"),
    ("tolerations", [{"key": "k", "operator": "Gt"}], "tolerations[0].operator"),
    ("tolerations", [{"key": "k", "effect": "Never"}], "tolerations[0].effect"),
    *[
        ("tolerations", [{"key": k, "operator": "Exists"}], "tolerations[0].key")
        for k in (
            "node-role.kubernetes.io/control-plane",
            "node-role.kubernetes.io/master",
            "node-role.kubernetes.io/etcd",
            "CriticalAddonsOnly",
            "virtual-kubelet.io/provider",
        )
    ],
    ("restartPolicy", "always", "restartPolicy"),
    *[("terminationGracePeriodSeconds", s, "terminationGracePeriodSeconds") for s in (-1, 301, "10", 1.0)],
    ("readinessProbe", {}, "readinessProbe: needs exactly one of httpGet, tcpSocket, exec"),
    ("readinessProbe", probe(exec={"command": ["true"]}), "readinessProbe: needs exactly one of"),
    *[("readinessProbe", probe(initialDelaySeconds=s), "readinessProbe.initialDelaySeconds") for s in (-1, 3601)],
    *[("readinessProbe", probe(periodSeconds=s), "readinessProbe.periodSeconds") for s in (0, 3601)],
    *[("readinessProbe", probe(timeoutSeconds=s), "readinessProbe.timeoutSeconds") for s in (0, 3601)],
    *[("readinessProbe", probe(successThreshold=n), "readinessProbe.successThreshold") for n in (0, 11)],
    *[("readinessProbe", probe(failureThreshold=n), "readinessProbe.failureThreshold") for n in (0, 101)],
    ("readinessProbe", {"httpGet": {"port": 80, "host": "10.0.0.1"}}, "readinessProbe.httpGet.host"),
    ("readinessProbe", {"httpGet": {"port": 80, "path": "x" * 1025}}, "readinessProbe.httpGet.path"),
    ("readinessProbe", {"exec": {"command": ["x"] * 65}}, "readinessProbe.exec.command"),
    (
        "readinessProbe",
        {"exec": {"command": ["x" * 8192] * 17}},
        "readinessProbe.exec.command: has 139264 characters in all",
    ),
    ("entrypoint", ["x" * 8192] * 17, "entrypoint: has 139264 characters in all"),
    ("env", [{"name": f"E{i}", "value": "v" * 4096} for i in range(33)], "env: has 135168 characters in all"),
    *[("timeoutSeconds", s, "timeoutSeconds") for s in (59, 0, -1, 315_360_001, "60", "1h", 60.0, 60.5, True)],
    *[
        ("expiresAt", t, "expiresAt: is not a time; write one with its offset from UTC, such as 2026-12-01T00:00:00Z")
        for t in (
            "",
            "tomorrow",
            "2026-12-01",
            "2026-12-01T00:00:00",
            "2026-13-01T00:00:00Z",
            "2026-12-01T00:00:60Z",
            "2026-12-01T00:00:00+25:00",
            "10000-01-01T00:00:00Z",
            1_796_083_200,
            True,
        )
    ],
    *[("expiryPolicy", p, "expiryPolicy") for p in ("delete", "", "Keep", 5, None)],
    *[("paused", p, "paused") for p in ("true", "yes", 1, 0, None)],
    ("volumes", [{"name": f"v{i}", "mountPath": f"/m/{i}", "emptyDir": {}} for i in range(33)], "volumes"),
    *[("volumes", scratch(name=n), "volumes[0].name") for n in ("", "A", "a.b", "-a", "a-", "a\n", LABEL_63 + "a")],
    *[
        ("volumes", scratch(mountPath=p), "volumes[0].mountPath")
        for p in ("", "/", "mnt", "/etc", "/proc/x", "/a/", "/a:b")
    ],
    *[
        ("volumes", scratch(subPath=p), "volumes[0].subPath")
        for p in ("", "/a", "..", "a/../b", "a//b", "a/", "a\0", "a\n")
    ],
    ("volumes", scratch(readOnly="yes"), "volumes[0].readOnly"),
    ("volumes", scratch(emptyDir={"medium": "Disk"}), "volumes[0].emptyDir.medium"),
    ("volumes", [{"name": "c", "mountPath": "/c", "pvc": {}}], "volumes[0].pvc.claimName"),
    ("volumes", [{"name": "c", "mountPath": "/c", "pvc": {"claimName": "A"}}], "volumes[0].pvc.claimName"),
    *[
        ("volumes", [{"name": "h", "mountPath": "/h", "host": {"path": p}}], "volumes[0].host.path")
        for p in (
            "",
            "/",
            "data",
            "/a/../b",
            "/a//b",
            "/a/",
            "/a\n",
            "/a\0",
            "/a\u200b",
            "/" + "x" * 5000,
            None,
            ["/a"],
        )
    ],
    ("volumes", [{"name": "h", "mountPath": "/h", "host": {}}], "volumes[0].host.path"),
]


@pytest.mark.parametrize(("field", "value"), ACCEPTED)
def test_a_value_within_its_bounds_is_accepted(field: str, value: Any) -> None:
    assert problems(raw_spec(**{field: value})) == ()


@pytest.mark.parametrize(("field", "value", "named"), REFUSED)
def test_a_value_beyond_its_bounds_is_refused_and_the_field_named(field: str, value: Any, named: str) -> None:
    found = problems(raw_spec(**{field: value}))
    assert any(named in p for p in found), found
    assert all(p.startswith(f"spec.{field}") for p in found), found


def test_only_the_image_is_required() -> None:
    assert parse_spec({"image": "ubuntu"}) == SandboxSpec(image="ubuntu")
    assert problems({}) == ("spec.image: is required",)


def test_defaults_are_those_of_the_schema() -> None:
    found = spec()
    assert found.image_pull_policy == "IfNotPresent"
    assert found.restart_policy == "Always"
    assert found.termination_grace_period_seconds == 10
    assert found.entrypoint is None
    assert (found.timeout_seconds, found.expires_at, found.expiry_policy, found.paused) == (None, None, "Retain", False)


def test_a_time_means_the_same_with_any_offset() -> None:
    texts = ("2026-12-01T00:00:00Z", "2026-12-01T02:00:00+02:00", "2026-11-30T14:30:00-09:30")
    assert {spec(expiresAt=text).expires_at for text in texts} == {datetime(2026, 12, 1, tzinfo=UTC)}


def test_an_entrypoint_that_is_unset_and_an_empty_one_are_told_apart() -> None:
    assert spec().entrypoint is None
    assert spec(entrypoint=None).entrypoint is None
    assert spec(entrypoint=[]).entrypoint == ()
