"""logs: a line for people, or an object for programs."""

import json
import logging
import sys

import pytest

from sandmount.logs import DECISIONS, LogFormat, formatter


def record(name: str, message: str, *args: object, error: bool = False) -> logging.LogRecord:
    """A line that was logged."""
    try:
        raise ValueError("reason")
    except ValueError:
        information = sys.exc_info() if error else None
    return logging.LogRecord(name, logging.WARNING, "file", 1, message, args, information)


def test_text_is_one_line_with_time_level_and_logger() -> None:
    found = formatter(LogFormat.TEXT).format(record("sandmount.report", "%s/%s is late", "a", "b"))
    assert found.endswith(" WARNING sandmount.report: a/b is late")


def test_json_is_one_object_in_a_line() -> None:
    found = formatter(LogFormat.JSON).format(record("sandmount.report", "two\nlines of %s", "a"))
    assert "\n" not in found
    fields = json.loads(found)
    assert fields.pop("timestamp").startswith("20")
    assert fields == {"level": "WARNING", "logger": "sandmount.report", "message": "two\nlines of a"}


def test_json_keeps_a_traceback() -> None:
    fields = json.loads(formatter(LogFormat.JSON).format(record("sandmount", "oh", error=True)))
    assert "ValueError: reason" in fields["exc_info"]


@pytest.mark.parametrize("text", ['{"decision": "denied", "path": "/etc"}'])
def test_a_decision_is_an_object_and_not_text_in_an_object(text: str) -> None:
    fields = json.loads(formatter(LogFormat.JSON).format(record(DECISIONS, text)))
    assert fields["decision"] == {"decision": "denied", "path": "/etc"}
    assert "message" not in fields
