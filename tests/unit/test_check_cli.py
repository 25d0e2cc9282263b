"""The command `sandmount check`: exit codes, where its input comes from, and clear words for bad input."""

import json
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from sandmount.check import command as cli_check
from sandmount.check.command import command
from sandmount.check.documents import MAX_BYTES
from sandmount.cli import main

GOOD = """apiVersion: sandmount.dev/v1alpha1
kind: Sandbox
metadata: {name: one}
spec: {image: "a:1", volumes: [{name: v, host: {path: /data}, readOnly: true, mountPath: /m}]}
"""
DENIED = GOOD.replace("/data", "/etc")
BROKEN = GOOD.replace("mountPath: /m", "mountPath: m")
LIST = "- {path: /data, readOnly: true}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with files."""
    monkeypatch.chdir(tmp_path)
    for name, text in {"good.yaml": GOOD, "denied.yaml": DENIED, "broken.yaml": BROKEN, "list.yaml": LIST}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(*arguments: str, text: str | bytes = "", env: dict[str, str] | None = None) -> Result:
    """Runs it. It ends by itself, whatever it is given."""
    done = CliRunner().invoke(main, ["check", *arguments], input=text, env=env)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    assert "Traceback" not in done.output
    return done


def exit_of(*arguments: str, text: str | bytes = "") -> int:
    """Its exit code."""
    return run(*arguments, text=text).exit_code


def test_exit_codes() -> None:
    allowlist = ("--allowlist", "list.yaml")
    assert exit_of("good.yaml", *allowlist) == 0
    assert exit_of("good.yaml", "denied.yaml", *allowlist) == 1
    assert exit_of("good.yaml", "denied.yaml", "broken.yaml", *allowlist) == 2
    assert exit_of(*allowlist) == 0
    assert exit_of("--allowlist", "-", text="- /etc\n") == 1
    assert exit_of("--allowlist", "-", text="a: b") == 2
    assert exit_of("good.yaml", "--allowlist", "-", text=LIST + "- /etc\n") == 1  # a mistake in the list, too
    assert exit_of("good.yaml", "--allowlist", "-", text="[]") == 0


@pytest.mark.parametrize("output", ["text", "json", "sarif"])
def test_every_output_has_the_same_exit_code_and_says_what_is_denied(output: str) -> None:
    done = run("denied.yaml", "--allowlist", "list.yaml", "-o", output)
    assert done.exit_code == 1
    assert "HostPathNotAllowed" in done.stdout
    assert done.stderr == ""
    if output != "text":
        json.loads(done.stdout)


def test_standard_input_is_read_once_for_both() -> None:
    config_map = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sandmount-host-paths}\ndata:\n  allowed_host_paths: |\n"
    )
    both = f"{GOOD}---\n{config_map}    {LIST}"
    done = run("-", "--allowlist", "-", text=both)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        'stdin:4: granted: default/one: volume "v": root "/data", read-only',
        "1 Sandbox, 1 allowed; 1 object of other kinds not looked at; nothing is wrong",
    ]


def test_a_list_is_linted_with_notes_only_when_it_is_what_is_checked(folder: Path) -> None:
    (folder / "notes.yaml").write_text("- {path: /data}\n- {path: /etc/x, acknowledgeRisk: true}\n")
    alone = run("--allowlist", "notes.yaml").stdout
    beside = run("good.yaml", "--allowlist", "notes.yaml").stdout
    assert "notes.yaml:1: note: WritableEverywhere" in alone
    assert "note:" not in beside
    assert all("notes.yaml:2: warning: RiskyRoot" in text for text in (alone, beside))


def test_files_that_cannot_be_read_are_named(folder: Path) -> None:
    (folder / "large.yaml").write_bytes(b"a" * (MAX_BYTES + 1))
    (folder / "bytes.yaml").write_bytes(b"\xff")
    for name, words in {
        "gone.yaml": "cannot be read: No such file or directory",
        ".": "cannot be read: Is a directory",
        "large.yaml": "has more than 32 MiB; check it in parts",
        "bytes.yaml": "is not UTF-8 text (byte 0)",
        "/dev/zero": "has more than 32 MiB; check it in parts",
    }.items():
        for arguments in (("good.yaml", name, "--allowlist", "list.yaml"), ("good.yaml", "--allowlist", name)):
            done = run(*arguments)
            assert (done.exit_code, f"{name}:1: invalid: Unreadable: {words}" in done.stdout) == (2, True), done.stdout


