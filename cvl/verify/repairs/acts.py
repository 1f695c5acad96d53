"""The five things that a repair does to a tree. None of them destroys anything, and each has one that takes it back."""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_AT_CWD = -100
_NO_REPLACE = 1
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})
_DEFAULT_MODE = 0o777


class ActKind(StrEnum):
    """What is done."""

    MOVE = "move"
    MAKE_FOLDER = "make-folder"
    DROP_FOLDER = "drop-folder"
    LINK = "link"
    DROP_LINK = "drop-link"


_INVERSE = {
    ActKind.MOVE: ActKind.MOVE,
    ActKind.MAKE_FOLDER: ActKind.DROP_FOLDER,
    ActKind.DROP_FOLDER: ActKind.MAKE_FOLDER,
    ActKind.LINK: ActKind.DROP_LINK,
    ActKind.DROP_LINK: ActKind.LINK,
}


@dataclass(frozen=True, slots=True)
class Act:
    """One act. Paths are relative to the tree's root.

    Args:
        kind: what is done.
        path: to what. A folder that is dropped is empty.
        to: where it is moved, or what the link says.
        size: of a moved file in bytes; -1 for what is no file, or as long as nobody has looked.
        mtime: of a moved file, in nanoseconds. Size and time tell whether it is still what it was.
        mode: permissions of a folder that is dropped, which it has again when it is made anew.
    """

    kind: ActKind
    path: str
    to: str = ""
    size: int = -1
    mtime: int = 0
    mode: int = _DEFAULT_MODE

    @property
    def inverse(self) -> Act:
        """The act that takes this one back."""
        here, there = (self.to, self.path) if self.kind is ActKind.MOVE else (self.path, self.to)
        return Act(_INVERSE[self.kind], here, there, self.size, self.mtime, self.mode)


def move(path: str, to: str) -> Act:
    """Something gets another name. What has that name already is never replaced."""
    return Act(ActKind.MOVE, path, to)


def perform(root: Path, act: Act) -> None:
    """Do one act.

    Raises:
        OSError: it cannot be done; then nothing was changed.
    """
    path = os.path.join(root, act.path)  # noqa: PTH118 (a million times, which pathlib would make minutes of)
    match act.kind:
        case ActKind.MOVE:
            _rename(path, os.path.join(root, act.to))  # noqa: PTH118
        case ActKind.MAKE_FOLDER:
            Path(path).mkdir()
            if act.mode != _DEFAULT_MODE:
                Path(path).chmod(act.mode)
        case ActKind.DROP_FOLDER:
            Path(path).rmdir()
        case ActKind.LINK:
            Path(path).symlink_to(act.to)
        case ActKind.DROP_LINK:
            _drop_link(path, act.to)


def is_done(root: Path, act: Act) -> bool:
    """Whether an act that may have been cut short was carried out, judged by the names that are there now.

    Right only as long as no later act has been begun.
    """
    path = root / act.path
    match act.kind:
        case ActKind.MOVE:
            return os.path.lexists(root / act.to) and not os.path.lexists(path)
        case ActKind.MAKE_FOLDER:
            return path.is_dir()
        case ActKind.DROP_FOLDER:
            return not os.path.lexists(path)
        case ActKind.LINK:
            return _says(path, act.to)
        case ActKind.DROP_LINK:
            return not _says(path, act.to)


def _says(path: Path, target: str) -> bool:
    """Whether there is a link with just this text."""
    return path.is_symlink() and os.readlink(path) == target  # noqa: PTH115 (its text as it is)


def _drop_link(path: str, target: str) -> None:
    # Asking first, for `unlink` would take a file as well.
    if not _says(Path(path), target):
        raise FileExistsError(errno.EEXIST, f"expected a link to {target}", path)
    Path(path).unlink()


def _rename(path: str, to: str) -> None:
    """Rename, but never onto something else, which plain `rename` would destroy."""
    failed = _RENAMEAT2(_AT_CWD, os.fsencode(path), _AT_CWD, os.fsencode(to), _NO_REPLACE) if _RENAMEAT2 else -1
    if not failed:
        return
    reason = ctypes.get_errno() if _RENAMEAT2 else errno.ENOSYS
    if reason not in _UNSUPPORTED:
        raise OSError(reason, os.strerror(reason), path, None, to)
    # Network file systems know no such flag. We hold the tree, so that no other cvl comes between the two calls.
    if os.path.lexists(to):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), to)
    os.rename(path, to)  # noqa: PTH104 (of two strings, as above)


_RENAMEAT2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
