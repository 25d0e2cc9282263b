"""Kubernetes Events as the API wants them (events.k8s.io/v1). Pure; when one is due is decided in status.py."""

import socket
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sandmount.allowlist import Allowlist
from sandmount.api import API_VERSION, GROUP, KIND
from sandmount.observe import Sandbox
from sandmount.settings import Settings
from sandmount.status import Happening

_MAX_BAD_ITEMS = 10  # told one by one
_MAX_NOTE = 1024  # the API's limit
_MAX_ABOUT = 200  # characters of a name in an Event's own, which has at most 253


def event_about_sandbox(sandbox: Sandbox, happening: Happening, now: datetime) -> dict[str, Any]:
    """An Event that ``kubectl describe`` shows with the Sandbox."""
    regarding = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "namespace": sandbox.namespace,
        "name": sandbox.name,
        "uid": sandbox.uid,
    }
    return _event(regarding, happening, now)


def allowlist_events(
    allowlist: Allowlist, config_map: Mapping[str, Any] | None, settings: Settings, now: datetime
) -> list[dict[str, Any]]:
    """What an admin should know about a list that was just loaded: its mistakes, and that it allows everything."""
    regarding = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "namespace": settings.namespace,
        "name": settings.allowlist_name,
    }
    if config_map is not None:
        regarding["uid"] = config_map["metadata"]["uid"]
    found = []
    if allowlist.unusable is not None:
        reason, sentence = allowlist.unusable
        found.append(Happening("Warning", reason, f"{sentence}; every host path is denied until it is mended"))
    if allowlist.allows_all:
        words = "the list is empty, so EVERY host path is allowed; write the roots that are needed, or none"
        found.append(Happening("Warning", "AllowlistAllowsAll", words))
    bad = allowlist.bad_items
    found += [Happening("Warning", "AllowlistBadItem", f"{b}; it grants nothing") for b in bad[:_MAX_BAD_ITEMS]]
    if len(bad) > _MAX_BAD_ITEMS:
        found.append(Happening("Warning", "AllowlistBadItem", f"and {len(bad) - _MAX_BAD_ITEMS} more bad items"))
    if allowlist.repeated:
        words = f"listed more than once, to no effect: {', '.join(allowlist.repeated[:_MAX_BAD_ITEMS])}"
        found.append(Happening("Warning", "AllowlistRepeatedItem", words))
    return [_event(regarding, h, now + timedelta(microseconds=number)) for number, h in enumerate(found)]


def _name(about: str, now: datetime) -> str:
    """In the order of their names as in time: ``kubectl describe`` prints them as they are listed, which is by name."""
    return f"{about[:_MAX_ABOUT].rstrip('-.')}.{int(now.timestamp() * 1e6):x}"


def _event(regarding: Mapping[str, str], happening: Happening, now: datetime) -> dict[str, Any]:
    note = happening.message
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": _name(regarding["name"], now), "namespace": regarding["namespace"]},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": happening.kind,
        "reason": happening.reason,
        "note": note
        if len(note.encode()) <= _MAX_NOTE
        else note.encode()[: _MAX_NOTE - 3].decode(errors="ignore") + "...",
        "action": "Reconcile",
        "reportingController": f"{GROUP}/operator",
        "reportingInstance": socket.gethostname(),
        "regarding": dict(regarding),
    }
