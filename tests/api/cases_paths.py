"""The rules for paths, field by field: what a path may look like, and the disguises that are refused."""

from __future__ import annotations

from tests.api.cases_rules import Rule

Paths = tuple[str, ...]

COMPONENT = "c" * 255

ORDINARY = (
    "a", "a/b/c", "..a", "...", ".a", "a..", "a/..b", "a/...", ". .", " ", "a b", " a", "~", "*", "%2e%2e", "a\\..\\b",
    "$(A)", "ä/日本/🙂", "e\u0301", "\u00a0", COMPONENT, f"{COMPONENT}/{COMPONENT}", "🙂" * 255, "\uff0e\uff0e",
    "\u2024\u2024",
)  # fmt: skip
"""Relative paths that only look odd: a character that file systems take and people can see is never refused."""

DISGUISES = (
    "..", ".", "a/..", "a/../b", "../a", "./a", "a/.", "a/./b", "a//b", "a/", "a//", "a/../../b", "a/..//b", "../",
    "./",
)  # fmt: skip
"""Relative paths that mean another one."""

INVISIBLE = (
    "a\0", "a\0b", "\0", "a\n", "\na", "a\nb", "a\r", "a\tb", "a\x1b[2K", "a\x7f", "a\x85", "a\u00ad", "a\u200b",
    "a\u200d", "a\u200e", "a\u202eb", "a\u2028", "a\u2029", "a\u2060", "a\u2066b", "a\ufeff", "a\U000e0041", "..\0",
    "../\n",
)  # fmt: skip
"""Unicode Cc, Cf, Zl and Zp."""

TOO_LONG = (COMPONENT + "c", f"a/{COMPONENT}c/b", "🙂" * 256)


def _absolute(paths: Paths) -> Paths:
    return tuple("/" + path for path in paths)


def _rules(path: str, name: str, accepted: Paths, not_canonical: Paths, *, rooted: bool) -> tuple[Rule, ...]:
    kind = "an absolute" if rooted else "a relative"
    invisible, too_long = (_absolute(INVISIBLE), _absolute(TOO_LONG)) if rooted else (INVISIBLE, TOO_LONG)
    return (
        Rule(path, f"{name} must be {kind} path without '//', '.', '..'", accepted, not_canonical),
        Rule(path, f"{name} must not contain control or invisible characters", accepted[:1], invisible),
        Rule(path, f"{name} must not have a component of more than 255 characters", accepted[:1], too_long),
    )


NOT_ABSOLUTE = ("", "a", "a/b", " /a", "~/a", "file:///a", "C:\\a", "//", "//a", "///", *_absolute(DISGUISES))
NOT_RELATIVE = ("", "/", "/a", "//a", *DISGUISES)

WORKING_DIR = (
    *_rules("spec.workingDir", "workingDir", ("/", "/work", *_absolute(ORDINARY)), NOT_ABSOLUTE, rooted=True),
    Rule(
        "spec.workingDir",
        "workingDir must not be at or under /proc",
        ("/processes", "/a/proc", "/proc2/self", "/sys"),
        ("/proc", "/proc/self", "/proc/1/root"),
    ),
)

HOST_PATH = (
    *_rules("spec.volumes[].host.path", "host.path", ("/data", *_absolute(ORDINARY)), NOT_ABSOLUTE, rooted=True),
    Rule("spec.volumes[].host.path", "host.path must not be '/'", ("/a", "/proc/1", "/etc", "/a:b"), ("/",)),
)

MOUNT_PATH = (
    *_rules("spec.volumes[].mountPath", "mountPath", ("/mnt/data", *_absolute(ORDINARY)), NOT_ABSOLUTE, rooted=True),
    Rule(
        "spec.volumes[].mountPath",
        "mountPath must not contain ':'",
        ("/a.b", "/a;b"),
        ("/:", "/a:b", "/a:/b", "/a/b:ro"),
    ),
    Rule(
        "spec.volumes[].mountPath",
        "mountPath must not be at or under /proc, /sys or /dev",
        ("/process", "/system", "/devices", "/a/proc", "/mnt/dev/shm", "/proc2", "/..proc"),
        ("/proc", "/sys", "/dev", "/proc/sys", "/sys/fs/cgroup", "/dev/shm", "/dev/a/b"),  # noqa: S108
    ),
    Rule(
        "spec.volumes[].mountPath",
        "mountPath must not be /, /etc, /run or /var/run",
        ("/etc/app", "/run/app", "/var/run/app", "/var", "/etcetera", "/var/running", "/usr", "/home"),
        ("/", "/etc", "/run", "/var/run"),
    ),
)

SUB_PATH = _rules(
    "spec.volumes[].subPath", "subPath", ("datasets/train", *ORDINARY, "proc/1", "a:b"), NOT_RELATIVE, rooted=False
)

RULES = (*WORKING_DIR, *HOST_PATH, *MOUNT_PATH, *SUB_PATH)
