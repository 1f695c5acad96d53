"""Everything that can go wrong, each with the exit code that a command ends with.

CvlError                      1  work failed
├── TransferError             1  the bytes of one file could not be had
│   ├── UnreachableError      1  the host cannot be reached at all: no name, no route, no answer
│   ├── GoneError             1  the server says that the file is not there (404, 410)
│   ├── RefusedError          1  the server says that we may not have it (401, 403)
│   │   └── ExpiredError      1  a signed link is no longer good: the user has to get a fresh list
│   ├── WrongContentError     1  something else came than what was asked for
│   │   └── WebPageError      1  a web page: of an error, of a quota, of a network that wants a sign-in
│   └── DigestError           1  the right number of bytes, but not the right ones
├── ArchiveError              1  an archive cannot be unpacked, or tries to leave its folder
├── ImageError                1  a picture cannot be read
├── AnnotationError           1  an instruction file is not what it should be
├── CheckpointError           1  a checkpoint cannot be read
├── DiskError                 1  no room, no permission, a read-only folder
├── UsageError                2  the command line asks for something that does not exist
│   ├── ManifestError         2  a manifest is wrong: names the file, the key and the mend
│   └── GateError             2  a source wants something of the user first (a licence, a list of links)
└── Cancelled               130  Ctrl-C or SIGTERM

A message says what happened, where, and what was expected against what was found, in one sentence without a
full stop. `hint` is the next thing to do, most often a command to type. Verification that finds problems is not
an error: `cvl verify-layout` returns `EXIT_PROBLEMS`.
"""

from __future__ import annotations

from pathlib import Path

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_PROBLEMS = 3
EXIT_CANCELLED = 130


class CvlError(Exception):
    """Work failed. `str()` is the message; `hint` is the next command, or None."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class TransferError(CvlError):
    """The bytes of one file could not be had.

    `retry_after` is the server's wish in seconds, if it had one; `overload` says that it asked for fewer requests.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, retry_after: float | None = None, overload: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.overload = overload


class UnreachableError(TransferError):
    """The host cannot be reached: the network is down, or the host is; a mirror may help, or patience."""


class GoneError(TransferError):
    """The server says that the file is not there: trying again is of no use, a mirror may be."""


class RefusedError(TransferError):
    """The server says that this user may not have the file."""


class ExpiredError(RefusedError):
    """A signed link is no longer good, and the user's list has no newer one."""


class WrongContentError(TransferError):
    """Something else came than what was asked for, such as a file of another size."""


class WebPageError(WrongContentError):
    """A web page came in place of a file: of an error, of a quota, of a network that wants a sign-in."""


class DigestError(TransferError):
    """The file has the right number of bytes, but its digest differs from the one that the manifest names."""


class ArchiveError(CvlError):
    """An archive cannot be unpacked, or one of its members would land outside of its folder."""


class ImageError(CvlError):
    """A picture cannot be read."""


class AnnotationError(CvlError):
    """An instruction file is not what it should be."""


class CheckpointError(CvlError):
    """A checkpoint cannot be read: a file is missing or damaged, or its tensors are not those of its config."""


class DiskError(CvlError):
    """The disk is full, or a folder cannot be written."""


class UsageError(CvlError):
    """The command line asks for something that does not exist or makes no sense."""

    exit_code = EXIT_USAGE


class ManifestError(UsageError):
    """A manifest is wrong. Names the file, the key in it, and the mend."""

    def __init__(self, file: Path | str, key: str, problem: str, *, mend: str) -> None:
        super().__init__(f"{file}: {key}: {problem}", hint=mend)
        self.file = file
        self.key = key
        self.mend = mend


class GateError(UsageError):
    """A source wants something of the user before a byte may move."""


class Cancelled(CvlError):
    """The user, or the machine, asked the command to stop. What is done stays done."""

    exit_code = EXIT_CANCELLED
