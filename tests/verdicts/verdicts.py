"""Asks kstatus, Argo CD's health check and Flux's health check expressions what they say of objects.

They are a program in Go, built once into the cache for each version of its sources. The health check and the
expressions are those that admins install, from manifests/.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.cluster.base import say
from tests.cluster.choose import cache_folder
from tests.cluster.local.build import build_program, find_go
from tests.cluster.local.layout import Layout

REPOSITORY = Path(__file__).resolve().parents[2]
HEALTH_CHECK = REPOSITORY / "manifests" / "argocd" / "health.lua"
FLUX_KUSTOMIZATION = REPOSITORY / "manifests" / "flux" / "health-checks.yaml"
GO_MODULE = Path(__file__).parent / "go"

Json = dict[str, Any]


class NoVerdictError(Exception):
    """A tool gave no verdict on an object, with its reason: its script raised, or needs what the object has not."""


@dataclass(frozen=True)
class Verdict:
    """What a tool says: one of its own words, and a message for people, which may be empty."""

    status: str
    message: str


def kstatus(objects: Sequence[Json]) -> list[Verdict]:
    """What kstatus says, and so Flux with `wait: true`: Current, InProgress, Failed or Terminating."""
    return _ask(objects, "kstatus")


def argocd(objects: Sequence[Json], health_check: Path = HEALTH_CHECK) -> list[Verdict]:
    """What Argo CD says with our health check: Healthy, Progressing, Degraded, Suspended."""
    return _ask(objects, "argocd", str(health_check))


def flux(objects: Sequence[Json], kustomization: Path = FLUX_KUSTOMIZATION) -> list[Verdict]:
    """What Flux says with our expressions: Current, InProgress or Failed."""
    return _ask(objects, "flux", str(kustomization))


def _ask(objects: Sequence[Json], *arguments: str) -> list[Verdict]:
    lines = "".join(json.dumps(item) + "\n" for item in objects)
    done = subprocess.run([program(), *arguments], input=lines, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"verdicts {' '.join(arguments)}: {done.stderr.strip()}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for answer in answers:
        if "error" in answer:
            raise NoVerdictError(answer["error"])
    found = [Verdict(answer["status"], answer.get("message", "")) for answer in answers]
    assert len(found) == len(objects)
    return found


@cache
def program() -> Path:
    """The program, built from its sources unless it is there. Several processes may ask at once."""
    binaries = Layout(cache_folder(os.environ)).bin
    binaries.mkdir(parents=True, exist_ok=True)
    binaries = binaries.resolve()  # a link where test workers have clusters of their own, with the binaries in common
    target = binaries / f"verdicts-{_version()}" / "verdicts"
    if target.exists():
        return target
    with (binaries / "verdicts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            say("Building the program that asks kstatus, Argo CD and Flux, once; on 2 cores it takes a minute or two.")
            build_program(find_go(Layout(binaries.parent).tools), GO_MODULE, ".", target)
    return target


def _version() -> str:
    """Of what the program is built from; another one is built beside it."""
    digest = hashlib.sha256()
    for source in sorted([*GO_MODULE.glob("go.*"), *GO_MODULE.glob("*.go")]):
        digest.update(f"{source.name}\0{source.stat().st_size}\0".encode() + source.read_bytes())
    return digest.hexdigest()[:12]
