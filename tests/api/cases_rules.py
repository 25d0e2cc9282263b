"""One case for each CEL rule of the schema but those about paths: values that are accepted, values that are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.api.sandboxes import volume


@dataclass(frozen=True)
class Rule:
    """A rule at a path. `says` is in the rule's message and in the error."""

    path: str
    says: str
    accepted: tuple[Any, ...]
    refused: tuple[Any, ...]


SUBDOMAINS = ("a", "0", "a-b", "a.b-c.d", "a" * 64)
NOT_SUBDOMAINS = ("", "A", "-a", "a-", ".a", "a.", "a..b", "a.-b", "a_b", "a/b", "a\n", "ä", "..")

QUANTITIES = (0, 1, 2**40, "0", "1", "1.5", "1.", ".5", "100m", "1n", "1u", "64Mi", "1Gi", "2E", "1e3", "1E-3")
NOT_QUANTITIES = (-1, "", "-1", "+1", "1 Gi", "1gi", "1KB", "one", "1e", "1e100", "1.2.3", ".", "1\n")

TIMES = (
    "2026-12-01T00:00:00Z",
    "2026-12-01T23:59:59.123456789+14:00",
    "2024-02-29T00:00:00-12:30",
    "1999-01-01T00:00:00Z",
)
NOT_TIMES = (  # each nearly one
    "",
    "2026-12-01",
    "2026-12-01T00:00:00",
    "2026-12-01 00:00:00Z",
    "2026-12-01t00:00:00z",
    "tomorrow",
    "2026-12-01T24:00:00Z",
    "2026-12-01T00:00:60Z",
    "2026-12-01T00:00:00+25:00",
    "2026-12-01T00:00Z",
)
NOT_DAYS = ("2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-10T00:00:00Z", "2025-02-29T00:00:00Z")

PORTS = (1, 80, 65535, "http", "a", "h2", "web-1", "1a")
NOT_PORT_NAMES = ("", "HTTP", "-a", "a-", "a--b", "80", "a_b", "a.b", "a\n")
NOT_PORTS = (0, -1, 65536, *NOT_PORT_NAMES)

KEYS = ("a", ".", "..a", "tls.crt", "A_b-c")
NOT_KEYS = ("", "a/b", "a b", "a\n", "ä", "a:b")

HOST, OTHER = volume("a", "/a", "host"), volume("b", "/b", "pvc")
REF = {"fieldPath": "metadata.name"}
RESOURCE = {"resource": "limits.cpu"}
SECRET = {"name": "s", "key": "k"}

