"""A live Sandbox held against the table: what each tool's own code says of it right now."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.verdicts import verdicts
from tests.verdicts.table import TABLE

RECORDED = Path(__file__).parent / "recorded"
RECORD = "SANDMOUNT_RECORD"
"""Set, this environment variable makes the tests write what they saw into the folder above."""


def check(state: str, sandbox: dict[str, Any]) -> None:
    """Asserts that all tools say of the Sandbox what the table has for this state."""
    row = TABLE[state]
    found = [judge([sandbox])[0].status for judge in (verdicts.kstatus, verdicts.argocd, verdicts.flux)]
    assert found == [row.kstatus, row.argocd, row.flux], f"{state}: {found}: {json.dumps(sandbox, indent=1)}"
    if os.environ.get(RECORD):
        kept = {**sandbox, "metadata": {k: v for k, v in sandbox["metadata"].items() if k != "managedFields"}}
        (RECORDED / f"{state}.json").write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")
