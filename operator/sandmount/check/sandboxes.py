"""Sandboxes before they are applied: what the operator would say of each, with the lines that it is about. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sandmount.allowlist import Allowlist, Denial, Grant
from sandmount.check.findings import Finding, Level, Place
from sandmount.check.manifests import Contents, Manifest
from sandmount.judgement import Judgement, judge
from sandmount.settings import Settings

_FIELD = re.compile(r"(?:spec|metadata)(?:\.[A-Za-z0-9]+|\[[0-9]+\])*(?=: )")
_PART = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class Decided:
    """The allowlist's decision on one volume, and the line of that volume."""

    place: Place
    decision: Grant | Denial


@dataclass(frozen=True, slots=True)
class Checked:
    """One Sandbox, and what the operator would say of it."""

    place: Place
    judgement: Judgement
    volumes: tuple[Decided, ...]
    findings: tuple[Finding, ...]

    @property
    def about(self) -> str:
        """Namespace and name."""
        return f"{self.judgement.namespace}/{self.judgement.name}"


@dataclass(frozen=True, slots=True)
class Report:
    """All that a check has found."""

    sandboxes: tuple[Checked, ...] = ()
    other_findings: tuple[Finding, ...] = ()
    """About files and about the allowlist."""
    others: int = 0
    """Objects of other kinds, which were not looked at."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of the Sandboxes and the others, in the order of their places."""
        files = self.files
        found = [*(f for s in self.sandboxes for f in s.findings), *self.other_findings]
        return tuple(sorted(found, key=lambda f: (files[f.place.file], f.place.line)))

    @property
    def files(self) -> dict[str, int]:
        """A number for each file: those with Sandboxes as they were named, then the others."""
        named = [*(s.place.file for s in self.sandboxes), *(f.place.file for f in self.other_findings)]
        return {file: number for number, file in enumerate(dict.fromkeys(named))}


def check(manifests: Iterable[Manifest], allowlist: Allowlist, settings: Settings) -> tuple[Checked, ...]:
    """Every Sandbox with its judgement, in the same order."""
    return tuple(_checked(m, judge(m.raw, allowlist, settings)) for m in manifests)


def report(contents: Iterable[Contents], checked: tuple[Checked, ...], more: Iterable[Finding]) -> Report:
    """All in one: what is wrong with the texts, the Sandboxes, and what else was found."""
    texts = list(contents)
    about_texts = [f for c in texts for f in c.findings]
    return Report(checked, (*about_texts, *more), sum(c.others for c in texts))


def _checked(manifest: Manifest, judgement: Judgement) -> Checked:
    decisions: list[Grant | Denial] = [*judgement.grants, *judgement.denials]
    lines = [Decided(_volume_place(manifest, d.volume), d) for d in decisions]
    lines.sort(key=lambda v: (v.place.line, v.decision.volume))
    about = f"{judgement.namespace}/{judgement.name}"
    return Checked(
        manifest.object.place(),
        judgement,
        tuple(lines),
        tuple(Finding(*said, about=about) for said in _said(manifest, judgement, lines)),
    )


def _said(
    manifest: Manifest, judgement: Judgement, volumes: Iterable[Decided]
) -> Iterator[tuple[Place, Level, str, str]]:
    for problem in judgement.problems:
        yield manifest.object.place(*_path_in(problem)), Level.INVALID, "InvalidSpec", problem
    if judgement.refusal is not None:
        place = manifest.object.place("spec")
        yield place, Level.ERROR, judgement.refusal.reason, judgement.refusal.message
    for volume in volumes:
        if isinstance(volume.decision, Denial):
            yield volume.place, Level.ERROR, volume.decision.reason, volume.decision.message
    for warning in judgement.warnings:
        yield manifest.object.place(), Level.WARNING, "SandboxWarning", warning


def _volume_place(manifest: Manifest, name: str) -> Place:
    """Where the volume of a valid spec stands."""
    volumes: list[dict[str, Any]] = manifest.raw["spec"]["volumes"]
    index = next(i for i, volume in enumerate(volumes) if volume["name"] == name)
    return manifest.object.place("spec", "volumes", index)


def _path_in(problem: str) -> tuple[str | int, ...]:
    """The field that a problem begins with, as ``spec.volumes[0].host``."""
    found = _FIELD.match(problem)
    return tuple(int(p) if p.isdigit() else p for p in _PART.findall(found[0])) if found else ()
