"""Every command in the documents is run here, or is a target of the Makefile that other tests are about."""

import json
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
import yaml

from tests.cluster import Cluster, operator_image
from tests.cluster.choose import cache_folder
from tests.cluster.kubectl import SANDBOXES
from tests.cluster.local.cluster import LocalCluster
from tests.conftest import spare_cluster
from tests.e2e.webhook import fed
from tests.support import Kube, OperatorProcess, wait_until
from tests.support.documents import DOCUMENTS, blocks, manifests, mistakes
from tests.support.installation import REPOSITORY
from tests.support.programs import put_programs

README = REPOSITORY / "README.md"
BY_HAND = ["admins.md", "gitops.md", "kubectl-sandbox.md", "lifecycle.md", "python.md", "users.md"]
"""Documents whose commands are run one after the other, beside an operator at work."""
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
REFUSALS = {"no": "^no$", "HostPathNotAllowed": "HostPathNotAllowed", "Read-only file system": "Read-only file system"}
"""Comments behind commands that have to fail, and what these then print."""
EXAMPLE_DIRECTORIES = (Path("/srv/sandmount-demo"), Path("/srv/sandmount-outside"))
"""Where the example manifests expect their data; made by the commands of the documents, removed by us."""


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
        """Runs one, which must succeed; but one with a comment of REFUSALS must fail, and say so."""
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
        if expected in REFUSALS:
            assert done.returncode != 0 and re.search(REFUSALS[expected], said, re.MULTILINE), f"{command}\n{said}"
        else:
            assert done.returncode == 0, f"{command}\n{said}"
        return said

    def close(self) -> None:
        """Ends what was started in the background."""
        for process in self.background:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


@pytest.fixture
def directory() -> Iterator[Path]:
    """The host directory of the examples, as their readers are told to make it."""
    for folder in EXAMPLE_DIRECTORIES:
        assert not folder.exists(), f"{folder} is there already; the documents' commands would change it"
    EXAMPLE_DIRECTORIES[0].mkdir()
    os.chown(EXAMPLE_DIRECTORIES[0], 1000, 1000)
    try:
        yield EXAMPLE_DIRECTORIES[0]
    finally:
        for folder in EXAMPLE_DIRECTORIES:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def shell(operator: OperatorProcess, cluster: Cluster, directory: Path, tmp_path: Path) -> Iterator[Shell]:
    """A shell beside a cluster in which no operator runs; ours is back afterwards."""
    assert directory.is_dir()
    operator.stop()
    found = Shell(cluster, tmp_path)
    try:
        yield found
    finally:
        found.close()
        Kube.of(cluster).run("delete", SANDBOXES, "--all", "-n", "default", "--wait=true")
        if operator.pid is None:
            operator.start()
        operator.wait_until_working()


def test_the_readme_s_way_to_a_first_sandbox_works_line_by_line(
    cluster: Cluster, directory: Path, tmp_path: Path
) -> None:
    """From the image on, which is that of this checkout, on a cluster that is new."""
    if not isinstance(cluster, LocalCluster):
        pytest.skip("how an image comes to the nodes is only known of the local cluster")
    steps = commands(README, "## On your own cluster")
    assert len(steps) >= 8
    with spare_cluster(cluster) as own:
        own.load_image(operator_image.build(cache_folder(os.environ) / "bin" / "images"))
        fresh = Shell(own, tmp_path)
        said = [fresh.run(step) for step in steps]
    assert "HostPathNotAllowed" in said[-1]
    assert "Running" in said[-1]
    assert (directory / "hello.txt").read_text() == "hello\n"


@pytest.mark.without_policy("an operator with an administrator's rights, which the policy does not know")
def test_the_readme_s_way_without_an_image_works_line_by_line(shell: Shell, tmp_path: Path) -> None:
    steps = commands(README, "## Without an image")
    assert len(steps) >= 8
    said = [shell.run(step.replace(".venv-run", str(tmp_path / "venv"))) for step in steps]
    assert "read-write" in said[-1]
    assert "Running" in said[-1]


def test_the_example_s_way_by_hand_works_line_by_line(
    shell: Shell, operator: OperatorProcess, cluster: Cluster
) -> None:
    document = REPOSITORY / "examples" / "host-volume-mount" / "README.md"
    steps = commands(document, "## By hand")
    assert len(steps) >= 12
    operator.start()
    operator.wait_until_working()
    kube = Kube.of(cluster)
    kube.set_allowlist("none")  # who comes here has a list, by the README of the repository
    for step in steps:
        shell.run(step)
        if "kubectl wait" in step:
            wait_until("the last one is judged", lambda: kube.condition("leads-out", "default", "Ready"), 30)
    operator.stop()