def test_a_file_with_an_odd_name_is_named_safely(folder: Path) -> None:
    name = os.fsdecode(b"o\xffdd\x1b\n.yaml")
    (folder / name).write_text(DENIED)
    shown = run(name, "--allowlist", "list.yaml").stdout
    assert shown.startswith("o\\udcffdd\\x1b\\x0a.yaml:4: denied: ")
    for output in ("json", "sarif"):
        assert run(name, "--allowlist", "list.yaml", "-o", output).stdout.isascii()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name the allowlist: either --allowlist FILE or --from-cluster"),
        (("good.yaml",), "name the allowlist"),
        (("--allowlist", "list.yaml", "--from-cluster"), "name the allowlist"),
        (("good.yaml", "--host", "--allowlist", "list.yaml"), "--host looks at this node and takes no FILE"),
        (("--allowlist", "list.yaml", "-n", "No_Name"), "--namespace: 'No_Name' is not the name of a namespace"),
        (("--allowlist", "list.yaml", "-n", ""), "--namespace: '' is not the name of a namespace"),
        (
            ("--allowlist", "list.yaml", "--allowlist-name", ""),
            "allowlist_name: String should have at least 1 character",
        ),
        (("--allowlist", "list.yaml", "-o", "xml"), "'xml' is not one of"),
        (("--allowlist", "list.yaml", "--max-files", "0"), "0 is not in the range x>=1"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr


def test_without_a_cluster_there_is_a_sentence_and_exit_code_2(folder: Path) -> None:
    done = run("good.yaml", "--from-cluster", env={"KUBECONFIG": str(folder / "none")})
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: no cluster: this is no Pod, and KUBECONFIG")
    dead = {"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}
    context = {"name": "x", "context": {"cluster": "x", "user": "x"}}
    config = {"clusters": [dead], "contexts": [context], "users": [{"name": "x", "user": {}}], "current-context": "x"}
    (folder / "dead").write_text(json.dumps(config))
    done = run("good.yaml", "--from-cluster", env={"KUBECONFIG": str(folder / "dead")})
    assert done.exit_code == 2
    assert "GET http" in done.stderr or "GET /api" in done.stderr
    assert done.stdout == ""


def test_the_list_in_force_decides_and_its_own_mistakes_are_not_the_sandbox_s(monkeypatch: pytest.MonkeyPatch) -> None:
    live: dict[str, object] = {
        "metadata": {"uid": "u", "resourceVersion": "1"},
        "data": {"allowed_host_paths": LIST + "- /etc\n"},
    }

    async def read(*_: object) -> dict[str, object]:
        return live

    monkeypatch.setattr(cli_check, "_read_config_map", read)
    done = run("good.yaml", "--from-cluster")
    assert (done.exit_code, done.stdout.splitlines()[1:]) == (0, ["1 Sandbox, 1 allowed; nothing is wrong"])
    alone = run("--from-cluster")
    assert alone.exit_code == 1
    assert alone.stdout.startswith("configmap/sandmount-system/sandmount-host-paths:2: error: AllowlistBadItem: ")


SETTINGS = {
    "SANDMOUNT_SECRET_REFS": ("allow", "env: [{name: T, valueFrom: {secretKeyRef: {name: s, key: k}}}]"),
    "SANDMOUNT_RUNTIME_CLASSES": ("kata, gvisor", "runtimeClassName: gvisor"),
}


@pytest.mark.parametrize("variable", SETTINGS)
def test_settings_are_those_of_the_operator(variable: str) -> None:
    value, field = SETTINGS[variable]
    text = GOOD.replace('image: "a:1"', f'image: "a:1", {field}')
    option = "--" + variable.removeprefix("SANDMOUNT_").lower().replace("_", "-")
    arguments = ("-", "--allowlist", "list.yaml")
    assert run(*arguments, text=text).exit_code == 1
    assert run(*arguments, text=text, env={variable: value}).exit_code == 0
    assert run(*arguments, option, value, text=text).exit_code == 0


def test_an_empty_list_means_what_the_setting_says() -> None:
    arguments = ("denied.yaml", "--allowlist", "-")
    assert run(*arguments, text="[]").exit_code == 0
    assert run(*arguments, text="[]", env={"SANDMOUNT_EMPTY_ALLOWLIST": "deny"}).exit_code == 1
    assert run(*arguments, "--empty-allowlist", "deny", text="[]").exit_code == 1


def test_the_operator_s_namespace_is_not_the_sandboxes() -> None:
    done = run("denied.yaml", "--allowlist", "list.yaml", env={"SANDMOUNT_NAMESPACE": "own"})
    assert "denied: default/one: " in done.stdout
    assert "denied: team-a/one: " in run("denied.yaml", "--allowlist", "list.yaml", "-n", "team-a").stdout
    config_map = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine, namespace: own}\ndata: {allowed_host_paths: none}\n"
    )
    named = ("--allowlist-name", "mine", "--operator-namespace", "own")
    assert run("--allowlist", "-", *named, text=config_map).exit_code == 0
    assert run("--allowlist", "-", text=config_map).exit_code == 2


