"""Repairs as values: what is wrong, what would be done, and what is left for the user."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cvl.verify.repairs.acts import Act


class RepairKind(StrEnum):
    """What can be repaired; the value is what tables and scripts read."""

    DOUBLED_FOLDER = "doubled-folder"
    MISPLACED_FOLDER = "misplaced-folder"
    SCATTERED_FILES = "scattered-files"
    MISNAMED_FILES = "misnamed-files"
    MISSING_LINK = "missing-link"
    NOT_JPEG = "not-jpeg"


@dataclass(frozen=True)
class Picture:
    """One picture of which a JPEG is to be made.

    Args:
        at: where it lies on the disk before anything is repaired.
        path: the name that the JPEG gets, a path of the tree.
        keep: where the picture goes whose name the JPEG takes; empty where the JPEG comes beside it.
    """

    at: str
    path: str
    keep: str = ""


@dataclass(frozen=True)
class Repair:
    """One thing that is put right. Paths are of the tree.

    Args:
        kind: what.
        source: the source that it belongs to, empty if no source claims the place.
        path: what is there now; the first of several.
        to: what will be there, or what the link will stand for.
        count: how many files get their right name by it; 1 for a link.
        why: what is wrong, in a few words.
        acts: in the order in which they are carried out.
        pictures: of which JPEGs are to be made, after the acts.
    """

    kind: RepairKind
    source: str
    path: str
    to: str
    count: int
    why: str
    acts: tuple[Act, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Left:
    """Something that looks like a known mistake and is not touched, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """All that a repair would do, in order, and what it leaves to the user."""

    repairs: tuple[Repair, ...] = ()
    left: tuple[Left, ...] = ()


@dataclass(frozen=True)
class Applied:
    """What a repair did.

    Args:
        repairs: how many of the plan's repairs were carried out.
        acts: how many acts that took.
        left: pictures of which no JPEG could be made, with the reason.
    """

    repairs: int
    acts: int
    left: tuple[Left, ...] = ()


@dataclass(frozen=True)
class Undone:
    """What was taken back: the repair of which time (UTC, as its journal is called), and how many acts of it."""

    repair: str
    acts: int
