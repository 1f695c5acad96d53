"""Google Drive as a downloader meets it: a page that asks to confirm, then the file; or a page about a quota."""

from __future__ import annotations

import re
from html import escape
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from cvl.demo.internet.exchange import Reply, Request, page, redirect
from cvl.demo.internet.resource import Answer, Resource

_CONTENT_HOST = "drive.usercontent.google.com"
DRIVE_HOSTS = frozenset({"drive.google.com", "docs.google.com", _CONTENT_HOST})
_SIGN_IN = "https://accounts.google.com/ServiceLogin"
_FILE_ID = re.compile(r"[\w-]+")


def drive(folder: Path, request: Request) -> Answer:
    """The answer of Drive's hosts.

    Args:
        folder: holds a folder a file id, and in it the file under its own name.
        request: `/uc?id=ID` gets the page that asks to confirm, and so does `/download?id=ID` on the content host;
            with `&confirm=` the latter gets the file. An id that is not there gets 404 and a page, one whose folder is
            empty is of a file that is not shared: that leads to where a user signs in.
    """
    file_id = request.query.get("id", "")
    file = _file(folder, file_id)
    if file is None and _FILE_ID.fullmatch(file_id) and (folder / file_id).is_dir():
        return redirect(_SIGN_IN)
    if file is None or request.parts not in (("uc",), ("download",)):
        return page(HTTPStatus.NOT_FOUND, "Not found", "<p>There is no file at this address, or it is not shared.</p>")
    if request.host == _CONTENT_HOST and request.query.get("confirm"):
        name = file.name.replace('"', "'").encode("ascii", "replace").decode()
        disposition = f"attachment; filename=\"{name}\"; filename*=UTF-8''{quote(file.name)}"
        return Resource.of(file, headers={"Content-Disposition": disposition})
    return _confirm_page(file_id, file)


def quota_page() -> Reply:
    """The page that takes the place of a file which was downloaded too often, with status 200."""
    words = (
        "Too many users have viewed or downloaded this file recently, so its download quota is used up. "
        "Please come back later; a file that many people share may stay closed for up to 24 hours."
    )
    content = f'<p class="uc-error-caption">This file cannot be had now</p>\n<p class="uc-error-subcaption">{words}</p>'
    return page(HTTPStatus.OK, "Google Drive - Quota exceeded", content)


def _file(folder: Path, file_id: str) -> Path | None:
    inside = folder / file_id
    if not _FILE_ID.fullmatch(file_id) or not inside.is_dir():
        return None
    return next((path for path in sorted(inside.iterdir()) if path.is_file()), None)


def _confirm_page(file_id: str, file: Path) -> Reply:
    fields = {"id": file_id, "export": "download", "confirm": "t", "uuid": str(uuid5(NAMESPACE_URL, file_id))}
    inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
    # gdown looks for the form line by line: form and inputs have to stand on one.
    form = (
        f'<form id="download-form" action="https://{_CONTENT_HOST}/download" method="get">'
        f'<input type="submit" value="Download anyway">{inputs}</form>'
    )
    words = f"<p>{escape(file.name)} is too large to be scanned for viruses.</p>"
    return page(HTTPStatus.OK, "Google Drive - Virus scan warning", f"{words}\n{form}")