def test_every_option_is_explained() -> None:
    assert all(p.help for p in command.params if isinstance(p, click.Option))


def test_the_host_is_checked_root_by_root(folder: Path) -> None:
    root = folder.resolve() / "root"
    root.mkdir()
    (root / "out").symlink_to("/etc")
    (folder / "link").symlink_to("root")
    text = (
        f"- {{path: {root}, readOnly: true, namespaces: [a]}}\n- {{path: {root}, readOnly: true, namespaces: [b]}}\n"
        f"- {folder.resolve()}/link\n- {folder.resolve()}/gone\n- relative\n"
    )
    done = run("--host", "--allowlist", "-", text=text)
    assert done.exit_code == 1
    rules = [line.split(": ")[0:3] for line in done.stdout.splitlines()]
    assert ["stdin:1", "warning", "LinkLeadsOut"] in rules
    assert ["stdin:1", "note", "RootLookedAt"] in rules
    assert ["stdin:2", "note", "RootLookedAt"] not in rules  # the same root
    assert ["stdin:3", "error", "RootNotReal"] in rules
    assert ["stdin:4", "error", "RootMissing"] in rules
    assert ["stdin:5", "error", "AllowlistBadItem"] in rules
    cut = run("--host", "--allowlist", "-", "--max-files", "1", text=f"- {folder.resolve()}\n")
    assert "the walk ended after 2 files" in cut.stdout


def test_on_a_host_a_list_that_allows_everything_holds_nothing() -> None:
    assert "error: AllowlistAllowsAll" in run("--host", "--allowlist", "-", text="[]").stdout
    assert exit_of("--host", "--allowlist", "-", text="[]") == 1
    assert exit_of("--host", "--allowlist", "-", "--empty-allowlist", "deny", text="[]") == 0
    assert exit_of("--host", "--allowlist", "-", text="none") == 0
    assert exit_of("--host", "--allowlist", "-", text="x: y") == 2


def test_a_process_in_a_user_namespace_cannot_vouch_for_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_check, "in_user_namespace", lambda: True)
    done = run("--host", "--allowlist", "-", text="none")
    assert (done.exit_code, "error: OwnersUnknown" in done.stdout) == (1, True)


def test_another_system_than_linux_is_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    done = run("--host", "--allowlist", "list.yaml")
    assert (done.exit_code, "--host looks at a node, which runs Linux" in done.stderr) == (2, True)
    assert run("good.yaml", "--allowlist", "list.yaml").exit_code == 0


@pytest.mark.parametrize(
    "text", [b"\x00", b"\xff" * 100, b"[" * 100_000, b'{"a":' * 100_000, b"&a [*a]", b"%", b"---\n" * 9]
)
@pytest.mark.parametrize("where", [("-", "--allowlist", "list.yaml"), ("good.yaml", "--allowlist", "-")])
def test_hostile_input_is_invalid(text: bytes, where: tuple[str, ...]) -> None:
    assert exit_of(*where, text=text) == 2
