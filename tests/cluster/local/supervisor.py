"""Starts components that are not running, and waits until they answer. Knows processes, not Kubernetes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.base import ClusterError, ComponentStatus, say
from tests.cluster.local import network
from tests.cluster.local.api import Client
from tests.cluster.local.component import Component
from tests.cluster.local.layout import Layout
from tests.cluster.local.processes import TAG, Process, end_all, read_record, spawn

ANSWER_SECONDS = 90.0
STARTS = 4
LOG_LINES = 12


class Supervisor:
    """Runs the components of one cluster."""

    def __init__(self, layout: Layout, client: Client) -> None:
        self.layout = layout
        self.client = client

    def record(self, component: Component) -> Path:
        """Where the component's process is noted down."""
        return self.layout.pids / f"{component.name}.json"

    def log(self, component: Component) -> Path:
        """Where the component's output goes; appended to, so that the words before a crash are not lost."""
        return self.layout.logs / f"{component.name}.log"

    def running(self, component: Component) -> Process | None:
        """The component's process, if it lives."""
        process = read_record(self.record(component))
        return process if process is not None and process.is_alive() else None

    def status(self, component: Component) -> ComponentStatus:
        """Whether it lives and answers."""
        process = self.running(component)
        if process is None:
            return ComponentStatus(component.name, running=False, detail="not running")
        answers = component.answers(self.client)
        detail = "" if answers else f"does not answer; see {self.log(component)}"
        return ComponentStatus(component.name, answers, process.pid, detail)

    def start(self, component: Component) -> bool:
        """Start it unless it lives. True when it was started; it may not answer yet."""
        if self.running(component) is not None:
            return False
        for address, port in component.ports:
            network.wait_until_free(port, address)
        environ = {
            "HOME": "/root",
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            **component.environ,
            TAG: str(self.layout.run),
        }
        spawn(component.argv, env=environ, log=self.log(component), record=self.record(component))
        return True

    def stop(self, component: Component) -> None:
        """Kill it without warning, and wait until it is gone."""
        process = self.running(component)
        end_all([] if process is None else [process])

    def wait(self, components: Sequence[Component], seconds: float = ANSWER_SECONDS) -> None:
        """Wait until all answer. Starts again what ended meanwhile: a predecessor's lock may have been in the way."""
        deadline = time.monotonic() + seconds
        starts = dict.fromkeys((component.name for component in components), 1)
        waiting = list(components)
        while waiting := [component for component in waiting if not self.settled(component, starts)]:
            if time.monotonic() > deadline:
                raise ClusterError("\n".join(self.complaint(component) for component in waiting))
            time.sleep(0.1)

    def settled(self, component: Component, starts: dict[str, int]) -> bool:
        """True when it answers. Starts it again when it ended, a few times."""
        if self.running(component) is not None:
            return component.answers(self.client)
        if starts[component.name] == STARTS:
            raise ClusterError(self.complaint(component))
        starts[component.name] += 1
        time.sleep(1)
        say(f"  {component.name} ended; starting it again")
        self.start(component)
        return False

    def complaint(self, component: Component) -> str:
        """What to tell a person about a component that does not come up."""
        log = self.log(component)
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
        first = (
            f"{component.name} does not answer. If that stays so, take the cluster down and up again. The end of {log}:"
        )
        return "\n".join([first, *(line[:400] for line in lines)])
