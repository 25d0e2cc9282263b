"""What the demo prints: a header for each scenario, numbered steps, and the place where something went wrong."""

from __future__ import annotations

import sys
import textwrap

WIDTH = 92
LINE = "=" * 72
INDENT = " " * 7
MOST_LINES = 15


class DemoError(Exception):
    """Something differs from what the demo promises, or it cannot run here; the message is for people."""


class Report:
    """Prints as it goes, and knows which step is under way."""

    def __init__(self) -> None:
        self._scenario = 0
        self._step = 0
        self._at = "Before the first scenario"

    @property
    def at(self) -> str:
        """The step that is under way, for the message when it fails."""
        return self._at

    def say(self, text: str = "") -> None:
        """One paragraph."""
        print(_wrapped(text), flush=True)

    def now(self, text: str) -> None:
        """Something begins that belongs to no scenario."""
        self._at = text
        self.say(text)

    def fact(self, name: str, value: object) -> None:
        """A name and its value."""
        print(f"  {name + ':':12}{value}", flush=True)

    def scenario(self, title: str, host: str, mount: str, manifest: str) -> None:
        """The header of the next scenario."""
        self._scenario, self._step = self._scenario + 1, 0
        self._at = f"Scenario {self._scenario}"
        print(f"\n{LINE}\nScenario {self._scenario}: {title}\n{LINE}", flush=True)
        self.fact("Host path", host)
        self.fact("Mount path", mount)
        self.fact("Manifest", manifest)

    def step(self, text: str) -> None:
        """The next step of the scenario."""
        self._step += 1
        self._at = f"Scenario {self._scenario}, step {self._step} ({text})"
        print(f"  {self._step}. {text}", flush=True)

    def show(self, text: str) -> None:
        """What came of the step, wrapped; of a long list only the first lines."""
        lines = text.strip().splitlines()
        if len(lines) > MOST_LINES:
            lines = [*lines[:MOST_LINES], f"... and {len(lines) - MOST_LINES} more lines"]
        for line in lines:
            print(_wrapped(line, INDENT), flush=True)

    def show_as_is(self, text: str) -> None:
        """What a command printed, as it printed it."""
        print(textwrap.indent("\n".join(line.rstrip() for line in text.strip().splitlines()), INDENT), flush=True)

    def completed(self) -> None:
        """All steps of the scenario went as they should."""
        print(f"Scenario {self._scenario} completed.", flush=True)

    def failed(self, error: BaseException) -> None:
        """Where and why it stopped."""
        print(f"\nFAILED: {self._at}", file=sys.stderr)
        for line in str(error).splitlines():
            print(_wrapped(line, "  "), file=sys.stderr, flush=True)


def _wrapped(text: str, indent: str = "") -> str:
    """Lines of at most WIDTH characters; paths and names are never cut, so that they can be copied."""
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
