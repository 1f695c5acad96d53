"""The report's page as a whole: what it says, that it stays small, the same, and whole, whatever the tree holds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from cvl.annotations.place import notes_of
from cvl.annotations.records import HUMAN
from cvl.errors import CvlError, DiskError, UsageError
from cvl.manifest import Catalog
from cvl.output.page import MAX_BYTES, check_target, render_page, write_page
from cvl.output.page import missing as missing_module
from cvl.output.page import samples as samples_module
from cvl.output.page.indexes import opened
from cvl.output.page.missing import missing_pictures
from cvl.output.page.samples import first_question, samples
from cvl.output.page.sizes import measure
from cvl.output.page.tally import sources, stages
from cvl.root import Root
from cvl.verify.decode import Depth
from cvl.verify.report import AnnotationState, Example, Fate, Finding, FolderState, Kind, Problem, Report, StagePlan
from cvl.verify.verify import Checks, verify

MIX = "data/llava/llava_v1_5_mix665k.json"
HOSTILE = "\"'></script><script>alert(1)</script>\u202e\udc80\0" + "ש" * 200


def images_of(root: Root, prefix: str) -> list[str]:
    """The different pictures of mix665k below a folder, as paths of the tree."""
    records = json.loads(root.at(MIX).read_bytes())
    named = dict.fromkeys(record["image"] for record in records if record.get("image", "").startswith(prefix))
    return [f"data/{image}" for image in named]


def visible(page: str) -> str:
    """A page's text, without its style, its script and its tags."""
    bare = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare)).replace("&#x27;", "'").replace("&quot;", '"')


def problem(text: str, kind: Kind = Kind.MISSING_IMAGES, count: int = 1) -> Problem:
    return Problem(kind, text, text, count, text, text, (text,) * 5)


def empty_report(**changes: object) -> Report:
    return msgspec.structs.replace(Report(None, (), (), (), {}), **changes)


@pytest.fixture
def bare(tree: Root) -> Root:
    """A tree with nothing in it."""
    tree.data.mkdir(parents=True)
    return tree


def test_a_proven_tree_is_called_proven(fetched: Root, catalog: Catalog) -> None:
    report = verify(catalog, fetched, remember=False)
    text = visible(render_page(report, catalog, fetched))
    assert "ShareGPT4V proven" in text
    assert "3 of 3 stages ready" in re.sub(r"(stages ready) (3 of 3)", r"\2 \1", text)
    assert text.count(" ready ") >= 3
    assert "Problems None was found." in text
    assert "Missing pictures None." in text


def test_everything_that_is_wrong_is_named_with_its_cure(complete: Root, catalog: Catalog) -> None:
    lost = images_of(complete, "coco/")[:2]
    for path in lost:
        complete.at(path).unlink()
    cut = images_of(complete, "vg/")[0]
    complete.at(cut).write_bytes(complete.at(cut).read_bytes()[:700])
    report = verify(catalog, complete, checks=Checks(decode=Depth.FULL))
    page = render_page(report, catalog, complete)
    text = visible(page)
    assert all(path in text for path in (*lost, cut))
    assert all(each.detail in text for each in report.problems)
    cures = re.findall(r'<code class="cure"><bdi dir="ltr">(.*?)</bdi>', page)
    assert len(cures) == len(report.problems)
    assert "cvl fetch coco" in cures
    assert "2 of 2 pictures that instruction files name" in text
    assert "damaged JPEG" in text
    assert page.count("data:image/jpeg;base64,") > 20


def test_a_stage_says_what_it_would_leave_out_by_source_and_reason(complete: Root, catalog: Catalog) -> None:
    shutil.rmtree(complete.at("data/gqa/images"))
    report = verify(catalog, complete)
    plan = next(plan for plan in report.plans if plan.number == 3)
    text = visible(render_page(report, catalog, complete))
    third = text[text.index("Stage 3 ") : text.index("Sources Found")]
    assert f"gqa {plan.skipped['gqa']['missing-image']:,} missing image" in third
    assert "Stage 1 ready" in text


