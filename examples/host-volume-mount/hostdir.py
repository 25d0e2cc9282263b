"""The host directory of the demo: chosen, checked and filled, without overwriting or removing anything in it.

Files are made relative to open directories and never through a link: the directory may be somebody else's, who could
put a link where the demo, as root, is about to write.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from report import DemoError

from sandmount import paths

MARKER = "marker.txt"
MARKER_TEXT = "hello-from-host\n"
DATA_FOLDER = ("datasets", "train")
DATA = "data.csv"
DATA_TEXT = "id,value\n1,100\n2,200\n3,300\n"
SECRET = "secret.txt"  # noqa: S105 - the name of a file

MOST_BYTES = 64 * 1024
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


@dataclass
class HostDirectory:
    """A directory that Sandboxes mount, and beside it a secret that they must not reach."""

    path: Path
    temporary: bool
    outside: Path
    """A directory outside of `path`, with the secret in it."""
    secret: str = field(repr=False)
    uid: int = 0
    gid: int = 0
    marker: str = ""
    data: str = ""
    made: list[str] = field(default_factory=list)
    """What the demo made in it, relative to it."""
    link: Path | None = None
    """The link that leads out, once it was made."""

    def free_name(self, name: str) -> str:
        """The name, or with a number when something of that name is there: nothing is overwritten."""
        stem, dot, ending = name.partition(".")
        number = 1
        while os.path.lexists(self.path / name):
            number += 1
            name = f"{stem}-{number}{dot}{ending}"
        return name

    def link_out(self) -> Path:
        """Make a symlink in the directory that leads to the secret's directory."""
        self.link = self.path / self.free_name("leads-out")
        self.link.symlink_to(self.outside)
        os.lchown(self.link, self.uid, self.gid)
        return self.link

    def tidy(self) -> None:
        """Remove the link, the secret, and the directory too when it was made for this run only."""
        if self.link is not None and self.link.is_symlink() and self.link.readlink() == self.outside:
            self.link.unlink()
        for folder in (self.outside, self.path) if self.temporary else (self.outside,):
            shutil.rmtree(folder, ignore_errors=True)


def choose(environ: Mapping[str, str]) -> HostDirectory:
    """The directory of HOST_VOLUME_PATH, made if it is not there, or a temporary one. Nothing is in it yet."""
    wanted = environ.get("HOST_VOLUME_PATH", "")
    path = _checked(wanted) if wanted else None
    scratch = _scratch(path)
    if path is not None:
        _make_folder(path)
    temporary = path is None
    found = path or Path(tempfile.mkdtemp(prefix="sandmount-demo-", dir=scratch))
    outside = Path(tempfile.mkdtemp(prefix="sandmount-demo-outside-", dir=scratch))
    host = HostDirectory(found, temporary, outside, secret=f"the secret is {secrets.token_hex(16)}")
    owner = found.stat()
    host.uid, host.gid = owner.st_uid, owner.st_gid
    return host


def fill(host: HostDirectory) -> None:
    """Put the demo's files into it; those that are there already stay as they are, and count as they are."""
    with _opened(host.path) as root:
        host.marker = _ensure_file(host, root, (), MARKER, MARKER_TEXT)
        with (
            _ensure_folder(host, root, (), DATA_FOLDER[0]) as datasets,
            _ensure_folder(host, datasets, DATA_FOLDER[:1], DATA_FOLDER[1]) as train,
        ):
            host.data = _ensure_file(host, train, DATA_FOLDER, DATA, DATA_TEXT)
    with _opened(host.outside) as outside:
        os.fchmod(outside, 0o755)  # so that it is not the file mode that protects the secret
        _new_file(host, outside, SECRET, host.secret + "\n")


