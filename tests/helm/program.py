"""Helm, built from the module that go.mod names."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tests.cluster.choose import cache_folder
from tests.cluster.local.build import build_program, find_go
from tests.cluster.local.layout import Layout

FOLDER = Path(__file__).parent


def program() -> Path:
    """Built unless that was done."""
    layout = Layout(cache_folder(os.environ))
    version = hashlib.sha256((FOLDER / "go.sum").read_bytes()).hexdigest()[:12]
    target = layout.bin / f"helm-{version}" / "helm"
    if not target.exists():
        build_program(find_go(layout.tools), FOLDER, "helm.sh/helm/v3/cmd/helm", target)
    return target
