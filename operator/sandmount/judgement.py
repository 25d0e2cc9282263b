"""judge: what the operator thinks of a Sandbox as somebody wrote it, before any Pod is looked at.

Pure, and the one place for it: the operator's plan, the admission webhook and ``sandmount check`` decide with this, so
they say the same in the same words.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sandmount.allowlist import Allowlist, Denial, Grant
from sandmount.api import InvalidSpec, SandboxSpec, Volume
from sandmount.observe import parse_named_spec
from sandmount.settings import SecretRefs, Settings


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the operator's settings forbid: a CamelCase reason and a sentence that names the setting."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """All there is to say about one Sandbox. Allowed when there is neither a problem, nor a refusal, nor a denial."""

    namespace: str
    name: str
    problems: tuple[str, ...] = ()
    """What is wrong with the spec, each naming its field; nothing else is judged then."""
    refusal: Refusal | None = None
    grants: tuple[Grant, ...] = ()
    denials: tuple[Denial, ...] = ()
    warnings: tuple[str, ...] = ()
    """What is allowed and still worth a thought."""

    @property
    def allowed(self) -> bool:
        """Whether the operator would make its Pod."""
        return not self.problems and self.refusal is None and not self.denials


def judge(raw: Mapping[str, Any], allowlist: Allowlist, settings: Settings) -> Judgement:
    """The judgement on a Sandbox in Kubernetes' JSON; ``metadata.namespace`` is "default" where it is missing."""
    metadata = raw.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    namespace, name = str(metadata.get("namespace") or "default"), str(metadata.get("name") or "")
    spec = parse_named_spec(name, raw.get("spec"))
    if isinstance(spec, InvalidSpec):
        return Judgement(namespace, name, problems=spec.problems)
    grants, denials = decisions(namespace, spec.volumes, allowlist)
    return Judgement(
        namespace,
        name,
        refusal=against_settings(spec, settings),
        grants=grants,
        denials=denials,
        warnings=tuple(_warnings(namespace, spec, grants, allowlist)),
    )


def decisions(
    namespace: str, volumes: Iterable[Volume], allowlist: Allowlist
) -> tuple[tuple[Grant, ...], tuple[Denial, ...]]:
    """The allowlist's decisions on all host volumes."""
    found = [allowlist.decide(namespace, v) for v in volumes]
    return tuple(d for d in found if isinstance(d, Grant)), tuple(d for d in found if isinstance(d, Denial))


def against_settings(spec: SandboxSpec, settings: Settings) -> Refusal | None:
    """Whether the operator's settings forbid something in the spec."""
    secrets = [e.name for e in spec.env if e.value_from and e.value_from.secret_key_ref]
    if secrets and settings.secret_refs is SecretRefs.DENY:
        words = f'env "{secrets[0]}": secretKeyRef is not allowed here; an admin can allow it with --secret-refs=allow'
        return Refusal("SecretRefNotAllowed", words)
    name = spec.runtime_class_name
    if name and not settings.runtime_classes & {name, "*"}:
        allowed = ", ".join(sorted(settings.runtime_classes)) or "none"
        words = f'runtimeClassName "{name}" is not allowed; allowed here: {allowed} (option --runtime-classes)'
        return Refusal("RuntimeClassNotAllowed", words)
    return None


def _warnings(namespace: str, spec: SandboxSpec, grants: tuple[Grant, ...], allowlist: Allowlist) -> Iterator[str]:
    if _is_latest(spec.image):
        yield f'image "{spec.image}" may be another one tomorrow; write a version or a digest'
    if allowlist.allows_all and grants:
        yield "the allowlist is empty, so every host path is allowed; an admin should write the roots that are needed"
        return
    for grant in grants:
        reader = None if grant.read_only else allowlist.read_by_others(namespace, grant)
        if reader is not None:
            yield (
                f'volume "{grant.volume}" is writable, and other namespaces may read what is written there (root '
                f'"{grant.root}"); set readOnly: true if reading is enough'
            )


def _is_latest(image: str) -> bool:
    """Whether an image is named by the tag latest, which is also what no tag and no digest mean."""
    last = image.rpartition("/")[2]
    return "@" not in last and last.partition(":")[2] in ("", "latest")