def _checked(wanted: str) -> Path:
    """The directory that is meant, without links on the way. Raises DemoError for one that no allowlist takes."""
    text = paths.without_trailing_slash(wanted)
    if problem := paths.problem_with_absolute(text):
        raise DemoError(f"HOST_VOLUME_PATH {problem}.")
    path = Path(text).resolve()
    if str(path) == "/":
        raise DemoError('HOST_VOLUME_PATH "/" is the whole host: choose a directory, such as /srv/sandmount-demo.')
    if problem := paths.problem_with_absolute(str(path)):
        raise DemoError(f"HOST_VOLUME_PATH leads to a path that {problem}.")
    for one in (text, str(path)):
        if critical := paths.host_critical(one):
            leads = "" if one == wanted else f' (it means "{one}")'
            raise DemoError(
                f'HOST_VOLUME_PATH "{wanted}"{leads} gives access to {critical}, which the node depends on; '
                "the allowlist takes no such path. Choose another directory, such as /srv/sandmount-demo."
            )
    return path


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise DemoError(f'HOST_VOLUME_PATH "{path}" is not a directory.') from error
    except OSError as error:
        raise DemoError(f'HOST_VOLUME_PATH "{path}" cannot be made: {error.strerror}.') from error


def _scratch(host: Path | None) -> Path:
    """A directory for temporary ones that the allowlist would take and that is not inside the host directory."""
    for name in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp is used in it
        folder = Path(name).resolve()
        inside = host is not None and paths.is_within(str(folder), str(host))
        if folder.is_dir() and not inside and not paths.host_critical(str(folder)) and os.access(folder, os.W_OK):
            return folder
    raise DemoError("No directory for temporary files can be used: set TMPDIR to one outside of HOST_VOLUME_PATH.")


@contextmanager
def _opened(path: Path | str, inside: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, _FOLDER, dir_fd=inside)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _ensure_folder(host: HostDirectory, parent: int, below: tuple[str, ...], name: str) -> Iterator[int]:
    """The folder, opened; made for the directory's owner if it is not there."""
    where = "/".join((*below, name))
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        made = False
    else:
        made = True
    try:
        descriptor = os.open(name, _FOLDER, dir_fd=parent)
    except OSError as error:
        raise DemoError(f"{host.path / where} is there and is not a directory that can be used.") from error
    try:
        if made:
            host.made.append(where + "/")
            _give_to_owner(host, descriptor, 0o755)
        yield descriptor
    finally:
        os.close(descriptor)


def _ensure_file(host: HostDirectory, parent: int, below: tuple[str, ...], name: str, text: str) -> str:
    """The text of the file; made with this text if it is not there."""
    where = "/".join((*below, name))
    try:
        _new_file(host, parent, name, text)
    except FileExistsError:
        return _read(parent, name, host.path / where)
    host.made.append(where)
    return text


def _new_file(host: HostDirectory, parent: int, name: str, text: str) -> None:
    with os.fdopen(os.open(name, _NEW, 0o644, dir_fd=parent), "w") as file:
        _give_to_owner(host, file.fileno(), 0o644)
        file.write(text)


def _give_to_owner(host: HostDirectory, descriptor: int, mode: int) -> None:
    """Whatever our umask and user id are, the Sandboxes have to be able to read it."""
    os.fchmod(descriptor, mode)
    found = os.fstat(descriptor)
    if (found.st_uid, found.st_gid) != (host.uid, host.gid):
        os.fchown(descriptor, host.uid, host.gid)


def _read(parent: int, name: str, shown: Path) -> str:
    """A small text that was there before."""
    try:
        with os.fdopen(os.open(name, _READ, dir_fd=parent), "rb") as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            found = file.read(MOST_BYTES + 1) if is_file else b""
        text = found.decode()
    except OSError as error:
        why = "it is a symlink" if error.errno == errno.ELOOP else error.strerror
        raise DemoError(f"{shown} is there, and the demo cannot read it: {why}.") from error
    except UnicodeDecodeError as error:
        raise DemoError(f"{shown} is there, and is not a text.") from error
    if not is_file or len(found) > MOST_BYTES:
        raise DemoError(f"{shown} is there, and is not a file of at most {MOST_BYTES // 1024} KiB.")
    return text