RULES = (
    Rule(
        "spec.image",
        "image must not contain white space, control or invisible characters",
        ("ubuntu", "registry.example:5000/team/tool:1.2@sha256:" + "0" * 64),
        (" ubuntu", "ubuntu ", "a b", "a\n", "a\tb", "a\0", "a\u00a0b", "a\u2028b", "a\u200bb", "\ufeffubuntu"),
    ),
    Rule("spec.expiresAt", "expiresAt must be a time with its offset from UTC", TIMES, NOT_TIMES),
    Rule("spec.expiresAt", "expiresAt must be a day that there is", TIMES, NOT_DAYS),
    Rule(
        "spec.imagePullSecrets[].name", "imagePullSecrets name must be the name of a Secret", SUBDOMAINS, NOT_SUBDOMAINS
    ),
    Rule(
        "spec.entrypoint",
        "entrypoint must have at most 131072 characters in all",
        ([], ["a"], ["a" * 8192] * 16, ["a" * 2048] * 64),
        (["a" * 8192] * 16 + ["b"], ["a" * 8192] * 64),
    ),
    Rule(
        "spec.env",
        "env must have at most 131072 characters of values in all",
        ([{"name": f"E{i}", "value": "v" * 4096} for i in range(32)] + [{"name": "A"}],),
        ([{"name": f"E{i}", "value": "v" * 4096} for i in range(32)] + [{"name": "A", "value": "b"}],),
    ),
    Rule(
        "spec.readinessProbe.exec.command",
        "exec command must have at most 131072 characters in all",
        (["a" * 8192] * 16,),
        (["a" * 8192] * 16 + ["b"],),
    ),
    Rule(
        "spec.env[]",
        "has both value and valueFrom: keep one of them",
        (
            {"name": "A"},
            {"name": "A", "value": ""},
            {"name": "A", "value": "b"},
            {"name": "A", "valueFrom": {"fieldRef": REF}},
        ),
        (
            {"name": "A", "value": "b", "valueFrom": {"fieldRef": REF}},
            {"name": "A", "value": "", "valueFrom": {"fieldRef": REF}},
        ),
    ),
    Rule(
        "spec.env[].name",
        "env name must be letters, digits, '_', '-' and '.'",
        ("A", "_", "a.b-c_D9", "-", "."),
        ("", "9A", "A B", "A=B", "A\n", "Ä", "A/B", "\0"),
    ),
    Rule(
        "spec.env[].valueFrom",
        "env valueFrom must have exactly one of secretKeyRef, configMapKeyRef, fieldRef, resourceFieldRef",
        ({"secretKeyRef": SECRET}, {"configMapKeyRef": SECRET}, {"fieldRef": REF}, {"resourceFieldRef": RESOURCE}),
        ({}, {"fieldRef": REF, "resourceFieldRef": RESOURCE}, {"secretKeyRef": SECRET, "configMapKeyRef": SECRET}),
    ),
    Rule("spec.env[].valueFrom.secretKeyRef.key", "secretKeyRef key must be letters, digits", KEYS, NOT_KEYS),
    Rule("spec.env[].valueFrom.configMapKeyRef.key", "configMapKeyRef key must be letters, digits", KEYS, NOT_KEYS),
    Rule(
        "spec.env[].valueFrom.resourceFieldRef.divisor",
        "resourceFieldRef divisor must be a quantity that is not negative",
        QUANTITIES,
        NOT_QUANTITIES,
    ),
    Rule(
        "spec.ports",
        "ports must have different names",
        (
            [{"name": "a", "containerPort": 1}, {"name": "b", "containerPort": 2}],
            [{"name": "a", "containerPort": 1}, {"containerPort": 2}, {"containerPort": 3}],
        ),
        ([{"name": "a", "containerPort": 1}, {"containerPort": 2}, {"name": "a", "containerPort": 3}],),
    ),
    Rule(
        "spec.ports",
        "ports must not list the same containerPort and protocol twice",
        (
            [
                {"containerPort": 53},
                {"containerPort": 53, "protocol": "UDP"},
                {"containerPort": 53, "protocol": "SCTP"},
            ],
            [{"containerPort": 53}, {"containerPort": 54}],
        ),
        (
            [{"containerPort": 53}, {"containerPort": 53}],
            [{"containerPort": 53}, {"containerPort": 53, "protocol": "TCP"}],
            [
                {"name": "a", "containerPort": 53, "protocol": "UDP"},
                {"name": "b", "containerPort": 53, "protocol": "UDP"},
            ],
        ),
    ),
    Rule(
        "spec.ports[].name",
        "ports name must be lower-case letters, digits",
        ("http", "a", "web-1", "1a"),
        NOT_PORT_NAMES,
    ),
    Rule("spec.resources.requests{}", "resources requests must be quantities", QUANTITIES, NOT_QUANTITIES),
    Rule("spec.resources.limits{}", "resources limits must be quantities", QUANTITIES, NOT_QUANTITIES),
    Rule(
        "spec.securityContext",
        "securityContext has runAsNonRoot true and runAsUser 0",
        (
            {"runAsNonRoot": True},
            {"runAsUser": 0},
            {"runAsNonRoot": True, "runAsUser": 1},
            {"runAsNonRoot": False, "runAsUser": 0},
        ),
        ({"runAsNonRoot": True, "runAsUser": 0},),
    ),
    Rule("spec.runtimeClassName", "runtimeClassName must be the name of a RuntimeClass", SUBDOMAINS, NOT_SUBDOMAINS),
    Rule(
        "spec.nodeSelector",
        "nodeSelector keys must have at most 317 characters",
        ({}, {"k" * 317: "a"}, {"kubernetes.io/arch": ""}),
        ({"k" * 318: "a"}, {"a": "a", "k" * 5000: "a"}),
    ),
    Rule(
        "spec.tolerations[].key",
        "tolerations must name a key",
        ("gpu",),
        ("",),
    ),
    Rule(
        "spec.tolerations[].key",
        "tolerations must not name the taint of control-plane nodes",
        ("node-role.kubernetes.io/gpu", "control-plane", "node-role.kubernetes.io/control-plane-2"),
        (
            *(f"node-role.kubernetes.io/{role}" for role in ("control-plane", "controlplane", "master", "etcd")),
            "CriticalAddonsOnly",
        ),
    ),
    Rule(
        "spec.tolerations[].key",
        "tolerations must not name a taint of virtual-kubelet.io",
        ("virtual-kubelet", "my-virtual-kubelet.io/provider"),
        ("virtual-kubelet.io/provider", "virtual-kubelet.io/", "virtual-kubelet.io/compute-type"),
    ),
    Rule(
        "spec.tolerations[]",
        "tolerations with operator Exists must not have a value",
        (
            {"key": "a", "operator": "Exists", "value": ""},
            {"key": "a", "operator": "Equal", "value": "b"},
            {"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 60},
        ),
        ({"key": "a", "operator": "Exists", "value": "b"},),
    ),
    Rule(
        "spec.readinessProbe",
        "readinessProbe must have exactly one of httpGet, tcpSocket, exec",
        ({"httpGet": {"port": 1}}, {"tcpSocket": {"port": 1}}, {"exec": {"command": ["true"]}}),
        ({}, {"periodSeconds": 1}, {"httpGet": {"port": 1}, "tcpSocket": {"port": 1}}),
    ),
    Rule("spec.readinessProbe.httpGet.port", "httpGet port must be a number from 1 to 65535", PORTS, NOT_PORTS),
    Rule("spec.readinessProbe.tcpSocket.port", "tcpSocket port must be a number from 1 to 65535", PORTS, NOT_PORTS),
    Rule(
        "spec.volumes[]",
        "a volume must have exactly one of host, pvc, emptyDir",
        (
            HOST,
            OTHER,
            volume("c", "/c"),
            {"name": "d", "mountPath": "/d", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        ),
        ({"name": "a", "mountPath": "/a"}, HOST | {"emptyDir": {}}, HOST | {"pvc": {"claimName": "c"}, "emptyDir": {}}),
    ),
    Rule(
        "spec.volumes[].name",
        "volumes name must be lower-case letters, digits and '-'",
        ("a", "0", "a-b", "a" * 63),
        ("", "A", "-a", "a-", "a.b", "a_b", "a/b", "..", "a\n", "ä"),
    ),
    Rule("spec.volumes[].pvc.claimName", "pvc.claimName must be the name of a claim", SUBDOMAINS, NOT_SUBDOMAINS),
    Rule("spec.volumes[].emptyDir.sizeLimit", "emptyDir.sizeLimit must be a quantity", QUANTITIES, NOT_QUANTITIES),
    Rule(
        "spec.volumes",
        "volumes must have different mountPaths",
        ([HOST, OTHER], [volume("a", "/a"), volume("b", "/A")]),
        ([HOST, volume("b", "/a", "host")], [OTHER, volume("x", "/x"), volume("y", "/x")]),
    ),
    Rule(
        "spec.volumes",
        "volumes must not have a mountPath inside that of a host or pvc volume",
        (
            [volume("tmp", "/a"), volume("b", "/a/b", "host"), volume("c", "/a/c/d", "pvc"), volume("e", "/a/e")],
            [HOST, volume("b", "/ab"), volume("c", "/ab/a", "host")],
        ),
        (
            [HOST, volume("b", "/a/b", "host")],
            [volume("b", "/a/b"), HOST],
            [OTHER, volume("c", "/b/c/d", "pvc")],
            [volume("tmp", "/t"), volume("b", "/t/b", "pvc"), volume("c", "/t/b/c")],
        ),
    ),
)