def save(document: Path, folder: Path) -> list[str]:
    """Write each block that begins with a file's name in a comment to that file; the names."""
    found = [(block.partition("\n")[0], block) for block in blocks(document, "yaml")]
    named = {first.removeprefix("# "): block for first, block in found if re.fullmatch(r"# \S+\.yaml", first)}
    for name, text in named.items():
        (folder / name).write_text(text)
    return list(named)


@pytest.mark.parametrize("name", BY_HAND)
def test_the_commands_of_a_document_work_line_by_line(
    name: str, shell: Shell, operator: OperatorProcess, tmp_path: Path
) -> None:
    steps = commands(REPOSITORY / "docs" / name)
    assert len(steps) >= 2
    for file in save(REPOSITORY / "docs" / name, tmp_path):
        steps = [step.replace(f"-f {file}", f"-f {tmp_path / file}") for step in steps]
    operator.start()
    operator.wait_until_working()
    operator.kube.set_allowlist(f"- {EXAMPLE_DIRECTORIES[0]}\n")
    for step in steps:
        shell.run(step.replace("python3 ", f"{sys.executable} "))
    operator.stop()


def test_the_way_to_run_one_test_works() -> None:
    (step,) = contributing()
    done = subprocess.run(
        ["bash", "-c", step.replace(".venv/bin/python", sys.executable)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert " passed" in done.stdout, done.stdout + done.stderr


def contributing() -> list[str]:
    """What CONTRIBUTING.md has beside targets of the Makefile."""
    return [c for c in commands(REPOSITORY / "CONTRIBUTING.md") if not c.startswith("make ")]


def test_the_api_server_takes_every_sandbox_that_a_document_shows(kube: Kube, namespace: str, tmp_path: Path) -> None:
    for name, text in manifests().items():
        (tmp_path / f"{name}.yaml").write_text(text)
    done = kube.try_run("apply", "--dry-run=server", "-n", namespace, "-f", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("(server dry run)") == len(manifests()) >= 5


def test_the_api_server_takes_what_the_admins_document_shows(kube: Kube) -> None:
    """In namespaces that there are; only their names are others."""
    shown = [yaml.safe_load(text) for text in blocks(REPOSITORY / "docs" / "admins.md", "yaml")]
    stored = [item for item in shown if item["kind"] != "AdmissionConfiguration"]  # a file: test_exemption.py
    assert len(stored) >= 2
    for item in stored:
        item["metadata"]["namespace"] = "default"
        done = fed(kube, item, "apply", "--dry-run=server")
        assert done.returncode == 0, done.stderr


def test_the_api_server_says_of_mistakes_what_the_document_says(kube: Kube, namespace: str) -> None:
    for sandbox, words in mistakes():
        sandbox["metadata"]["namespace"] = namespace
        done = fed(kube, sandbox, "apply", "--dry-run=server")
        assert done.returncode == 1, f"{json.dumps(sandbox['spec'])} is accepted"
        assert words in done.stderr


def test_every_make_target_in_the_documents_exists() -> None:
    text = (REPOSITORY / "Makefile").read_text()
    for document in DOCUMENTS:
        for command in commands(document):
            if target := re.search(r"(?:^| )make ([a-z-]+)", command):
                assert re.search(rf"^{target[1]}:.*## ", text, re.MULTILINE), f"{document.name}: {command}"
            if chosen := re.search(r'PYTEST_ARGS="(.+)"', command):
                argv = [sys.executable, "-m", "pytest", "--collect-only", "-q", *chosen[1].split()]
                done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, timeout=120, check=False)
                assert done.returncode == 0, f"{document.name}: {command} selects no test"


def test_every_other_command_in_the_documents_is_run_above() -> None:
    known = commands(README, "## On your own cluster") + commands(README, "## Without an image")
    known += commands(REPOSITORY / "examples" / "host-volume-mount" / "README.md", "## By hand")
    known += [c for name in BY_HAND for c in commands(REPOSITORY / "docs" / name)]
    known += contributing()
    ends_the_demo = "kubectl delete namespace sandmount-demo"  # test_demo.py does the same through the API
    for document in DOCUMENTS:
        for command in commands(document):
            run = command in known or "make " in command or command.startswith(ends_the_demo)
            assert run, f"{document.name}: nothing runs: {command}"
