"""Paths that look like a way up: either the API server refuses them, or they are names like any other."""

import pytest

from tests.attack.ground import COMPLETED, REFUSED_BY_API, Attempt, Ground
from tests.support.fixtures import host_volume

REFUSED = (
    "..", "../..", "a/..", "a/../..", "./..", ".", "./a", "a/.", "a//b", "a/", "a\0", "..\0", "\0..", "..\n", "\n..",
    ".\u200b.", "..\u200b", "\u2060..", "..\u00ad", "\u202e..",
)  # fmt: skip
"""Not canonical, or with a character that nobody sees."""

LITERAL = (
    "...", "....", "..a", "a..", ".. ", " ..", ". .", "%2e%2e", "..%2f..", "%252e%252e", "\uff0e\uff0e",
    "\u2024\u2024", "\u2025", "\u22c5\u22c5", "..\\..", "..\\", "\\..", "~", "~root", "*", "?", "{..,a}", "`pwd`",
    "$(ESCAPE)", "$ESCAPE", "${ESCAPE}", "$$(ESCAPE)", "$(ESCAPE)/..a", "$(HOME)", "%s", "-", "--bind", "\uff0f",
    "a,rbind", "a:b", "'", '"',
)  # fmt: skip
"""Names that a file system takes as they are."""

ESCAPE = {"env": [{"name": "ESCAPE", "value": "../outside"}, {"name": "HOME", "value": "../outside"}]}

MARK = 'echo "$HOSTNAME" > /mnt/data/mark; ls -a /mnt/data; cat /mnt/data/secret.txt; exit 0'


def test_what_is_not_written_plainly_is_refused_by_the_api_server(ground: Ground) -> None:
    attempts = {}
    for number, disguise in enumerate(REFUSED):
        attempts[f"path-{number}"] = Attempt((host_volume(f"{ground.root}/{disguise}/outside"),))
        attempts[f"sub-path-{number}"] = Attempt((host_volume(ground.root, subPath=f"{disguise}/outside"),))
    result = ground.attack(attempts)
    assert not result.escaped, result.evidence
    assert result.settled == dict.fromkeys(attempts, REFUSED_BY_API), result.evidence
    assert list(ground.root.iterdir()) == []


@pytest.mark.parametrize(("field", "names"), [("subPath", LITERAL), ("path", LITERAL[::3])])
def test_a_disguise_is_the_name_of_a_directory_in_the_root(ground: Ground, field: str, names: tuple[str, ...]) -> None:
    ground.root.chmod(0o777)  # the kubelet makes the directories with this mode
    attempts = {}
    for number, name in enumerate(names):
        place = f"{name}/outside"
        volume = host_volume(f"{ground.root}/{place}") if field == "path" else host_volume(ground.root, subPath=place)
        attempts[f"a{number}"] = Attempt((volume,), MARK, ESCAPE)
    result = ground.attack(attempts)
    assert not result.escaped, result.evidence
    assert result.settled == dict.fromkeys(attempts, COMPLETED), result.evidence
    marks = {name: (ground.root / name / "outside" / "mark").read_text().strip() for name in names}
    assert marks == {name: f"a{number}" for number, name in enumerate(names)}
