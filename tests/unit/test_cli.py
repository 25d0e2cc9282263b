"""Settings and the command line: every setting as option and environment variable, and clear errors."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from sandmount import __version__
from sandmount.cli import main, run
from sandmount.settings import Admission, EmptyAllowlist, OnRevoke, SecretRefs, Settings
from tests.support.installation import REPOSITORY

NOT_SETTINGS = {"log_format", "verbose"}
"""Options of the process that are no settings of the operator."""


def test_defaults_are_the_safe_choice_where_there_is_one() -> None:
    assert Settings() == Settings(
        namespace="sandmount-system",
        allowlist_name="sandmount-host-paths",
        empty_allowlist=EmptyAllowlist.ALLOW,
        secret_refs=SecretRefs.DENY,
        on_revoke=OnRevoke.TERMINATE,
        runtime_classes=frozenset(),
        workers=16,
        http_address="",
        http_port=0,
        admission=Admission.OFF,
        admission_address="",
        admission_port=9443,
        admission_service="sandmount-webhook",
        admission_secret="sandmount-webhook",  # noqa: S106 - a name
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("namespace", ""),
        ("allowlist_name", ""),
        ("empty_allowlist", "Allow"),
        ("secret_refs", "yes"),
        ("on_revoke", "terminate"),
        ("workers", 0),
        ("workers", 257),
        ("http_port", -1),
        ("http_port", 65536),
        ("admission", "deny"),
        ("admission_port", 0),
        ("admission_port", 65536),
        ("admission_service", ""),
        ("admission_secret", ""),
        ("unknown", 1),
    ],
)
def test_a_setting_out_of_bounds_is_refused_and_named(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as error:
        Settings.model_validate({field: value})
    assert [e["loc"] for e in error.value.errors()] == [(field,)]


@pytest.mark.parametrize(("field", "value"), [("workers", 1), ("workers", 256)])
def test_a_setting_at_its_bound_is_accepted(field: str, value: float) -> None:
    assert Settings.model_validate({field: value}).model_dump()[field] == value


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().workers = 5  # type: ignore[misc]


def test_every_setting_is_an_option_and_every_other_option_is_known() -> None:
    assert {p.name for p in run.params} == set(Settings.model_fields) | NOT_SETTINGS


def test_help_lists_every_setting_with_its_environment_variable_and_explains_it() -> None:
    found = CliRunner().invoke(main, ["run", "--help"], terminal_width=200)
    assert found.exit_code == 0
    for name in [*Settings.model_fields, *NOT_SETTINGS]:
        assert f"--{name.replace('_', '-')}" in found.output
        assert re.search(rf"env var: SANDMOUNT_{name.upper()}\b", found.output), name
    assert all(isinstance(p, click.Option) and p.help for p in run.params)


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_the_last_line_of_a_log_is_like_the_others(log_format: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sandmount", "run", "--log-format", log_format],
        env={**os.environ, "KUBECONFIG": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    if log_format == "json":
        fields = json.loads(line)
        assert fields["level"] == "CRITICAL"
        assert fields["message"].startswith("no cluster: ")
    else:
        assert line.startswith("Error: no cluster: ")


def parsed(args: list[str], env: dict[str, str] | None = None) -> dict[str, object]:
    """The options that a command line and an environment come to."""
    with CliRunner().isolation(env=env):
        return run.make_context("run", args, auto_envvar_prefix="SANDMOUNT").params


def test_without_options_the_defaults_of_the_settings_hold() -> None:
    found = parsed([])
    assert found.pop("runtime_classes") == ""
    assert found.pop("log_format") == "text"
    assert found.pop("verbose") is False
    assert Settings.model_validate(found) == Settings()


OTHERS = {
    "namespace": "own",
    "allowlist_name": "paths",
    "empty_allowlist": "deny",
    "secret_refs": "allow",
    "on_revoke": "Warn",
    "runtime_classes": "gvisor,kata",
    "workers": "3",
    "admission": "Warn",
    "admission_address": "10.0.0.1",
    "admission_port": "8443",
    "admission_service": "hook",
    "admission_secret": "hook-tls",
    "http_address": "127.0.0.1",
    "http_port": "8080",
    "log_format": "json",
    "verbose": "1",
}


def test_every_setting_is_read_from_its_environment_variable() -> None:
    found = parsed([], {f"SANDMOUNT_{k.upper()}": v for k, v in OTHERS.items()})
    assert found == {**OTHERS, "workers": 3, "http_port": 8080, "admission_port": 8443, "verbose": True}


def test_an_option_wins_over_the_environment() -> None:
    found = parsed(["--namespace", "given", "--workers", "4"], {"SANDMOUNT_NAMESPACE": "own", "SANDMOUNT_WORKERS": "3"})
    assert (found["namespace"], found["workers"]) == ("given", 4)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("empty-allowlist", "maybe", "'maybe' is not one of 'allow', 'deny'"),
        ("secret-refs", "yes", "'yes' is not one of 'allow', 'deny'"),
        ("on-revoke", "terminate", "'terminate' is not one of 'Terminate', 'Warn'"),
        ("log-format", "xml", "'xml' is not one of 'text', 'json'"),
        ("http-port", "65536", "http_port: Input should be less than or equal to 65535"),
        ("admission", "deny", "'deny' is not one of 'Off', 'Warn', 'Deny'"),
        ("admission-port", "0", "admission_port: Input should be greater than or equal to 1"),
        ("workers", "many", "'many' is not a valid integer"),
        ("workers", "0", "workers: Input should be greater than or equal to 1"),
        ("workers", "257", "workers: Input should be less than or equal to 256"),
        ("namespace", "", "namespace: String should have at least 1 character"),
    ],
)
@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_bad_value_is_a_usage_error_that_names_it(option: str, value: str, words: str, how: str) -> None:
    variable = f"SANDMOUNT_{option.upper().replace('-', '_')}"
    if how == "environment" and not value:
        return  # an empty variable counts as unset
    args, env = (["run", f"--{option}", value], {}) if how == "option" else (["run"], {variable: value})
    found = CliRunner().invoke(main, args, env=env)
    assert found.exit_code == 2
    assert words in found.output
    assert "Traceback" not in found.output


def test_an_unknown_option_is_a_usage_error() -> None:
    found = CliRunner().invoke(main, ["run", "--unknown"])
    assert found.exit_code == 2
    assert "No such option" in found.output


def test_the_version_is_printed() -> None:
    found = CliRunner().invoke(main, ["--version"])
    assert (found.exit_code, __version__ in found.output) == (0, True)
    found = CliRunner().invoke(main, ["version"])
    assert (found.exit_code, found.output) == (0, f"{__version__}\n")
    assert tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"] == __version__


def test_the_crd_is_printed_as_it_is_written() -> None:
    found = CliRunner().invoke(main, ["crd"])
    assert (found.exit_code, found.stdout_bytes) == (0, (REPOSITORY / "crds" / "sandboxes.yaml").read_bytes())
