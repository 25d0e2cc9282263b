"""Allowlists with every kind of mistake, and what each decides on a writable volume at ROOT.

``ROOT`` is what the volume asks for, ``PARENT`` the directory that holds it, and ``KEPT`` what another Sandbox has
mounted all the time. Lists of which every item is valid have KEPT, so that Sandbox runs on under all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.support import Json

GRANTED = "granted"
NOT_ALLOWED = "HostPathNotAllowed"
READ_ONLY = "HostPathReadOnly"
MISSING = "AllowlistMissing"
KEY_MISSING = "AllowlistKeyMissing"
UNREADABLE = "AllowlistUnreadable"
NOT_A_LIST = "AllowlistNotAList"

KEY = "allowed_host_paths"
LARGE = 900_000
"""Characters; a ConfigMap has at most a MiB."""


@dataclass(frozen=True)
class Kind:
    """One kind of list, and its decision: ``granted`` or the reason of the denial."""

    expected: str
    text: str = ""
    config_map: Json | None = None
    """What the ConfigMap has instead of the text at its key."""


def _texts(expected: str, **texts: str) -> dict[str, Kind]:
    return {name.replace("_", "-"): Kind(expected, text) for name, text in texts.items()}


def _item(expected: str, **items: str) -> dict[str, Kind]:
    """Lists of KEPT and one more item."""
    return _texts(expected, **{name: f"- KEPT\n- {item}\n" for name, item in items.items()})


NO_KEY: Mapping[str, Kind] = {
    "no-data": Kind(KEY_MISSING, config_map={}),
    "null-data": Kind(KEY_MISSING, config_map={"data": None}),
    "another-key": Kind(KEY_MISSING, config_map={"data": {"other": "- ROOT"}}),
    "key-in-capitals": Kind(KEY_MISSING, config_map={"data": {KEY.upper(): "- ROOT"}}),
    "key-with-a-dash": Kind(KEY_MISSING, config_map={"data": {KEY.replace("_", "-"): "- ROOT"}}),
    "binary-data": Kind(KEY_MISSING, config_map={"binaryData": {KEY: "W10K"}}),  # "[]"
}

NO_LIST = _texts(
    NOT_A_LIST,
    empty="", spaces="   \n \n", comments="# - ROOT\n", null="null", tilde="~", path="ROOT", star="'*'",
    everything="all", capitals="NONE", capital="None", number="0", true="true", date="2026-01-01", infinity=".inf",
    mapping="{}", item="path: ROOT", key_again=f"{KEY}:\n- ROOT", text="|\n  - ROOT\n", quoted="'[ROOT]'",
    empty_in_quotes="'[]'", large="x" * LARGE,
)  # fmt: skip

NO_YAML = _texts(
    UNREADABLE,
    open_list="- ROOT\n- [\n", open_quote="- 'ROOT\n", tab="- KEPT\n\t- ROOT\n", documents="- KEPT\n---\n- ROOT\n",
    alias="- &a ROOT\n- *a\n", bomb="- &a [x, x]\n" + "\n".join(f"- &{c} [*a, *a]" for c in "bcdef"),
    python="!!python/object/apply:os.system [id]", tagged_list="!!seq []", tagged_item="- !!str ROOT",
    local_tag="- !path ROOT", binary="- !!binary W10K", key_twice="- path: ROOT\n  path: KEPT\n", deep="[" * 50_000,
    deep_items="- " * 20_000 + "ROOT", control="- ROOT\n- \x01\n", escape="- ROOT\x1b\n", bad_date="- 2026-13-45",
    indented="- KEPT\n  - : -\n :", percent="%ROOT\n- KEPT",
)  # fmt: skip

BAD_ITEMS = _item(
    NOT_ALLOWED,
    null="", five="5", yes="true", day="2026-01-01", octal="0777", nan=".nan", exponent="1e999", nested="[ROOT]",
    dashes="- ROOT", colon="ROOT:", empty_item="''", empty_mapping="{}", no_path="{readOnly: false}",
    unknown="{path: ROOT, write: true}", capital_key="{Path: ROOT}", key_of_number="{path: ROOT, 5: x}",
    quoted_bool="{path: ROOT, readOnly: 'false'}", number_bool="{path: ROOT, readOnly: 0}",
    null_bool="{path: ROOT, readOnly: null}", path_list="{path: [ROOT]}", text_namespaces="{path: ROOT, namespaces: a}",
    no_namespaces="{path: ROOT, namespaces: []}", number_namespace="{path: ROOT, namespaces: [5]}",
    star_first="{path: ROOT, namespaces: ['*-ci']}", pattern="{path: ROOT, namespaces: ['te[as]t-*']}",
    capital_namespace="{path: ROOT, namespaces: [Test]}", list_of_nodes="{path: ROOT, nodes: [a]}",
    bool_label="{path: ROOT, nodes: {a: true}}", label_key="{path: ROOT, nodes: {'a b': c}}",
    quoted_risk="{path: ROOT, acknowledgeRisk: 'true'}", relative="ROOT/..", dot="ROOT/.", slashes="PARENT//root",
    no_slash="srv", home="~/x", variable="$HOME", the_host="/", etc="/etc", below_usr="/usr/local/share", parent="..",
    invisible="'ROOT\u200b'", newline='"ROOT\\n"', nul='"ROOT\\0"', inside="PARENT\n- ROOT",
    twins="ROOT\n- {path: ROOT, readOnly: true}",
    overlap="{path: ROOT, namespaces: ['test*']}\n- {path: ROOT, namespaces: ['t*']}",
)  # fmt: skip

OTHER_PLACES = _item(
    NOT_ALLOWED,
    upper="UPPER", lookalike="ROOT2", prefix="ROOTx", short="SHORT", star="'ROOT*'", glob="'PARENT/*'",
    space="'ROOT '", full_width="'ROOT\uff0f'", backslash="'ROOT\\'", percent="ROOT%2F", below="ROOT/below",
    another_namespace="{path: ROOT, namespaces: [another]}", another_prefix="{path: ROOT, namespaces: ['ci-*']}",
)  # fmt: skip

GOOD = _item(
    GRANTED,
    plain="ROOT", quoted="'ROOT'", slash="ROOT/", trailing_space="ROOT   ", comment="ROOT # mine", anchor="&a ROOT",
    mapping="path: ROOT", namespaces="{path: ROOT, namespaces: ['test-*']}", star="{path: ROOT, namespaces: ['*']}",
    writable="{path: ROOT, readOnly: false}", yaml_no="{path: ROOT, readOnly: no}", repeated="ROOT\n- ROOT\n- ROOT/",
    and_a_bad_one="ROOT\n- /etc", and_nonsense="ROOT\n- [5]", json='ROOT\n- {"path": "/srv/else"}',
    large_comment="ROOT\n#" + "x" * LARGE,
) | _texts(
    GRANTED,
    crlf="- KEPT\r\n- ROOT\r\n", bom="\ufeff- KEPT\n- ROOT\n", flow="[KEPT, ROOT]",
    document="---\n- KEPT\n- ROOT\n...\n",
    directive="%YAML 1.1\n---\n- KEPT\n- ROOT\n", everything="[]", separators="- KEPT\u2028- ROOT",
    many="- KEPT\n- ROOT\n" + "\n".join(f"- /srv/not-there/{n}" for n in range(2000)),
)  # fmt: skip

KINDS: Mapping[str, Kind] = {
    f"{group}-{name}": kind
    for group, kinds in {
        "no-key": NO_KEY, "no-list": NO_LIST, "no-yaml": NO_YAML, "bad": BAD_ITEMS, "other": OTHER_PLACES, "good": GOOD,
    }.items()
    for name, kind in kinds.items()
} | {"read-only": Kind(READ_ONLY, "- KEPT\n- {path: ROOT, readOnly: true}")}  # fmt: skip

LIVE = (
    *(f"no-key-{name}" for name in NO_KEY),
    "no-list-empty", "no-list-null", "no-list-path", "no-list-capitals", "no-list-mapping", "no-list-text",
    "no-list-empty-in-quotes", "no-list-large", "no-yaml-open-list", "no-yaml-tab", "no-yaml-documents", "no-yaml-bomb",
    "no-yaml-python", "no-yaml-tagged-list", "no-yaml-key-twice", "no-yaml-deep", "no-yaml-control", "bad-null",
    "bad-nan", "bad-nested", "bad-colon", "bad-unknown", "bad-quoted-bool", "bad-text-namespaces", "bad-relative",
    "bad-the-host", "bad-invisible", "bad-inside", "bad-twins", "other-upper", "other-lookalike", "other-space",
    "other-full-width", "other-another-namespace", "read-only", "good-plain", "good-and-a-bad-one",
    "good-crlf", "good-bom", "good-many",
)  # fmt: skip
"""Those that are tried on a cluster, too."""


def filled_in(text: str, root: str, kept: str) -> str:
    """The text with real directories; ``root`` ends in /root."""
    parent, _, name = root.rpartition("/")
    assert name == "root"
    upper, short = root.upper(), root[:-1]
    places = {"ROOT": root, "PARENT": parent, "KEPT": kept, "UPPER": upper, "SHORT": short}
    return re.sub("|".join(places), lambda found: places[found.group()], text)
