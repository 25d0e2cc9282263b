"""Every Sandbox that a document shows is one that `sandmount check` lets through, with the example's allowlist."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from sandmount.cli import main
from tests.support.documents import DOCUMENTS, blocks, manifests, mistakes
from tests.support.installation import MANIFESTS, REPOSITORY

ALLOWLIST = REPOSITORY / "examples" / "allowlist.yaml"
SHOWN = manifests()


def check(text: str, folder: Path) -> tuple[int, str]:
    """Exit code and words of `sandmount check`."""
    file = folder / "sandbox.yaml"
    file.write_text(text)
    done = CliRunner().invoke(main, ["check", str(file), "--allowlist", str(ALLOWLIST)])
    return done.exit_code, done.output


def test_documents_show_sandboxes() -> None:
    assert {name.partition("-")[0] for name in SHOWN} >= {"README.md", "users.md"}


@pytest.mark.parametrize("name", SHOWN)
def test_a_sandbox_that_a_document_shows_is_allowed_or_says_why_not(name: str, tmp_path: Path) -> None:
    """One that is refused says so in a comment: `# refused: ` and words of the answer."""
    code, said = check(SHOWN[name], tmp_path)
    _, refused, why = SHOWN[name].partition("# refused: ")
    if refused:
        assert code != 0
        assert why.partition("\n")[0] in said
    else:
        assert code == 0, said


def test_a_mistake_that_the_api_server_refuses_is_one_to_the_check_too(tmp_path: Path) -> None:
    found = list(mistakes())
    assert len(found) >= 10
    for sandbox, words in found:
        code, said = check(json.dumps(sandbox), tmp_path)
        assert code == 2, f"{words}\n{said}"


def test_the_readme_names_the_image_that_the_manifests_run() -> None:
    deployment = yaml.safe_load((MANIFESTS / "base" / "deployment.yaml").read_text())
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    (block,) = blocks(REPOSITORY / "README.md", "console")
    assert f"kind load docker-image {image}\n" in block


LISTS = {
    f"{document.name}-{number}": text
    for document in DOCUMENTS
    for number, text in enumerate(blocks(document, "yaml"), start=1)
    if "\nkind: ConfigMap\n" in text and "allowed_host_paths" in text
}


@pytest.mark.parametrize("name", LISTS)
def test_an_allowlist_that_a_document_shows_has_no_mistake(name: str, tmp_path: Path) -> None:
    file = tmp_path / "allowlist.yaml"
    file.write_text(LISTS[name])
    done = CliRunner().invoke(main, ["check", "--allowlist", str(file)])
    assert done.exit_code == 0, done.output
    assert "error" not in done.output
    assert "warning" not in done.output
