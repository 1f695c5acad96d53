"""What became of a conversion. Apart from the other tables, which load much that a conversion does without."""

from __future__ import annotations

from rich.text import Text

from cvl.convert.jpeg import ConversionReport, Removal
from cvl.output.console import stderr, stdout
from cvl.units import gigabytes


def print_converted(report: ConversionReport, *, dry_run: bool) -> None:
    """What a conversion did, and the files that it had to leave."""
    verb = "would be converted" if dry_run else "converted"
    kinds = ", ".join(f"{count:,} {kind.name}" for kind, count in report.by_kind.items())
    stdout().print(
        f"{report.scanned:,} files looked at: {report.already_jpeg:,} are JPEGs, {report.already_converted:,} were "
        f"converted before, {len(report.converted):,} {verb}{f' ({kinds})' if kinds else ''}, "
        f"{len(report.unreadable):,} cannot be read"
    )
    for left in (*report.unreadable, *report.shadowed):
        moved = f"; {'would be moved' if dry_run else 'moved'} to {_shown(left.moved_to)}" if left.moved_to else ""
        stderr().print(Text.assemble((f"{_shown(left.name)}: ", "red"), _shown(left.reason), moved))


def print_removed(removal: Removal) -> None:
    """What became of the originals."""
    stdout().print(f"{removal.files:,} originals removed, {gigabytes(removal.bytes)} freed, {len(removal.kept):,} kept")
    for left in removal.kept:
        stderr().print(Text.assemble((f"{_shown(left.name)}: ", "yellow"), _shown(left.reason)))


def _shown(name: str) -> str:
    """A name without what a terminal would obey, or could not show."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape", "backslashreplace").decode() for sign in name
    )
