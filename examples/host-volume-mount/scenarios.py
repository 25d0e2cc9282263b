"""The five scenarios. Every step is checked; the first thing that differs is a DemoError."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import hostdir
import yaml
from hostdir import HostDirectory
from report import DemoError, Report

from tests.cluster.kubectl import SANDBOXES
from tests.support.kubectl import Json, Kube, condition_of, is_true

HERE = Path(__file__).resolve().parent
NAMESPACE = "sandmount-demo"
READY_SECONDS = 120.0  # an image may have to be pulled
DECIDED_SECONDS = 30.0
STAYS_SECONDS = 3.0
GREETING = "Hello from sandbox!"


@dataclass(frozen=True)
class Scenes:
    """What the scenarios need."""

    kube: Kube
    host: HostDirectory
    report: Report
    log: Path
    """The operator's."""

    def all(self) -> None:
        """One after the other."""
        for scenario in (self.read_write, self.read_only, self.subpath, self.not_allowed, self.link_out):
            scenario()
            self.report.completed()

    def read_write(self) -> None:
        """Both sides see what the other one writes."""
        sandbox = self._load("01-read-write.yaml", self.host.path)
        name = self.host.free_name("sandbox-greeting.txt")
        inside, outside = f"/mnt/shared/{name}", self.host.path / name
        self._header("a host directory, read-write", sandbox, "01-read-write.yaml")
        self._start(sandbox)
        self.report.step("List the directory")
        self._list_like(sandbox, "/mnt/shared", self.host.path)
        self.report.step(f"Write {name}")
        self._inside(sandbox, "sh", "-c", f"echo {shlex.quote(GREETING)} > {inside}")
        if not self.host.temporary:
            self.host.made.append(name)
        self.report.step("Read it back")
        self._expect(self._inside(sandbox, "cat", inside), GREETING + "\n")
        self.report.step("Verify it on the host")
        self._expect(outside.read_text(), GREETING + "\n")
        self.report.show(f"{outside}: {GREETING} (owner {outside.stat().st_uid})")

    def read_only(self) -> None:
        """Reading works, writing does not."""
        sandbox = self._load("02-read-only.yaml", self.host.path)
        name = self.host.free_name("should-not-exist.txt")
        self._header("the same directory, read-only", sandbox, "02-read-only.yaml")
        self._start(sandbox)
        self.report.step("List the directory")
        self._list_like(sandbox, "/mnt/readonly", self.host.path)
        self.report.step(f"Read {hostdir.MARKER}")
        self._expect(self._inside(sandbox, "cat", f"/mnt/readonly/{hostdir.MARKER}"), self.host.marker)
        self.report.step("Try to write")
        self._write_denied(sandbox, f"/mnt/readonly/{name}")
        self.report.step("Verify on the host that nothing was written")
        if (self.host.path / name).exists():
            raise DemoError(f"{self.host.path / name} is there: a read-only mount was written to.")
        self.report.show(f"There is no {name}.")

    def subpath(self) -> None:
        """Only what is below the subPath is seen."""
        sandbox = self._load("03-subpath.yaml", self.host.path)
        part = self.host.path.joinpath(*hostdir.DATA_FOLDER)
        self._header("a part of the directory, by subPath", sandbox, "03-subpath.yaml")
        self._start(sandbox)
        self.report.step("List the directory")
        self._list_like(sandbox, "/mnt/training-data", part)
        self.report.step(f"Read {hostdir.DATA}")
        self._expect(self._inside(sandbox, "cat", f"/mnt/training-data/{hostdir.DATA}"), self.host.data)

    def not_allowed(self) -> None:
        """Refused by the allowlist: there is no Pod, and the reason is where kubectl shows it."""
        sandbox = self._load("04-not-on-the-allowlist.yaml")
        name, path = sandbox["metadata"]["name"], sandbox["spec"]["volumes"][0]["host"]["path"]
        self._header("a path outside the allowlist is refused", sandbox, "04-not-on-the-allowlist.yaml")
        self.report.step("Create the Sandbox and wait until it is decided on")
        self.kube.apply(sandbox)
        found = self._wait(sandbox, "is refused", lambda s: is_true(s, "Stalled") or is_true(s, "Ready"))
        self._reason_is(found, "HostPathNotAllowed")
        self.report.step("Read why, with kubectl")
        self._show_table(name)
        message = self._show_message(name)
        if f'"{path}"' not in message or str(self.host.path) not in message:
            raise DemoError("The message does not name the path that was asked for and what would be allowed.")
        self.report.step("Verify that no Pod exists")
        if pods := self.kube.items("pods", "-n", NAMESPACE, "-l", f"sandmount.dev/sandbox={name}"):
            raise DemoError(f"There is a Pod {pods[0]['metadata']['name']} for a Sandbox that was refused.")
        if self.kube.find("pod", name, NAMESPACE):
            raise DemoError(f"There is a Pod {name}.")
        self.report.show("There is none.")

    def link_out(self) -> None:
        """Granted as text, but a link on the host: the kubelet does not follow it out of the root."""
        link = self.host.link_out()
        sandbox = self._load("05-symlink-that-leads-out.yaml", link)
        name = sandbox["metadata"]["name"]
        self._header("a symlink that leads out of the allowed directory", sandbox, "05-symlink-that-leads-out.yaml")
        self.report.step("On the host, the link leads to a secret")
        self.report.show(f"{link} -> {link.readlink()}")
        if (link / hostdir.SECRET).read_text() != self.host.secret + "\n":
            raise DemoError("The link does not lead to the secret: this scenario would show nothing.")
        self.report.step("Create the Sandbox and wait until the kubelet has refused it")
        self.kube.apply(sandbox)
        refused = self._wait(sandbox, "is refused by the kubelet", lambda s: is_true(s, "Ready") or _tried(s))
        if not is_true(refused, "VolumesAllowed"):
            raise DemoError("The allowlist has refused it, so this scenario shows nothing about links.")
        self._reason_is(refused, "CreateContainerConfigError")
        self.report.step("Read why, with kubectl")
        self._show_table(name)
        if "subPath" not in self._show_message(name):
            raise DemoError("The message does not say that it is about the path.")
        self.report.step("Verify that its container never starts, and that the secret is nowhere to be read")
        self._never_started(sandbox, name)

    def _never_started(self, sandbox: Json, name: str) -> None:
        """For some seconds, in which the kubelet tries again."""
        end = time.monotonic() + STAYS_SECONDS
        while time.monotonic() < end:
            [state] = self.kube.get("pod", name, NAMESPACE)["status"]["containerStatuses"]
            if "waiting" not in state["state"] or state["lastState"] or state["restartCount"]:
                raise DemoError(f"Its container has been started: {state}")
            time.sleep(0.5)
        mount = sandbox["spec"]["volumes"][0]["mountPath"]
        tried = self.kube.exec(name, NAMESPACE, "cat", f"{mount}/{hostdir.SECRET}")
        logs = self.kube.try_run("logs", name, "-n", NAMESPACE)
        objects = self.kube.run("get", f"{SANDBOXES},pods,events", "-n", NAMESPACE, "-o", "yaml")
        if tried.returncode == 0:
            raise DemoError("A command could be run in it.")
        if self.host.secret in tried.stdout + tried.stderr + logs.stdout + logs.stderr + objects:
            raise DemoError("The secret was read.")
        self.report.show(f"kubectl exec: {tried.stderr}")
        self.report.show("The secret is in no output, log, status or Event.")

    def _load(self, file: str, host_path: Path | None = None) -> Json:
        """The manifest, for this run's namespace, path and owner."""
        sandbox: Json = yaml.safe_load((HERE / file).read_text())
        sandbox["metadata"]["namespace"] = NAMESPACE
        sandbox["spec"]["securityContext"] |= {"runAsUser": self.host.uid, "runAsGroup": self.host.gid}
        if host_path is not None:
            sandbox["spec"]["volumes"][0]["host"]["path"] = str(host_path)
        return sandbox

    def _header(self, title: str, sandbox: Json, file: str) -> None:
        volume = sandbox["spec"]["volumes"][0]
        part = f"  (subPath {volume['subPath']})" if "subPath" in volume else ""
        self.report.scenario(title, volume["host"]["path"] + part, volume["mountPath"], file)

    def _start(self, sandbox: Json) -> None:
        """Create it and wait until it is Ready; one that is refused fails at once."""
        name = sandbox["metadata"]["name"]
        self.report.step("Create the Sandbox and wait until it is Ready")
        begun = time.monotonic()
        self.kube.apply(sandbox)
        found = self._wait(sandbox, "is Ready", lambda s: is_true(s, "Ready") or is_true(s, "Stalled"), READY_SECONDS)
        took = time.monotonic() - begun
        if not is_true(found, "Ready"):
            raise DemoError(f"It does not become Ready.\n{self.kube.story(name, NAMESPACE, self.log)}")
        self.kube.run("wait", "--for=condition=Ready", f"sbx/{name}", "-n", NAMESPACE, "--timeout=10s")
        self.report.show(f"Sandbox {name} is Ready after {took:.1f} s, on node {found['status']['nodeName']}.")

    def _wait(self, sandbox: Json, what: str, is_so: Callable[[Json], bool], seconds: float = DECIDED_SECONDS) -> Json:
        name = sandbox["metadata"]["name"]
        return self.kube.wait_for_sandbox(name, NAMESPACE, what, is_so, seconds=seconds, log=self.log)

    def _inside(self, sandbox: Json, *command: str) -> str:
        """What a command in the Sandbox prints, which has to succeed."""
        self.report.show(f"$ {shlex.join(command) if command[0] != 'sh' else command[-1]}")
        done = self.kube.exec(sandbox["metadata"]["name"], NAMESPACE, *command)
        if done.returncode:
            raise DemoError(f"The command failed in the Sandbox: {done.stderr.strip()}")
        if done.stdout:
            self.report.show(done.stdout)
        return done.stdout

    def _list_like(self, sandbox: Json, inside: str, outside: Path) -> None:
        """The Sandbox sees the names that are on the host, whose directory may be in use meanwhile."""
        before = _names(outside)
        seen = set(self._inside(sandbox, "ls", "-A", inside).splitlines())
        after = _names(outside)
        missing = {name for name in before & after if _is_plain(name)} - seen
        # A name that a terminal cannot print is listed by ls in its own way.
        more = seen - before - after if all(map(_is_plain, before | after)) else set()
        if missing or more:
            raise DemoError(f"Sandbox and host differ. Missing: {sorted(missing)}; not on the host: {sorted(more)}.")

    def _write_denied(self, sandbox: Json, path: str) -> None:
        command = f"echo no > {path}"
        self.report.show(f"$ {command}")
        done = self.kube.exec(sandbox["metadata"]["name"], NAMESPACE, "sh", "-c", command)
        if done.returncode == 0:
            raise DemoError(f"The write to {path} succeeded.")
        if "Read-only file system" not in done.stderr:
            raise DemoError(f"The write failed, but not because the mount is read-only: {done.stderr.strip()}")
        self.report.show(done.stderr.splitlines()[0])
        self.report.show("Write denied (expected)")

    def _expect(self, found: str, wanted: str) -> None:
        if found != wanted:
            raise DemoError(f"Expected {wanted!r}, found {found!r}.")

    def _reason_is(self, sandbox: Json, reason: str) -> None:
        ready = condition_of(sandbox, "Ready") or {}
        if (ready.get("status"), ready.get("reason")) != ("False", reason):
            raise DemoError(
                f"Expected Ready=False for {reason}.\n"
                + self.kube.story(sandbox["metadata"]["name"], NAMESPACE, self.log)
            )
        self.report.show(f"Ready=False, {reason}")

    def _show_table(self, name: str) -> None:
        self.report.show(f"$ kubectl get sbx {name} -o wide")
        self.report.show_as_is(self.kube.run("get", "sbx", name, "-n", NAMESPACE, "-o", "wide"))

    def _show_message(self, name: str) -> str:
        """The message of Ready, which `kubectl describe sbx` shows among the conditions."""
        self.report.show(f"$ kubectl describe sbx {name}")
        described = self.kube.run("describe", "sbx", name, "-n", NAMESPACE)
        message: str = (self.kube.condition(name, NAMESPACE, "Ready") or {}).get("message", "")
        if not message or message not in " ".join(described.split()):
            raise DemoError(f"kubectl describe does not show the condition's message {message!r}.")
        self.report.show(f"... Message: {message}")
        return message


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _is_plain(name: str) -> bool:
    return name.isascii() and name.isprintable()


def _tried(sandbox: Json) -> bool:
    """Whether the node has been asked to start the container, and has given a reason why it does not run."""
    reason = (condition_of(sandbox, "Ready") or {}).get("reason")
    return reason not in (None, "PodCreated", "PodPending", "ContainerCreating", "ContainersNotReady", "Unschedulable")
