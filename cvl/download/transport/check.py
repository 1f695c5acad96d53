"""Is this the file that was asked for? Size, digest, and the kind that its name promises."""

from __future__ import annotations

import zipfile
from pathlib import Path

from cvl.download.select import Remote
from cvl.download.transport.answers import looks_like_html
from cvl.download.transport.part import Part
from cvl.errors import DigestError, WrongContentError

_GZIP = b"\x1f\x8b"
_TAR_MAGIC_AT = 257


def check(remote: Remote, part: Part, *, accept_digest: bool) -> str:
    """Hold a finished part against what is known of the file; returns its sha256.

    Raises:
        WrongContentError: the size differs, or it is not of the kind that its name promises.
        DigestError: the digest differs and may not be set aside.
    """
    size = part.size
    if remote.size is not None and size != remote.size:
        raise WrongContentError(f"{remote.name}: expected {remote.size:,} bytes, found {size:,}")
    _check_kind(remote, part.path)
    digests = part.digests()
    for algorithm, expected in (("sha256", remote.sha256), ("md5", remote.md5)):
        if expected is not None and digests.get(algorithm, expected) != expected:
            _refuse_digest(remote, part, f"expected {algorithm} {expected}, found {digests[algorithm]}", accept_digest)
    return digests["sha256"]


def algorithms(remote: Remote) -> tuple[str, ...]:
    """The digests to compute: sha256 for the lock, and md5 where nothing better is known."""
    return ("sha256", "md5") if remote.md5 is not None and remote.sha256 is None else ("sha256",)


def _refuse_digest(remote: Remote, part: Part, difference: str, accept_digest: bool) -> None:
    said = f"{remote.name}: {difference}"
    if remote.certainty == "confirmed":
        hint = "run the command again to fetch it anew"
        raise DigestError(f"{said}; the bytes are damaged or were changed", hint=hint)
    if not accept_digest:
        size = "the size is right" if remote.size is not None else "the size is not known"
        raise DigestError(
            f"{said}; {size}, and the manifest has this digest from a single source, which may be wrong",
            hint=f"nothing was deleted: `cvl fetch {remote.source} --accept-digest` takes the file as it is; "
            f"`rm {part.path}` and the same command fetch it anew",
        )


def _check_kind(remote: Remote, path: Path) -> None:
    """Refuse what cannot be the file by its looks, for files that no digest will tell."""
    with path.open("rb") as file:
        head = file.read(512)
    suffix = Path(remote.name).suffix
    kinds = {
        ".zip": lambda: zipfile.is_zipfile(path),
        ".tar": lambda: head.startswith(_GZIP) or head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar",
        ".json": lambda: head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{"),
    }
    if looks_like_html(head) or not kinds.get(suffix, lambda: True)():
        found = "a web page" if looks_like_html(head) else f"{head[:16]!r}…"
        kind = suffix.removeprefix(".") or "such"
        raise WrongContentError(f"{remote.name}: this is no whole {kind} file, it begins with {found}")
