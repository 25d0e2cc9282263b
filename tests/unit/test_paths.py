"""The rules for a path, as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandmount import paths

names = st.text(st.characters(exclude_characters="/", exclude_categories=["C", "Z"]), min_size=1, max_size=8).filter(
    lambda n: n not in (".", "..")
)
canonical = st.lists(names, max_size=5).map(lambda parts: "/" + "/".join(parts))
relative = st.lists(names, min_size=1, max_size=5).map("/".join)

LONGEST = "/" + "/".join(["a" * 255] * 4)
"""1,024 characters."""


@pytest.mark.parametrize(
    "path", ["/", "/data", "/data/x", "/a b", "/.hidden", "/...", "/a..b", "/日本", "/a:b", LONGEST]
)
def test_a_canonical_absolute_path_has_no_problem(path: str) -> None:
    assert paths.problem_with_absolute(path) is None


BAD_TEXTS = [
    ("", "is empty"),
    ("/a//b", "empty part"),
    ("/a/", "empty part"),
    ("//", "empty part"),
    ("//a", "empty part"),
    ("/./a", "contains . as a part"),
    ("/a/.", "contains . as a part"),
    ("/a/../b", "contains .. as a part"),
    ("/..", "contains .. as a part"),
    ("/a\0", "control or invisible"),
    ("/a\n", "control or invisible"),
    ("/\x1b[31m", "control or invisible"),
    ("/a\x7f", "control or invisible"),
    ("/a\u200b", "control or invisible"),
    ("/a\u202e", "control or invisible"),
    ("/a\ufeff", "control or invisible"),
    ("/a\u2028", "control or invisible"),
    ("/a\ud800", "control or invisible"),
    (LONGEST + "b", "too long"),
    ("/" + "x" * 5000, "too long"),
    ("/" + "a" * 256, "more than 255 bytes"),
    ("/" + "é" * 128, "more than 255 bytes"),
]


@pytest.mark.parametrize(("path", "words"), [*BAD_TEXTS, ("data", "not absolute"), ("./a", "not absolute")])
def test_a_path_that_is_not_canonical_and_absolute_is_refused_with_the_reason(path: str, words: str) -> None:
    assert words in (paths.problem_with_absolute(path) or "")


@pytest.mark.parametrize("path", ["a", "a/b", ".hidden", "a b", "...", LONGEST[1:]])
def test_a_canonical_relative_path_has_no_problem(path: str) -> None:
    assert paths.problem_with_relative(path) is None


@pytest.mark.parametrize(
    ("path", "words"),
    [(p.removeprefix("/"), w) for p, w in BAD_TEXTS[1:] if not p.startswith("//") and len(p) != 1025]
    + [
        ("", "is empty"),
        ("/a", "is absolute"),
        ("/", "is absolute"),
        ("..", "contains .."),
        ("a/../..", "contains .."),
    ],
)
def test_a_sub_path_that_is_not_canonical_and_relative_is_refused_with_the_reason(path: str, words: str) -> None:
    assert words in (paths.problem_with_relative(path) or "")


@pytest.mark.parametrize("path", ["/mnt", "/data", "/etc/app", "/run/app", "/var", "/process", "/devices", "/system"])
def test_a_directory_of_its_own_can_be_mounted_at(path: str) -> None:
    assert paths.problem_with_mount_path(path) is None


@pytest.mark.parametrize(
    ("path", "words"),
    [
        *[(p, "would hide") for p in ("/", "/etc", "/run", "/var/run")],
        *[(p, "which the runtime makes") for p in ("/proc", "/proc/1", "/sys", "/sys/fs/x", "/dev", "/dev/mem")],
        ("/a:b", "colon"),
        ("mnt", "not absolute"),
        ("/mnt/", "empty part"),
        ("/mnt\n", "control or invisible"),
    ],
)
def test_a_mount_path_that_a_runtime_needs_or_cannot_use_is_refused(path: str, words: str) -> None:
    assert words in (paths.problem_with_mount_path(path) or "")


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("/data", "/data", True),
        ("/data/x", "/data", True),
        ("/data/x/y", "/data", True),
        ("/database", "/data", False),
        ("/data.x", "/data", False),
        ("/dat", "/data", False),
        ("/data", "/data/x", False),
        ("/", "/data", False),
        ("/data", "/", True),
        ("/", "/", True),
        ("/x/data", "/data", False),
    ],
)
def test_within_compares_whole_components(path: str, root: str, expected: bool) -> None:
    assert paths.is_within(path, root) is expected


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [("/data", "/data", ""), ("/data/x/y", "/data", "x/y"), ("/data", "/", "data"), ("/", "/", "")],
)
def test_below_is_the_part_after_the_root(path: str, root: str, expected: str) -> None:
    assert paths.below(path, root) == expected


@pytest.mark.parametrize(("path", "root"), [("/database", "/data"), ("/", "/data"), ("/data", "/data/x")])
def test_below_raises_when_the_path_is_not_within_the_root(path: str, root: str) -> None:
    with pytest.raises(ValueError, match="is not within"):
        paths.below(path, root)


@pytest.mark.parametrize(
    ("root", "rest", "expected"),
    [
        ("/data", "x", "/data/x"),
        ("/", "x", "/x"),
        ("/data", "", "/data"),
        ("", "x", "x"),
        ("a", "b", "a/b"),
        ("", "", ""),
    ],
)
def test_join_puts_one_slash_between(root: str, rest: str, expected: str) -> None:
    assert paths.join(root, rest) == expected


@given(canonical, relative)
def test_what_is_joined_to_a_root_is_within_it_and_below_gives_it_back(root: str, rest: str) -> None:
    joined = paths.join(root, rest)
    assert paths.problem_with_absolute(joined) is None
    assert paths.is_within(joined, root)
    assert paths.below(joined, root) == rest


@given(canonical, canonical)
def test_upwards_names_exactly_the_paths_that_hold_a_path(path: str, other: str) -> None:
    up = list(paths.upwards(path))
    assert up[0] == path
    assert up[-1] == "/"
    assert [len(p) for p in up] == sorted({len(p) for p in up}, reverse=True)
    assert all(paths.is_within(path, p) for p in up)
    assert (other in up) is paths.is_within(path, other)


def test_upwards_of_the_root_directory_is_only_that() -> None:
    assert list(paths.upwards("/")) == ["/"]
    assert list(paths.upwards("/a/b")) == ["/a/b", "/a", "/"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/data/", "/data"),
        ("/data//", "/data"),
        ("/", "/"),
        ("//", "/"),
        ("/data", "/data"),
        ("data/", "data/"),
        ("", ""),
    ],
)
def test_trailing_slashes_of_an_absolute_path_are_forgiven(path: str, expected: str) -> None:
    assert paths.without_trailing_slash(path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/data", "/data"),
        ("/data/", "/data"),
        ("/data//x", "/data/x"),
        ("/data/./x", "/data/x"),
        ("/data/x/../y", "/data/y"),
        ("/..", "/"),
        ("/../../data", "/data"),
        ("//data", "/data"),
        ("///", "/"),
        ("data", None),
        ("", None),
        ("/a\0b", "/ab"),
        ("/data/secret\n", "/data/secret"),
        ("/" + "a" * 1024, "/" + "a" * 1024),
    ],
)
def test_meant_is_the_canonical_path_that_a_sloppy_one_stands_for(path: str, expected: str | None) -> None:
    assert paths.meant(path) == expected


@given(st.text(st.sampled_from("/.ab\0\n"), max_size=12))
def test_meant_is_absolute_and_canonical_but_for_its_characters(path: str) -> None:
    found = paths.meant(path)
    if found is not None:
        assert paths.problem_with_absolute(found.replace("\n", "n")) is None


@pytest.mark.parametrize("directory", paths.HOST_CRITICAL)
def test_a_critical_directory_is_found_at_inside_and_above_itself(directory: str) -> None:
    assert paths.host_critical(directory) is not None
    assert paths.host_critical(directory + "/inside") is not None
    assert all(paths.host_critical(above) is not None for above in paths.upwards(directory))


@pytest.mark.parametrize(
    "root", ["/", "/var", "/var/lib", "/opt", "/etc/kubernetes", "/proc/1/root", "/lib64", "/dev/mem"]
)
def test_the_directories_that_the_design_names_are_critical(root: str) -> None:
    assert paths.host_critical(root) is not None


@pytest.mark.parametrize(
    "root", ["/data", "/srv", "/mnt/x", "/opt/data", "/var/lib/mine", "/etcetera", "/libx", "/home/a"]
)
def test_other_directories_are_not_critical(root: str) -> None:
    assert paths.host_critical(root) is None


def test_quoted_text_shows_control_characters_and_cuts_what_is_long() -> None:
    assert paths.quoted("a b") == '"a b"'
    assert paths.quoted("a\n\x1b\u202e\ud800") == '"a\\u000a\\u001b\\u202e\\ud800"'
    assert paths.quoted("x" * 121) == '"' + "x" * 120 + '..." (121 characters)'
    assert paths.quoted("abcdef", 3) == '"abc..." (6 characters)'


@given(st.text())
def test_a_problem_can_always_be_printed_on_one_line(path: str) -> None:
    for problem in (
        paths.problem_with_absolute(path),
        paths.problem_with_relative(path),
        paths.problem_with_mount_path(path),
    ):
        assert problem is None or (problem.encode() and "\n" not in problem and "\0" not in problem)
