"""Which host answers what: every host that the stand-in plays, out of one folder."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path

from cvl.demo.internet.drive import DRIVE_HOSTS, drive
from cvl.demo.internet.effects import apply, next_hop
from cvl.demo.internet.exchange import Reply, Request, text
from cvl.demo.internet.hub import CDN_HOST, HUB_HOST, cdn, hub
from cvl.demo.internet.pending import Faults
from cvl.demo.internet.resource import Answer, Resource
from cvl.demo.internet.signed import SIGNED_HOST, signed

_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


class Sites:
    """All hosts, as they are and with the faults that were asked of them.

    Args:
        folder: `http/<host>/<path>` for plain hosts; `hub/`, `drive/`, `signed/` for those with manners of their own.
        faults: what goes wrong.
    """

    def __init__(self, folder: Path, faults: Faults) -> None:
        self._folder = folder
        self._faults = faults

    def knows(self, host: str) -> bool:
        """Whether there is such a host; the others cannot be reached."""
        special = host in DRIVE_HOSTS | {HUB_HOST, CDN_HOST} or SIGNED_HOST.fullmatch(host) is not None
        return special or (_HOST_NAME.fullmatch(host) is not None and (self._folder / "http" / host).is_dir())

    def connect(self, request: Request) -> Reply:
        """The reply to a request for a tunnel to a host: status 200 opens it."""
        if not self.knows(request.host):
            return _unknown(request.host)
        return self._bent(request, Reply(HTTPStatus.OK)).render(request)

    def answer(self, request: Request) -> Reply:
        """The reply to a request, bent by the faults that meet it. `finished` has to be told when it is sent."""
        if hop := next_hop(request):
            return hop
        return self._bent(request, self._find(request)).render(request)

    def finished(self, request: Request) -> None:
        """Nothing more is sent in reply to this request."""
        self._faults.finished(request)

    def _bent(self, request: Request, answer: Answer) -> Answer:
        for standing in self._faults.standing(request, answer):
            answer = apply(standing, request, answer)
        if fault := self._faults.take(request, answer):
            answer = apply(fault, request, answer)
        return answer

    def _find(self, request: Request) -> Answer:
        host = request.host
        if not self.knows(host):
            return _unknown(host)
        if host == HUB_HOST:
            return hub(self._folder / "hub", request)
        if host == CDN_HOST:
            return cdn(self._folder / "hub", request)
        if host in DRIVE_HOSTS:
            return drive(self._folder / "drive", request)
        if SIGNED_HOST.fullmatch(host):
            return signed(self._folder / "signed", request)
        return _plain(self._folder / "http" / host, request)


def _unknown(host: str) -> Reply:
    return text(HTTPStatus.BAD_GATEWAY, f"The stand-in plays no host {host}, and it reaches no real one\n")


def _plain(folder: Path, request: Request) -> Answer:
    file = folder.joinpath(*request.parts)
    inside = all(part not in ("", ".", "..") and "/" not in part for part in request.parts)
    if not inside or not file.is_file():
        return text(HTTPStatus.NOT_FOUND, "Not found\n")
    return Resource.of(file)