def test_the_same_tree_gives_the_same_bytes_in_every_process(fetched: Root, catalog: Catalog, tmp_path: Path) -> None:
    report = verify(catalog, fetched, remember=False)
    write_page(report, catalog, fetched, tmp_path / "here.html")
    (tmp_path / "report.json").write_bytes(msgspec.json.encode(report))
    code = (
        "import sys, msgspec; from pathlib import Path; from cvl.manifest import load_catalog;"
        "from cvl.root import Root;"
        "from cvl.output.page import write_page; from cvl.verify.report import Report;"
        "own, root, folder = map(Path, sys.argv[1:]);"
        "report = msgspec.json.decode((folder / 'report.json').read_bytes(), type=Report);"
        "write_page(report, load_catalog(own), Root(root), folder / 'there.html')"
    )
    manifests = catalog.origins["sources/coco"].parent.parent
    command = [sys.executable, "-c", code, str(manifests), str(fetched.path), str(tmp_path)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert (tmp_path / "here.html").read_bytes() == (tmp_path / "there.html").read_bytes()


def test_a_page_refers_to_nothing_outside_of_itself(fetched: Root, catalog: Catalog) -> None:
    page = render_page(verify(catalog, fetched, remember=False), catalog, fetched)
    links = re.findall(r'(?:src|href|srcset|action|data)="([^"]*)"', page)
    assert {link.partition(":")[0] if ":" in link else link[:1] for link in links} == {"data", "#"}
    anchors = {link[1:] for link in links if link.startswith("#")}
    assert anchors <= set(re.findall(r' id="([^"]+)"', page))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src &#x27;none&#x27;; img-src data:; ")
    assert "unsafe" not in policy[1]
    assert not re.search(r"\bstyle=|\bon[a-z]+=", re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL))


def test_headings_follow_each_other_and_ids_are_unique(fetched: Root, catalog: Catalog) -> None:
    page = render_page(verify(catalog, fetched, remember=False), catalog, fetched)
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert all("alt=" in image for image in re.findall(r"<img[^>]*>", page))


def test_whatever_a_report_holds_the_page_stays_below_its_bound(bare: Root, catalog: Catalog) -> None:
    long = HOSTILE * 10
    plan = StagePlan(1, False, False, (long,), 9, {long + str(n): {long: n} for n in range(500)})
    finding = Finding(long, long, 1, Fate.SKIPPED, long, (Example(1, long, long),) * 5)
    state = AnnotationState(long, long, 0, 0, 0, {long: 1}, {long: 1}, (finding,) * 500)
    report = empty_report(
        folders=(FolderState(long, long, 1, 0),) * 2000,
        annotations=(state,) * 50,
        problems=tuple(problem(long + str(n)) for n in range(3000)),
        remarks=tuple(problem(long + str(n), Kind.OTHER_FORMAT) for n in range(3000)),
        stages={1: False, 2: False, 3: False},
        plans=(plan, replace_number(plan, 2), replace_number(plan, 3)),
    )
    page = render_page(report, catalog, bare)
    assert len(page.encode()) < MAX_BYTES
    assert page.count("<script") == 1
    assert re.search(r"[\d,]+ lines more did not fit on this page", visible(page))


def test_a_cure_too_long_for_the_page_is_not_cut_into_another_command(bare: Root, catalog: Catalog) -> None:
    cure = "rm -f -- " + " ".join(f"data/{number}.jpg" for number in range(2000))
    wrong = (
        Problem(Kind.DAMAGED_IMAGES, "coco", "p", 1, "d", cure),
        Problem(Kind.MISSING_LINK, "vg", "p", 1, "d", "c"),
    )
    page = render_page(empty_report(problems=wrong), catalog, bare)
    assert f"a command of {len(cure):,} characters, which cvl verify-layout prints" in visible(page)
    assert "rm -f" not in page
    assert page.count('<code class="cure">') == 1


