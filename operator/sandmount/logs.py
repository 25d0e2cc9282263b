"""How the log looks: lines for people, or one object of JSON in each line for programs."""

import json
import logging
from enum import StrEnum
from typing import Any

from aiohttp.http_exceptions import HttpProcessingError
from pythonjsonlogger.json import JsonFormatter

DECISIONS = "sandmount.decisions"
"""Logger whose messages are JSON themselves (records.py)."""


class LogFormat(StrEnum):
    """Of the operator's log."""

    TEXT = "text"
    JSON = "json"


class _Json(JsonFormatter):
    """``timestamp``, ``level``, ``logger`` and ``message``; a decision as ``decision`` in place of the message."""

    def process_log_record(self, log_record: dict[str, Any]) -> dict[str, Any]:
        if log_record.get("logger") == DECISIONS:
            log_record["decision"] = json.loads(log_record.pop("message"))
        return log_record


def not_a_stranger_s(record: logging.LogRecord) -> bool:
    """A filter: bytes that are no HTTP are answered with 400, and say nothing about us that a log needs.

    Whoever reaches a port could fill the log with tracebacks.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def configure(log_format: LogFormat, *, verbose: bool) -> None:
    """Sets up the log of the process, on its standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(log_format))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    logging.getLogger("aiohttp.server").addFilter(not_a_stranger_s)


def formatter(log_format: LogFormat) -> logging.Formatter:
    """What makes a line of a record."""
    if log_format is LogFormat.TEXT:
        return logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    renamed = {"levelname": "level", "name": "logger"}
    return _Json("%(levelname)s %(name)s %(message)s", rename_fields=renamed, timestamp=True)
