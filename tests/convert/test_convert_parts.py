"""Parts of one conversion: what they do adds up to what one run does, and none disturbs another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from specimens import CUT_GIF, FOREIGN, GIF, JPEG, PNG, document_jpeg, fill, run, tree

from cvl.convert.aside import keep
from cvl.convert.jpeg import Conversion, ConversionReport, remove_originals
from cvl.convert.names import by_target, jpeg_of_original
from cvl.convert.report import merged
from cvl.files import beside
from cvl.parallel import Part

MANY = {f"{number}{suffix}": data for number in range(8) for suffix, data in FOREIGN.items()}
MANY |= {f"in_place/{number}.jpg": [GIF, PNG, JPEG, CUT_GIF][number % 4] for number in range(40)}
MANY |= {f"notes/{number}.json": b"{}" for number in range(5)}


def parts_of(conversion: Conversion, of: int) -> list[Conversion]:
    return [replace(conversion, part=Part(number, of)) for number in range(1, of + 1)]


def in_order(report: ConversionReport) -> ConversionReport:
    lists = {
        "converted": tuple(sorted(report.converted, key=lambda item: item.source)),
        "unreadable": tuple(sorted(report.unreadable, key=lambda item: item.name)),
        "shadowed": tuple(sorted(report.shadowed, key=lambda item: item.name)),
    }
    return replace(report, **lists)


def in_folder(root: Path) -> Conversion:
    return Conversion(root / "images", root / "originals")


@pytest.mark.parametrize("of", [2, 3, 8])
def test_parts_do_and_report_together_what_one_run_does(tmp_path: Path, of: int) -> None:
    one, several = in_folder(tmp_path / "one"), in_folder(tmp_path / "several")
    for conversion in (one, several):
        fill(conversion.folder, MANY)
    whole = run(one)
    reports = [run(part) for part in parts_of(several, of)]
    assert tree(tmp_path / "several") == tree(tmp_path / "one")
    assert in_order(merged(reports)) == in_order(whole)
    assert all(report.scanned for report in reports)


def test_the_order_of_the_parts_does_not_matter(tmp_path: Path) -> None:
    for name, order in (("there", 1), ("back", -1)):
        conversion = in_folder(tmp_path / name)
        fill(conversion.folder, MANY)
        for part in parts_of(conversion, 3)[::order]:
            run(part)
    assert tree(tmp_path / "there") == tree(tmp_path / "back")


def test_parts_move_to_one_quarantine(tmp_path: Path) -> None:
    conversion = replace(in_folder(tmp_path), quarantine=tmp_path / "quarantine")
    fill(conversion.folder, MANY)
    for part in parts_of(conversion, 4):
        run(part)
    assert tree(tmp_path / "quarantine") == {name: data for name, data in MANY.items() if data == CUT_GIF}


def test_a_part_s_share_does_not_change_while_others_are_at_work(tmp_path: Path) -> None:
    conversion = in_folder(tmp_path)
    fill(conversion.folder, MANY)
    first, second = parts_of(conversion, 2)
    before = run(second, dry_run=True)
    run(first)
    assert run(second, dry_run=True) == before


def test_files_that_would_become_one_jpeg_are_in_one_part(conversion: Conversion) -> None:
    fill(conversion.folder, {f"{stem}{suffix}": GIF for stem in range(20) for suffix in (".gif", ".jpg", ".jpeg", "")})
    for part in parts_of(conversion, 3):
        report = run(part, dry_run=True)
        stems = {item.source.partition(".")[0] for item in report.converted}
        assert report.scanned == 4 * len(stems)


def test_a_part_removes_what_it_left_half_written_and_nothing_that_others_write(conversion: Conversion) -> None:
    left = {}
    for number in range(30):
        for folder in (conversion.folder, conversion.originals):
            for name in (f"sub/{number}.jpg", f"sub/{number}.jpg.1"):
                left[beside(folder / name)] = number
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    part = Part(1, 3)
    run(replace(conversion, part=part))
    mine = {number for number in range(30) if part.takes(f"sub/{number}")}
    assert 0 < len(mine) < 30
    stays = {path for path, number in left.items() if number not in mine}
    assert {path for path in left if path.exists()} == stays


def test_a_name_that_is_told_in_part_is_left_to_a_whole_run(conversion: Conversion) -> None:
    half_written = beside(conversion.folder / f"{'n' * 240}.jpg")
    fill(conversion.folder, {half_written.name: b"half"})
    for part in parts_of(conversion, 2):
        run(part)
    assert half_written.exists()
    run(conversion)
    assert not half_written.exists()


def test_originals_are_removed_in_parts_too(conversion: Conversion) -> None:
    fill(conversion.folder, {name: data for name, data in MANY.items() if name.endswith(".gif")})
    fill(conversion.folder, {f"in_place/{number}.jpg": PNG for number in range(9)})
    run(conversion)
    removals = [remove_originals(part, jobs=1) for part in parts_of(conversion, 2)]
    assert [removal.kept for removal in removals] == [(), ()]
    assert sum(removal.files for removal in removals) == 8 + 9
    assert all(removal.files for removal in removals)
    assert {Path(name).suffix for name in tree(conversion.folder)} == {".jpg"}
    assert tree(conversion.originals) == {}


def test_a_run_that_was_overtaken_keeps_the_original_and_not_its_jpeg(tmp_path: Path) -> None:
    """As when the same part runs twice at once: the one read a GIF that the other replaces before it is kept."""
    (tmp_path / "x.jpg").write_bytes(document_jpeg(GIF))
    keep(tmp_path / "x.jpg", GIF, tmp_path / "originals/x.jpg")
    assert tree(tmp_path / "originals") == {"x.jpg": GIF}


def test_names_are_put_together_by_what_they_become() -> None:
    assert by_target(["b.gif", "a.jpg", "a", "a.b/c", "a.GIF"]) == [("a", "a.GIF", "a.jpg"), ("a.b/c",), ("b.gif",)]


@pytest.mark.parametrize("name", ["x.jpg", "x.JPG", "sub/x.jpeg"])
def test_a_kept_original_names_the_jpeg_that_took_its_place(name: str) -> None:
    assert jpeg_of_original(name) == jpeg_of_original(f"{name}.1") == jpeg_of_original(f"{name}.12") == name
    assert jpeg_of_original("x.1") == "x.1"
