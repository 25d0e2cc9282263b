"""Names of Sandboxes for a shell that completes a word.

kubectl is asked, with a client of ours nowhere: it knows the user's credentials, and can be ended while it waits.
"""

import subprocess

import click
from click.shell_completion import CompletionItem

from sandmount.api import GROUP, PLURAL

SECONDS = 1.5
"""How long somebody who pressed Tab waits for a cluster that does not answer."""


def names(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Those of the namespace that begin as was typed; none where the cluster does not tell in time."""
    chosen = ((option, context.params.get(option)) for option in ("namespace", "context"))
    place = [f"--{option}={value}" for option, value in chosen if value]
    command = ["kubectl", "get", f"{PLURAL}.{GROUP}", *place, "-o", "name", f"--request-timeout={SECONDS}s"]
    try:
        done = subprocess.run(  # noqa: S603 - kubectl, as a plugin of which this runs
            command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=SECONDS, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return []
    found = (line.rpartition("/")[2] for line in done.stdout.splitlines())
    return [CompletionItem(name) for name in found if name.startswith(typed)]
