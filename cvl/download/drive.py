"""The Drive transport: gdown finds the way through Google's pages; we hold what comes to its size and digest.

gdown keeps an unfinished file beside the part, under the part's name with eight letters and a `.part` of its own, and
goes on with it after a kill.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from cvl.download.http import Arrival
from cvl.download.part import Journal, Part
from cvl.download.session import Session
from cvl.errors import Cancelled, RefusedError, TransferError
from cvl.events import Progress

_TIMEOUT = (20.0, 60.0)
_REFUSED_RANGE = "did not honor the requested byte range"
_COOKIES = "~/.cache/gdown/cookies.txt"
_HINT = (
    "Drive limits how often a file is fetched: wait some hours, put the cookies of a signed-in account into "
    f"{_COOKIES}, or download it in a browser and name its folder with --from"
)


def fetch(url: str, part: Part, session: Session, progress: Progress) -> Arrival:
    """Bring one Drive file.

    Raises:
        RefusedError: Drive shows a page in place of the file, such as the one about too many downloads.
        TransferError: the transfer broke.
    """
    import gdown  # noqa: PLC0415  (390 ms, only Drive files need it)
    import requests  # noqa: PLC0415  (gdown's own client)
    from gdown.exceptions import DownloadCancelled, DownloadError, FileURLRetrievalError  # noqa: PLC0415

    file_id = url.removeprefix("gdrive://")
    part.path.parent.mkdir(parents=True, exist_ok=True)
    # gdown takes a file at the output's name for the finished one, so what is no proven whole must go.
    part.begin(Journal(url, None))
    try:
        with _cookies() as cookies:
            gdown.download(
                id=file_id,
                output=str(part.path),
                quiet=True,
                resume=True,
                cookies_file=str(cookies),
                timeout=_TIMEOUT,
                progress=progress,
                cancel=session.cancel,
            )
    except DownloadCancelled as error:
        raise Cancelled("stopped; what is done stays done", hint="run the same command again to go on") from error
    except FileURLRetrievalError as error:
        raise RefusedError(f"{url}: Drive does not hand out the file: {_reason(error)}", hint=_HINT) from error
    except (DownloadError, requests.RequestException, KeyError) as error:
        if _REFUSED_RANGE in str(error):
            _forget(part.path)
        raise TransferError(f"{url}: {_reason(error)}") from error
    return Arrival(url)


@contextmanager
def _cookies() -> Iterator[Path]:
    """A copy of the user's cookies for one transfer.

    gdown writes the file anew after every answer: of transfers side by side, one would find the other's half done and
    begin an empty one, and the user's account would be gone from it.
    """
    own = Path(_COOKIES).expanduser()
    with TemporaryDirectory(prefix="cvl-") as folder:
        copy = Path(folder) / own.name
        if own.is_file():
            shutil.copyfile(own, copy)
        yield copy


def _forget(part: Path) -> None:
    """Drop what gdown keeps of a file: all of it, if the kill came before its renaming, or more than there is now.

    The server has no byte beyond it, so gdown would ask for what is refused again and again.
    """
    for unfinished in part.parent.glob(f"{escape(part.name)}????????.part"):
        unfinished.unlink()


def _reason(error: Exception) -> str:
    """The first telling line of gdown's message, without its layout and advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("Failed to retrieve file url")]
    return (told or lines or [type(error).__name__])[0]