def replace_number(plan: StagePlan, number: int) -> StagePlan:
    return msgspec.structs.replace(plan, number=number)


def test_missing_pictures_beyond_the_rows_are_counted(
    complete: Root, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(complete.at("data/gqa/images"))
    complete.at(images_of(complete, "coco/")[0]).unlink()
    report = verify(catalog, complete)
    monkeypatch.setattr(missing_module, "ROWS", 8)
    text = visible(render_page(report, catalog, complete))
    assert f"8 of {report.images_missing} pictures that instruction files name" in text


def test_every_missing_picture_is_named_once_with_a_record_that_names_it(complete: Root, catalog: Catalog) -> None:
    shutil.rmtree(complete.at("data/gqa/images"))
    complete.at(images_of(complete, "coco/")[0]).unlink()
    report, notes = verify(catalog, complete), notes_of(complete)
    with opened(report, catalog, complete, notes) as indexes:
        found = missing_pictures(report, catalog, notes, indexes)
        for picture in found:
            assert picture.record is not None
            assert f"data/{indexes[picture.annotation].image(picture.record)}" == picture.path
    assert len({picture.path for picture in found}) == len(found) == report.images_missing
    assert {picture.source for picture in found} == {"gqa", "coco"}


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("{}"), lambda path: path.write_text("x")])
def test_without_a_skip_list_the_reports_examples_are_named(
    complete: Root, catalog: Catalog, spoil: Callable[[Path], object]
) -> None:
    shutil.rmtree(complete.at("data/gqa/images"))
    report = verify(catalog, complete)
    spoil(complete.skiplist)
    notes = notes_of(complete)
    with opened(report, catalog, complete, notes) as indexes:
        found = missing_pictures(report, catalog, notes, indexes)
    examples = [path for each in report.problems if each.kind is Kind.MISSING_IMAGES for path in each.examples]
    assert [(picture.path, picture.record) for picture in found] == [(path, None) for path in examples]


def test_without_indexes_there_is_a_page_without_samples(complete: Root, catalog: Catalog) -> None:
    report = verify(catalog, complete)
    shutil.rmtree(complete.indexes)
    page = render_page(report, catalog, complete)
    assert "n = 0 pictures" in visible(page)
    assert "base64" not in page


def test_samples_are_of_every_instruction_file_and_sizes_of_every_source(fetched: Root, catalog: Catalog) -> None:
    report, notes = verify(catalog, fetched, remember=False), notes_of(fetched)
    with opened(report, catalog, fetched, notes) as indexes:
        drawn = list(samples(indexes))
        assert drawn == list(samples(indexes))
        measured = measure(catalog, fetched, indexes)
    assert {sample.annotation for sample in drawn} == {state.name for state in report.annotations}
    assert all(sample.question and "<image>" not in sample.question for sample in drawn)
    assert measured.unread == 0
    assert set(measured.sizes) >= {"coco", "gqa", "sam", "vg", "ocrvqa"}
    assert measured.records <= sum(state.records for state in report.annotations)


