"""Every command in the documents is run here, or is a target of the Makefile that other tests are about."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.cluster.kubectl import SANDBOXES
from tests.support import Kube, OperatorProcess, wait_until
from tests.support.installation import REPOSITORY
from tests.support.programs import put_programs

DOCUMENTS = [REPOSITORY / "README.md", *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("examples/*/README.md")]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXAMPLE_DIRECTORIES = (Path("/srv/sandmount-demo"), Path("/srv/sandmount-outside"))
"""Where the example manifests expect their data; made by the commands of the documents, removed by us."""
LINE_BY_LINE = ("gitops.md", "kubectl-sandbox.md", "lifecycle.md", "python.md")


def commands(document: Path, heading: str = "") -> list[str]:
    """The commands below a heading, a line each; lines that go on are joined."""
    text = document.read_text()
    text = text[text.index(heading) :] if heading else text
    end = text.find("\n## ", len(heading))
    blocks = BLOCK.findall(text[: end if heading and end > 0 else None])
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line]


class Shell:
    """Runs commands as a reader would, from the repository's folder, with kubectl set to the cluster."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        (folder / "bin").mkdir()
        (folder / "bin" / "kubectl").symlink_to(cluster.kubectl)
        put_programs(folder / "bin")
        path = f"{folder / 'bin'}:{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "KUBECONFIG": str(cluster.kubeconfig)}
        self.log = folder / "background.log"
        self.background: list[subprocess.Popen[bytes]] = []

    def run(self, command: str) -> str:
        """Runs one; a comment behind a command that fails must be what it prints."""
        if command.rstrip().endswith("&"):
            with self.log.open("ab") as log:
                words = shlex.split(command.rstrip().rstrip("&"))
                started = subprocess.Popen(
                    words, cwd=REPOSITORY, env=self.environment, stdout=log, stderr=log, start_new_session=True
                )
            self.background.append(started)
            return ""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        said = done.stdout + done.stderr
        expected = command.partition(" # ")[2].strip()
        assert done.returncode == 0 or (expected and expected in said), f"{command}\n{said}"
        return said

    def close(self) -> None:
        """Ends what was started in the background."""
        for process in self.background:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


@pytest.fixture
def shell(operator: OperatorProcess, cluster: Cluster, tmp_path: Path) -> Iterator[Shell]:
    """A shell beside a cluster in which no operator runs; ours is back afterwards."""
    for folder in EXAMPLE_DIRECTORIES:
        assert not folder.exists(), f"{folder} is there already; the documents' commands would change it"
    operator.stop()
    found = Shell(cluster, tmp_path)
    try:
        yield found
    finally:
        found.close()
        Kube.of(cluster).run("delete", SANDBOXES, "--all", "-n", "default", "--wait=true")
        for folder in EXAMPLE_DIRECTORIES:
            shutil.rmtree(folder, ignore_errors=True)
        operator.start()
        operator.wait_until_working()


def test_the_readme_s_way_to_a_first_sandbox_works_line_by_line(shell: Shell, tmp_path: Path) -> None:
    EXAMPLE_DIRECTORIES[0].mkdir()
    steps = commands(REPOSITORY / "README.md", "## On your own cluster")
    assert len(steps) >= 8
    said = [shell.run(step.replace(".venv-run", str(tmp_path / "venv"))) for step in steps]
    assert "read-write" in said[-1] and "Running" in said[-1]


def test_the_example_s_way_by_hand_works_line_by_line(
    shell: Shell, operator: OperatorProcess, cluster: Cluster
) -> None:
    document = REPOSITORY / "examples" / "host-volume-mount" / "README.md"
    steps = commands(document, "## By hand")
    assert len(steps) >= 12
    operator.start()
    operator.wait_until_working()
    kube = Kube.of(cluster)
    for step in steps:
        shell.run(step)
        if "kubectl wait" in step:
            wait_until("the last one is judged", lambda: kube.condition("leads-out", "default", "Ready"), 30)
    operator.stop()


@pytest.mark.parametrize("name", LINE_BY_LINE)
def test_the_commands_of_a_document_work_line_by_line(name: str, shell: Shell, operator: OperatorProcess) -> None:
    steps = commands(REPOSITORY / "docs" / name)
    assert len(steps) >= 2
    EXAMPLE_DIRECTORIES[0].mkdir()
    operator.start()
    operator.wait_until_working()
    operator.kube.set_allowlist(f"- {EXAMPLE_DIRECTORIES[0]}\n")
    for step in steps:
        shell.run(step.replace("python3 ", f"{sys.executable} "))
    operator.stop()


def test_every_make_target_in_the_documents_exists() -> None:
    text = (REPOSITORY / "Makefile").read_text()
    for document in DOCUMENTS:
        for command in commands(document):
            if target := re.search(r"(?:^| )make ([a-z-]+)", command):
                assert re.search(rf"^{target[1]}:.*## ", text, re.MULTILINE), f"{document.name}: {command}"


def test_every_other_command_in_the_documents_is_run_above() -> None:
    known = commands(REPOSITORY / "README.md", "## On your own cluster")
    known += commands(REPOSITORY / "examples" / "host-volume-mount" / "README.md", "## By hand")
    known += [c for name in LINE_BY_LINE for c in commands(REPOSITORY / "docs" / name)]
    ends_the_demo = "kubectl delete namespace sandmount-demo"  # test_demo.py does the same through the API
    for document in DOCUMENTS:
        for command in commands(document):
            run = command in known or "make " in command or command.startswith(ends_the_demo)
            assert run, f"{document.name}: nothing runs: {command}"
