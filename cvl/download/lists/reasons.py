"""Why a small file could not be had, in a few words without its address: a class, and after a colon what is special.

There are few classes, so that 80,000 failures can be summed up in a handful of lines.
"""

from __future__ import annotations

from cvl.download.lock import unsigned
from cvl.download.transport.answers import looks_like_html
from cvl.errors import RefusedError, TransferError, UnreachableError, WrongContentError

NO_ADDRESS = "not an http(s) address"
NO_LENGTH = "no length given, so that a cut picture could not be told from a whole one"

_SHOWN_OF_CONTENT = 16


def of_error(error: TransferError, url: str) -> str:
    """The reason that a failed transfer leaves in the ledger."""
    said = str(error).removeprefix(f"{url}: ").removeprefix(f"{unsigned(url)}: ")
    if said.startswith("the server says "):
        asked = f": asks to wait {error.retry_after:.0f} s" if error.retry_after is not None else ""
        return said.removeprefix("the server says ") + asked
    if isinstance(error, UnreachableError):
        return f"cannot be reached: {said}"
    if isinstance(error, WrongContentError | RefusedError):
        return said
    return f"broken off: {said}"


def of_content(content: bytes) -> str:
    """The reason why an answer that is no picture was not kept."""
    if looks_like_html(content):
        return "a web page in place of a picture"
    if not content:
        return "an empty answer in place of a picture"
    return f"no picture: begins with {content[:_SHOWN_OF_CONTENT]!r}"
