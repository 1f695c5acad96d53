"""Meta's content network: files behind links that carry their own expiry, and the list that hands out such links."""

from __future__ import annotations

import re
import time
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from cvl.demo.internet.exchange import Request, text
from cvl.demo.internet.resource import Answer, Resource

SIGNED_HOST = re.compile(r"scontent\.[a-z0-9-]+\.fbcdn\.net")
_OTHER_ROWS = ("sa_images_ids.txt", "sa_co_gold.tar")


def signed_link(name: str, expires: datetime) -> str:
    """A link to the file `name` that is good until `expires`; `oe` is that moment in hexadecimal Unix seconds."""
    return f"https://scontent.xx.fbcdn.net/m1/v/{quote(name)}?oe={int(expires.timestamp()):X}&_nc_sid=x"


def links_file(folder: Path, expires: datetime) -> str:
    """The list as the user saves it from Meta's page: a header, then `name<TAB>link` for each file of `folder`.

    As in the real list the rows are not sorted, and two of them are no shards.
    """
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    shards = [name for name in names if name not in _OTHER_ROWS]
    rows = [_OTHER_ROWS[0], *shards[1::2], _OTHER_ROWS[1], *shards[0::2]]
    return "file_name\tcdn_link\n" + "".join(f"{name}\t{signed_link(name, expires)}\n" for name in rows)


def signed(folder: Path, request: Request) -> Answer:
    """The answer of the content network: a file of `folder`, 403 without a link that is still good, or 404."""
    try:
        expires = int(request.query.get("oe", "0"), 16)
    except ValueError:
        expires = 0
    if expires <= time.time():
        return text(HTTPStatus.FORBIDDEN, "URL signature expired")
    match request.parts:
        case ("m1", "v", name) if "/" not in name and (folder / name).is_file():
            return Resource.of(folder / name)
    return text(HTTPStatus.NOT_FOUND, "No such file")
