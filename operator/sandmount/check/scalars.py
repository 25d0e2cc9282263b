"""What an unquoted YAML scalar means to kubectl, which has rules of its own: YAML 1.1 with less. Pure."""

import re

Scalar = str | int | float | bool | None


class _Merge(str):
    """Text that can be told apart from the same text in quotes."""

    __slots__ = ()


MERGE = _Merge("<<")
"""As an unquoted key: what is merged into its mapping."""

_WORDS: dict[str, Scalar] = {
    "<<": MERGE,
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_WHOLE = re.compile(
    r"([-+]?)(?:0[xX](?P<x>[0-9a-fA-F]+)|0[bB](?P<b>[01]+)|0[oO]?(?P<o>[0-7]+)|(?P<d>0|[1-9][0-9]*))", re.ASCII
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_BASES = {"x": 16, "b": 2, "o": 8, "d": 10}
_LONGEST = 80
"""Characters of a number; 64 bits need less in any base."""


def from_plain(text: str) -> Scalar:
    """The value of an unquoted scalar. What is neither null, a boolean nor a number is text, dates too."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _LONGEST or text[0] not in "+-.0123456789":
        return text
    return _number(text.replace("_", ""), text)


def _number(digits: str, text: str) -> Scalar:
    if found := _WHOLE.fullmatch(digits):
        base = found.lastgroup or "d"
        value = int(found[base], _BASES[base]) * (-1 if found[1] == "-" else 1)
        if -(2**63) <= value < 2**64:
            return value
    if not _FLOAT.fullmatch(digits):
        return text
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        return text
    return int(number) if number.is_integer() and abs(number) < 2**63 else number  # as JSON, 1000.0 is 1000
