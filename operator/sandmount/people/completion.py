"""``kubectl_complete-sandbox``: what kubectl runs to complete a word behind ``kubectl sandbox``.

It is given the words so far, the last of which may be empty, and prints a candidate a line, with a tab before what it
means, and at last a colon and a number for the shell (kubectl, pkg/cmd/plugin/plugin_completion.go, and cobra's
ShellCompDirective).
"""

import contextlib
import sys
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem, ShellComplete

from sandmount.people import command

NO_FILES = 4
"""The shell offers no files where there is no candidate: nothing here is one."""


def candidates(words: Sequence[str]) -> list[str]:
    """What the last of the words can become."""
    *before, typed = words or [""]
    found = ShellComplete(command.main, {}, "kubectl sandbox", "").get_completions(before, typed)
    return [_line(item) for item in found]


def _line(item: CompletionItem) -> str:
    meaning = " ".join((item.help or "").split())
    return f"{item.value}\t{meaning}" if meaning else str(item.value)


def main() -> None:
    """Prints the candidates. Whatever goes wrong is not said: the user is in the middle of a line."""
    with contextlib.suppress(Exception, KeyboardInterrupt):
        found: list[str] = []
        with contextlib.suppress(Exception):
            found = candidates(sys.argv[1:])
        click.echo("\n".join([*found, f":{NO_FILES}"]))
