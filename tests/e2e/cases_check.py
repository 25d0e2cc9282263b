"""Allowlists and Sandboxes made by chance, the same for the same seed: what an admin and users may write."""

import random
from dataclasses import dataclass

import yaml

from tests.support import Json

ROOTS = ("/data", "/data/a", "/data/a/b", "/data/b", "/datax", "/srv/x", "/srv/x/z", "/mnt/disk", "/var/lib/docker/v")
ODD_ITEMS = ("data", "/data/../etc", "/data//a", "/", "/etc", "", 5, None, ["/data"], {"path": 7}, {"/data": None})
ATTRIBUTES = {
    "readOnly": (True, True, True, True, False, "yes"),
    "nodes": ({"disk": "fast"}, {"disk": "fast", "zone": "z1"}, {"zone": "z2"}, {"disk": 5}),
    "acknowledgeRisk": (True, False),
    "mode": ("ro",),
}
UNUSABLE = ("", "a: b", "[/data", "- &a /data\n- *a", "- !!str /data", '"/data"')
NOWHERE = {"sandmount.dev/no-such-node": "true"}
"""A nodeSelector with which a Pod is made and never starts."""


@dataclass(frozen=True)
class Case:
    """An allowlist's text, None for none at all, and Sandboxes to judge by it."""

    allowlist: str | None
    sandboxes: list[Json]


class Chance:
    """Draws cases for these namespaces, which share a beginning."""

    def __init__(self, seed: int, namespaces: list[str], beginning: str) -> None:
        self._draw = random.Random(seed)  # noqa: S311 - for tests
        self._namespaces = namespaces
        self._patterns = [
            *namespaces,
            f"{beginning}-*",
            f"{beginning}-team-*",
            f"{beginning}-*",
            "*",
            "elsewhere",
            "Bad_Name",
        ]

    def case(self, number: int, sandboxes: int) -> Case:
        """The next case; ``number`` makes the names of its Sandboxes its own. The first few have lists of odd kinds."""
        odd = (None, "[]", "none", *self._draw.sample(UNUSABLE, 2))
        items = [self._item() for _ in range(self._draw.randint(1, 5))]
        wanted = [p for i in items if isinstance(p := i.get("path") if isinstance(i, dict) else i, str) and p in ROOTS]
        text = yaml.safe_dump(items, default_flow_style=self._draw.random() < 0.3)
        allowlist = odd[number] if number < len(odd) else text
        return Case(allowlist, [self._sandbox(f"case-{number}-{i}", wanted or ["/data"]) for i in range(sandboxes)])

    def _item(self) -> object:
        kind = self._draw.random()
        if kind < 0.05:
            return self._draw.choice(ODD_ITEMS)
        root = self._draw.choice(ROOTS) + self._draw.choice(("", "", "", "/"))
        if kind < 0.2:
            return root
        item: Json = {"path": root}
        for name, values in ATTRIBUTES.items():
            if self._draw.random() < {"readOnly": 0.8, "nodes": 0.25, "acknowledgeRisk": 0.3, "mode": 0.02}[name]:
                item[name] = self._draw.choice(values)
        if self._draw.random() < 0.4:
            item["namespaces"] = self._draw.sample(self._patterns, self._draw.randint(1, 3))
        return item

    def _sandbox(self, name: str, wanted: list[str]) -> Json:
        spec: Json = {"image": self._draw.choice(("busybox:stable", "busybox", "busybox:latest"))}
        spec |= {"nodeSelector": NOWHERE, "terminationGracePeriodSeconds": 0}
        volumes = [self._volume(f"v{i}", wanted) for i in range(self._draw.choice((0, 1, 1, 1, 1, 1, 2, 2, 3)))]
        if volumes:
            spec["volumes"] = volumes
        if self._draw.random() < 0.05:
            spec["runtimeClassName"] = "gvisor"
        if self._draw.random() < 0.05:
            spec["env"] = [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
        metadata = {"name": name, "namespace": self._draw.choice(self._namespaces)}
        return {"apiVersion": "sandmount.dev/v1alpha1", "kind": "Sandbox", "metadata": metadata, "spec": spec}

    def _volume(self, name: str, wanted: list[str]) -> Json:
        volume: Json = {"name": name, "mountPath": f"/mnt/{name}"}
        if self._draw.random() < 0.1:
            return volume | self._draw.choice(({"emptyDir": {}}, {"pvc": {"claimName": "claim"}}))
        below = self._draw.choice(("", "", "", "/a", "/a/b", "/b/c"))
        if self._draw.random() < 0.02:
            below = "/" + "語" * 90  # too long, in bytes, which only the operator counts
        volume["host"] = {
            "path": self._draw.choice(wanted if self._draw.random() < 0.8 else (*ROOTS, "/srv", "/etc")) + below
        }
        if self._draw.random() < 0.4:
            volume["subPath"] = self._draw.choice(("a", "b", "a/b", "z", "deep/er"))
        if self._draw.random() < 0.6:
            volume["readOnly"] = self._draw.random() < 0.85
        return volume
