"""Events are plain values, so that any reader can show or keep them."""

from __future__ import annotations

import dataclasses
import json

import pytest

from cvl.events import Event, EventKind, silent


def test_an_event_needs_its_kind_only() -> None:
    event = Event(EventKind.NOTE)
    assert (event.name, event.source, event.done, event.total, event.text, event.hint) == ("", "", 0, None, "", "")


def test_an_event_cannot_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Event(EventKind.NOTE).done = 1  # type: ignore[misc]


@pytest.mark.parametrize("kind", EventKind)
def test_an_event_becomes_json_with_a_word_for_its_kind(kind: EventKind) -> None:
    event = Event(kind, "coco-train2017.zip", "coco", done=1, total=2, text="why", hint="cvl status")
    assert json.loads(json.dumps(dataclasses.asdict(event)))["kind"] == kind.value == kind.name.lower()


def test_the_silent_reporter_takes_anything() -> None:
    silent(Event(EventKind.FAILED, text="whatever"))
