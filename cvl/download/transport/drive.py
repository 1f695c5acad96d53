"""The Drive transport: gdown finds the way through Google's pages; we hold what comes to its size and digest.

gdown writes beside the part, to a name that holds the file's id: what is unfinished under that name is of this file and
no other. It adds eight letters and `.part` while the file is unfinished, and goes on with it after a kill.

What gdown raises says that there is no file, but not why: to it a server in trouble, a missing file and a used-up quota
are all pages without a link. The answer that it had in hand tells them apart.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from glob import escape
from html import unescape
from http import HTTPStatus
from http.cookiejar import MozillaCookieJar
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cvl.download.session import Session
from cvl.download.transport.answers import check_status
from cvl.download.transport.http import Arrival
from cvl.download.transport.part import Part
from cvl.download.transport.policy import Budget
from cvl.errors import GoneError, RefusedError, TransferError, UnreachableError, WrongContentError
from cvl.events import Event, EventKind, Progress
from cvl.files import beside

if TYPE_CHECKING:
    from requests import RequestException, Response

_SCHEME = "gdrive://"
_BESIDE = ".drive-"
_UNFINISHED = "?" * 8 + ".part"
_REFUSED_RANGE = "did not honor the requested byte range"
_AFTER_500 = "/open"
_SIGN_IN_HOST = "accounts.google.com"
_NO_LINK = "Cannot retrieve"
_TAG = re.compile("<[^>]*>")
_COOKIES = Path("~/.cache/gdown/cookies.txt")
_HINT = (
    "Drive limits how often a file is fetched: wait some hours; or use a signed-in account, whose cookies "
    f"`gdown --cookies-from-browser firefox` takes to {_COOKIES}; or download it in a browser and name its folder with "
    "--from"
)
_DISTRUST = "if a proxy or your organisation signs for it, name its authority's certificate in SSL_CERT_FILE"


def fetch(url: str, part: Part, session: Session, progress: Progress, budget: Budget | None = None) -> Arrival:
    """Bring one Drive file; `part` has all of its bytes then, and is left as it is until then.

    `budget` is refilled when a transfer gets further than the one before: the part does not show it.

    Raises:
        GoneError: there is no such file; nothing of it is kept.
        RefusedError: Drive shows a page in place of the file, such as the one about too many downloads.
        TransferError: the transfer broke, or the server is in trouble; what came is kept.
        Cancelled: the user wants to stop; what came is kept.
    """
    own = part.path.with_name(f"{part.path.name}{_BESIDE}{url.removeprefix(_SCHEME)}")
    # It is there if a kill came between gdown's last act and our first.
    if not own.exists():
        own.parent.mkdir(parents=True, exist_ok=True)
        try:
            _download(url, own, session, _Watch(_keep_the_longest(own), session, progress, budget))
        except GoneError:
            forget(part.path)
            raise
    part.adopt(own, url)
    return Arrival(url)


def forget(part: Path) -> None:
    """Remove what gdown keeps for the part at this path: for when the file has come, from wherever it came."""
    for left in part.parent.glob(f"{escape(part.name)}{_BESIDE}*"):
        left.unlink(missing_ok=True)


class _Watch:
    """Is told by gdown of every piece that came: holds it to the session's rate, and passes it on.

    `here` is the number of bytes that were there before.
    """

    def __init__(self, here: int, session: Session, progress: Progress, budget: Budget | None) -> None:
        self._done = here
        self._session = session
        self._progress = progress
        # What begins anew gets no further than the one before, and might begin anew for ever.
        self._budget = budget if here else None

    def __call__(self, done: int, total: int | None) -> None:
        came, self._done = done - self._done, done
        if self._budget is not None:
            self._budget.refill()
        self._progress(done, total)
        self._session.throttle.take(came)


def _download(url: str, own: Path, session: Session, watch: _Watch) -> None:
    """Let gdown bring the file to `own`."""
    import gdown  # noqa: PLC0415  (390 ms, only Drive files need it)
    import requests  # noqa: PLC0415  (gdown's own client)
    from gdown.exceptions import DownloadCancelled, DownloadError  # noqa: PLC0415

    try:
        with _cookies(own, session) as cookies:
            gdown.download(
                id=url.removeprefix(_SCHEME),
                output=str(own),
                quiet=True,
                resume=True,
                timeout=session.timeout,
                verify=_authority(),
                use_cookies=cookies is not None,
                cookies_file=None if cookies is None else str(cookies),
                progress=watch,
                cancel=session.cancel,
            )
    except DownloadCancelled:
        session.check_cancelled()
        raise
    except (DownloadError, requests.RequestException, LookupError, ValueError, AssertionError) as error:
        # The last three come of answers that gdown's parsing does not expect.
        answer = _last_answer(error)
        if not _completed(own, answer):
            raise _failure(url, own, answer, error) from error


def _authority() -> str | bool:
    """Whom to trust: as our other transports do, and where that is not said, as requests' own variables say."""
    return os.environ.get("SSL_CERT_FILE") or True


