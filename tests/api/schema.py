"""Reads crds/sandboxes.yaml: which bounds and rules there are, so that a test can ask whether each has a case. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).resolve().parents[2] / "crds"

BOUNDS = (
    "minLength", "maxLength", "pattern", "enum", "minimum", "maximum", "minItems", "maxItems", "maxProperties",
)  # fmt: skip

Schema = dict[str, Any]


def crd() -> Schema:
    """The CustomResourceDefinition."""
    loaded: Schema = yaml.safe_load((CRDS / "sandboxes.yaml").read_text(encoding="utf-8"))
    return loaded


def root() -> Schema:
    """The schema of a Sandbox."""
    schema: Schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Each part of a schema with its path, such as `spec.volumes[].host.path`."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from nodes(schema["items"], path + "[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], path + "{}")


def bounds() -> Iterator[tuple[str, str]]:
    """Path and keyword of each bound; `required` for a field that is, `unique` for the items of a keyed list."""
    for path, schema in nodes(root()):
        yield from ((path, keyword) for keyword in BOUNDS if keyword in schema)
        yield from ((f"{path}.{name}".lstrip("."), "required") for name in schema.get("required", ()))
        if "x-kubernetes-list-map-keys" in schema:
            yield path + "[]", "unique"


def rules() -> Iterator[tuple[str, str]]:
    """Path of the field that an error names, and each message, of each CEL rule."""
    for path, schema in nodes(root()):
        for rule in schema.get("x-kubernetes-validations", ()):
            field = (path + rule.get("fieldPath", "")).lstrip(".")
            chosen = re.findall('"([^"]+)"', rule.get("messageExpression", ""))
            yield from ((field, message) for message in chosen or [rule["message"]])
