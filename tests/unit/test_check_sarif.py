"""SARIF: what code hosts need of it, and that every rule is explained."""

import json
import re
from pathlib import Path, PurePosixPath

import pytest

import sandmount
from sandmount import __version__
from sandmount.check.findings import Finding, Level, Place
from sandmount.check.sarif import RULES, to_sarif
from tests.unit.builders import Json

FOLDER = PurePosixPath("/home/me/repo")


def found(*files: str) -> tuple[Finding, ...]:
    """A finding of each level and more, in these files."""
    levels = [Level.ERROR, Level.WARNING, Level.NOTE, Level.INVALID]
    rules = ["HostPathNotAllowed", "RiskyRoot", "NestedRoot", "Unreadable"]
    return tuple(
        Finding(Place(file, number + 1), levels[number % 4], rules[number % 4], f"words {number}", "ns/name")
        for number, file in enumerate(files)
    )


def run_of(text: str) -> Json:
    """The one run of a log, after a look at its shape."""
    log = json.loads(text)
    assert log.keys() == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("/sarif-2.1.0.json")
    [run] = log["runs"]
    assert run.keys() == {"tool", "invocations", "columnKind", "results"}
    assert run["tool"].keys() == {"driver"}
    driver = run["tool"]["driver"]
    assert driver.keys() == {"name", "version", "rules"}
    assert (driver["name"], driver["version"]) == ("sandmount", __version__)
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(set(ids)) == len(ids)
    for rule in driver["rules"]:
        assert rule.keys() == {"id", "shortDescription"}
        assert rule["shortDescription"]["text"].endswith(".")
    for result in run["results"]:
        look_at(result, ids)
    return dict(run)


def look_at(result: Json, ids: list[str]) -> None:
    """Whether a result has what the standard asks for, and what code hosts need to place it."""
    assert result.keys() == {"ruleId", "ruleIndex", "level", "message", "locations"}
    assert ids[result["ruleIndex"]] == result["ruleId"]
    assert result["level"] in ("error", "warning", "note")
    assert result["message"]["text"]
    [location] = result["locations"]
    place = location["physicalLocation"]
    assert place.keys() == {"artifactLocation", "region"}
    assert place["region"]["startLine"] >= 1
    assert re.fullmatch(r"[A-Za-z0-9/._~%-]+|file:///[A-Za-z0-9/._~%-]+", place["artifactLocation"]["uri"])


def uri(file: str) -> str:
    """How a file is named."""
    [result] = run_of(to_sarif(found(file), FOLDER))["results"]
    named: str = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    return named


def test_every_finding_is_a_result_with_its_rule_level_and_line() -> None:
    run = run_of(to_sarif(found("a", "b", "c", "d", "a"), FOLDER))
    assert [(r["ruleId"], r["level"]) for r in run["results"]] == [
        ("HostPathNotAllowed", "error"),
        ("RiskyRoot", "warning"),
        ("NestedRoot", "note"),
        ("Unreadable", "error"),
        ("HostPathNotAllowed", "error"),
    ]
    assert [r["locations"][0]["physicalLocation"]["region"]["startLine"] for r in run["results"]] == [1, 2, 3, 4, 5]
    assert run["results"][0]["message"]["text"] == "ns/name: words 0"
    assert run["invocations"] == [{"executionSuccessful": False}]


def test_a_denial_is_a_successful_run_and_nothing_found_is_an_empty_one() -> None:
    assert run_of(to_sarif(found("a"), FOLDER))["invocations"] == [{"executionSuccessful": True}]
    nothing = run_of(to_sarif((), FOLDER))
    assert (nothing["results"], nothing["tool"]["driver"]["rules"]) == ([], [])


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("stdin", "stdin"),
        ("./deploy/a.yaml", "deploy/a.yaml"),
        ("/home/me/repo/deploy/a.yaml", "deploy/a.yaml"),
        ("/elsewhere/a b.yaml", "file:///elsewhere/a%20b.yaml"),
        ("c:d é.yaml", "c%3Ad%20%C3%A9.yaml"),
        ("bad\udcff", "bad%FF"),
        ("configmap/sandmount-system/sandmount-host-paths", "configmap/sandmount-system/sandmount-host-paths"),
    ],
)
def test_files_are_named_by_uri_references_relative_to_the_folder(file: str, expected: str) -> None:
    assert uri(file) == expected


def test_every_rule_that_the_code_can_find_is_explained_and_no_other() -> None:
    """Rules are CamelCase literals; those of the operator's own reasons are found where the operator makes them."""
    code = Path(sandmount.__file__).parent
    modules = [*code.glob("check/*.py"), code / "host" / "rules.py"]
    modules += [code / f"{name}.py" for name in ("judgement", "allowlist", "listfile")]
    written: set[str] = set()
    for module in modules:
        if module.name != "sarif.py":
            written |= set(re.findall(r'"([A-Z][a-z]+[A-Z][A-Za-z]+|Submount|Unreadable)"', module.read_text()))
    assert written == set(RULES) | {"ConfigMap"}