@contextmanager
def _cookies(own: Path, session: Session) -> Iterator[Path | None]:
    """A copy of the user's cookies for one transfer, None if there are none that can be read.

    gdown writes the file anew after every answer: of transfers side by side, one would find the other's half done and
    begin an empty one, and the user's account would be gone from it. What a kill leaves of the copy is swept.
    """
    content = _user_s_cookies(session)
    if content is None:
        yield None
        return
    copy = beside(own)
    try:
        # Whoever reads it is signed in as the user.
        copy.touch(mode=0o600)
        copy.write_bytes(content)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def _user_s_cookies(session: Session) -> bytes | None:
    """The cookies file, None if there is none; of one that gdown would throw away the user is told."""
    original = _COOKIES.expanduser()
    try:
        MozillaCookieJar(original).load(ignore_discard=True, ignore_expires=True)
        return original.read_bytes()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        text = f"going on without the cookies in {original}, which cannot be read: {error}"
        session.report(Event(EventKind.NOTE, text=text))
        return None


def _unfinished(own: Path) -> list[Path]:
    """What gdown has not finished, the longest last."""
    return sorted(own.parent.glob(escape(own.name) + _UNFINISHED), key=lambda path: path.stat().st_size)


def _keep_the_longest(own: Path) -> int:
    """How many bytes are here. Of several unfinished files gdown would take none: the others go."""
    *shorter, longest = _unfinished(own) or [own]
    for each in shorter:
        each.unlink()
    return longest.stat().st_size if longest != own else 0


def _completed(own: Path, answer: Response | None) -> bool:
    """Whether a server that has no more to send shows that all bytes are here: gdown was killed before its last act."""
    if answer is None or answer.status_code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return False
    for whole in _unfinished(own):
        if answer.headers.get("Content-Range") == f"bytes */{whole.stat().st_size}":
            whole.replace(own)
            return True
    return False


def _last_answer(error: BaseException) -> Response | None:
    """The answer that gdown had in hand when it gave up: its errors do not carry it, but their frames do."""
    from requests import Response  # noqa: PLC0415  (as above)

    last = None
    for frame, _ in walk_tb(error.__traceback__):
        # The frames below gdown's are of requests: what they hold may be a redirect on the way.
        if frame.f_globals.get("__name__", "").startswith("gdown."):
            last = next((value for value in frame.f_locals.values() if isinstance(value, Response)), last)
    return last


def _failure(url: str, own: Path, answer: Response | None, error: Exception) -> TransferError:
    """What gdown's error means: from the answer, if it says something, else from the error itself."""
    from gdown.exceptions import DownloadError, FileURLRetrievalError  # noqa: PLC0415  (as above)
    from requests import RequestException  # noqa: PLC0415  (as above)

    told = None if answer is None else _told_by_status(url, answer)
    if isinstance(error, FileURLRetrievalError) and (told is None or isinstance(told, RefusedError)):
        return RefusedError(f"{url}: Drive does not hand out the file: {_page(answer, error)}", hint=_HINT)
    if told is not None:
        return told
    if isinstance(error, RequestException):
        return _broken(url, error)
    if not isinstance(error, DownloadError):
        return TransferError(f"{url}: gdown cannot read the server's answer: {type(error).__name__}: {error}")
    if _REFUSED_RANGE in str(error):
        _begin_anew(own, answer)
        return TransferError(f"{url}: the server does not go on where the transfer stood")
    # Its further lines are advice.
    return TransferError(f"{url}: {str(error).splitlines()[0]}")


def _told_by_status(url: str, answer: Response) -> TransferError | None:
    """What the answer's status says, None if it says nothing of trouble."""
    status: int = answer.status_code
    headers: Mapping[str, str] = answer.headers
    if urlsplit((answer.history or [answer])[0].url).path == _AFTER_500:
        # There gdown looks for a document after a 500; whatever it finds, it is no file of ours.
        status, headers = HTTPStatus.INTERNAL_SERVER_ERROR, {}
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return None
    try:
        check_status(status, headers, url)
    except TransferError as error:
        return error
    return None


def _page(answer: Response | None, error: Exception) -> str:
    """What a page in place of the file says, in a sentence."""
    if answer is not None and urlsplit(answer.url).hostname == _SIGN_IN_HOST:
        return "it is not shared with everybody, and Drive asks to sign in"
    # gdown packs the page's sentence into advice of its own; the error within has nothing but the sentence.
    sentence = unescape(_TAG.sub("", str(error.__context__ or error))).strip()
    if not sentence.startswith(_NO_LINK):
        return sentence
    status = "" if answer is None else f", with status {answer.status_code}"
    return f"a page without a link to it came in its place{status}"


def _broken(url: str, error: RequestException) -> TransferError:
    """What an error of the connection means."""
    from requests.exceptions import ConnectTimeout, ProxyError, TooManyRedirects  # noqa: PLC0415  (as above)
    from urllib3.exceptions import NewConnectionError  # noqa: PLC0415  (as above)

    if isinstance(error, TooManyRedirects):
        return WrongContentError(f"{url}: {error}")
    chain = list(_chain(error))
    # The outer ones repeat the address and each other.
    reason = str(chain[-1]) or type(chain[-1]).__name__
    if "certificate" in reason.lower():
        return RefusedError(f"{url}: the server's certificate is not trusted: {reason}", hint=_DISTRUST)
    unreachable = any(isinstance(each, ConnectTimeout | ProxyError | NewConnectionError) for each in chain)
    return (UnreachableError if unreachable else TransferError)(f"{url}: {reason}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _begin_anew(own: Path, answer: Response | None) -> None:
    """Drop what the server does not go on with: it would refuse for ever. A web page says nothing of the file."""
    if answer is None or not answer.headers.get("Content-Type", "").startswith("text/html"):
        for unfinished in _unfinished(own):
            unfinished.unlink()