def test_no_more_records_are_read_than_are_shown(
    fetched: Root, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    monkeypatch.setattr(samples_module, "first_question", lambda record: read.append(1))
    report = verify(catalog, fetched, remember=False)
    render_page(report, catalog, fetched)
    assert len(read) == samples_module.PER_FILE * len(report.annotations)


@pytest.mark.parametrize(
    ("record", "question"),
    [
        ({"conversations": [{"from": HUMAN, "value": "<image>\nWhat is it? "}]}, "What is it?"),
        ({"conversations": [{"from": "gpt", "value": "Hi"}, {"from": HUMAN, "value": "Who?"}]}, "Who?"),
        ({"conversations": [{"from": HUMAN, "value": ["What?"]}]}, None),
        ({"conversations": [None, "human", {"value": "x"}]}, None),
        ({"conversations": {"from": HUMAN}}, None),
        ({}, None),
        ([], None),
        (None, None),
    ],
)
def test_a_first_question_is_found_where_there_is_one(record: object, question: str | None) -> None:
    assert first_question(record) == question


def test_sources_add_up_their_folders_and_problems(catalog: Catalog) -> None:
    folders = (
        FolderState("vg", "data/vg/VG_100K", 10, 8),
        FolderState("vg", "data/vg/VG_100K_2", 5, 7),
        FolderState("webdata", "data/wikiart/images", None, 3),
    )
    problems = (
        Problem(Kind.MISSING_IMAGES, "vg", "p", 4, "d", "c"),
        Problem(Kind.WRONG_SUFFIX, "vg", "p", 1, "d", "c"),
        Problem(Kind.EMPTY_IMAGES, "vg", "p", 2, "d", "c"),
        Problem(Kind.MISSING_IMAGES, "", "data/elsewhere", 9, "d", "c"),
    )
    vg, webdata, nobody = sources(empty_report(folders=folders, problems=problems), catalog)
    assert (vg.name, vg.found, vg.expected, vg.missing, vg.damaged, vg.problems) == ("vg", 15, 15, 5, 2, 3)
    assert (webdata.expected, webdata.share, vg.share) == (None, None, 1.0)
    assert (nobody.name, nobody.missing, nobody.found) == ("", 9, 0)


def test_a_stage_that_is_not_complete_says_what_it_waits_for(catalog: Catalog) -> None:
    state = AnnotationState("llava665k", MIX, 100, 0, 7, {"missing-image": 7}, {})
    plan = StagePlan(3, False, True, (), 100, {"coco": {"missing-image": 7}})
    wrong = (
        Problem(Kind.WRONG_RECORD_COUNT, "llava", MIX, 1, "d", "c"),
        Problem(Kind.NOT_JPEG, "ocrvqa", "p", 2, "d", "c"),
        Problem(Kind.NOT_JPEG, "sam", "p", 2, "d", "c"),
    )
    (tally,) = stages(empty_report(annotations=(state,), problems=wrong, plans=(plan,)), catalog)
    assert tally.waits_for == (
        "7 of 100 records of llava665k name a picture that is not there",
        "llava665k has another number of records than published",
        "2 pictures of ocrvqa are empty, damaged or not JPEGs",
    )


def test_a_page_takes_the_place_of_an_older_one_and_leaves_nothing_beside_it(bare: Root, catalog: Catalog) -> None:
    target = bare.path / "report.html"
    target.write_text("old")
    write_page(empty_report(), catalog, bare, target)
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert {path.name for path in bare.path.iterdir()} == {"data", "report.html"}


@pytest.mark.parametrize(
    ("place", "kind", "message"),
    [
        ("none/report.html", UsageError, "there is no folder"),
        ("file/report.html", UsageError, "there is no folder"),
        ("folder", UsageError, "is a folder"),
        ("/proc/report.html", DiskError, "cannot write the report"),
        ("x" * 300 + ".html", DiskError, "cannot write the report"),
    ],
)
def test_a_target_that_cannot_be_written_is_refused(
    bare: Root, catalog: Catalog, tmp_path: Path, place: str, kind: type[CvlError], message: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(kind, match=message) as caught:
        write_page(empty_report(), catalog, bare, tmp_path / place)
    assert caught.value.hint is not None
    assert "--report" in caught.value.hint


def test_a_target_is_looked_at_without_touching_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    check_target(tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "old"


def luminance(colour: str) -> float:
    """Of `#rrggbb`, as WCAG 2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("text", ["text", "muted", "accent", "good", "bad", "warn"])
def test_text_can_be_told_from_its_ground_in_both_schemes(scheme: int, text: str) -> None:
    style = files("cvl.output.page").joinpath("page.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--(\w+): (#\w{6})", style.split("}")[scheme]))
    for ground in ("page", "raised"):
        light, dark = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)
