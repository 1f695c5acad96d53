"""The report's page in a real browser: laid out on a desktop and on a phone, searched, and silent on the network.

With `REPORT_PICTURES=FOLDER` the pictures that the documentation shows are left there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cvl.manifest import Catalog
from cvl.output.page import write_page
from cvl.root import Root
from cvl.verify.decode import Depth
from cvl.verify.report import FolderState, Kind, Problem, Report
from cvl.verify.verify import Checks, verify

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DESKTOP, PHONE = 1280, 390
BROWSER_ITSELF = "not an origin"
LARGEST_PICTURE = 400_000
MIX = "data/llava/llava_v1_5_mix665k.json"
HOSTILE = "</script><script>document.title='broken'</script><img src=http://127.0.0.1:9/x onerror=alert(1)>"

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed: apt-get install chromium")

# A page of ours around the report: a browser's window has a smallest width, a frame has none; and the report's own
# policy lets no script in, while this one may look into the frame and use it as a hand at the keyboard would.
_AROUND = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe src="{page}" width="{width}" height="{height}" style="border:0;display:block"></iframe>
<pre id="told" hidden></pre>
<script>
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {{
  const page = frame.contentDocument, view = frame.contentWindow, told = {{}};
  {script}
  document.getElementById("told").textContent = JSON.stringify(told);
}});
</script>"""

_MEASURE = """
const root = page.documentElement, box = (element) => element.getBoundingClientRect();
told.width = view.innerWidth;
told.scroll = root.scrollWidth;
told.height = root.scrollHeight;
told.beyond = [...page.body.querySelectorAll("*")].filter(
  (element) => !element.closest(".skip, thead, svg") && box(element).width && box(element).right > view.innerWidth + 1
).map((element) => element.outerHTML.slice(0, 80));
"""
_TYPE = """
const listing = page.querySelector("#{section} .listing"), field = listing.querySelector("input");
const shown = () => [...listing.querySelectorAll("tbody tr")].filter((row) => row.getClientRects().length)
  .map((row) => row.textContent);
told.before = shown();
field.value = {word};
field.dispatchEvent(new view.Event("input"));
told.after = shown();
told.said = listing.querySelector("output").textContent;
"""
_SORT = """
const head = [...page.querySelectorAll("#sources thead th")].find((head) => head.textContent.startsWith("Missing"));
const column = () => [...page.querySelectorAll("#sources .listing tbody")][0].querySelectorAll("td:nth-child(4)");
const numbers = () => [...column()].map((cell) => Number(cell.textContent.replaceAll(",", "")));
head.querySelector("button").click();
told.down = numbers(); told.first = head.getAttribute("aria-sort");
head.querySelector("button").click();
told.up = numbers(); told.second = head.getAttribute("aria-sort");
"""


@dataclass(frozen=True)
class Browser:
    """Headless Chromium with a profile and a cache of its own in `folder`."""

    folder: Path

    def run(self, address: Path, *options: str) -> subprocess.CompletedProcess[str]:
        """Open a file from disk; whatever it writes comes back. Its console must stay empty."""
        root = ("--no-sandbox",) if os.geteuid() == 0 else ()
        quiet = (
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--disable-gpu",
            "--hide-scrollbars",
        )
        files = ("--allow-file-access-from-files", "--virtual-time-budget=5000", "--enable-logging=stderr")
        assert PROGRAM is not None
        nowhere = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        own = ("--headless=new", f"--user-data-dir={self.folder / 'profile'}", nowhere)
        command = [PROGRAM, *own, *root, *quiet, *files, *options, address.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert "CONSOLE" not in done.stderr, done.stderr
        return done

    def ask(self, page: Path, script: str, *, width: int = DESKTOP) -> dict[str, Any]:
        """What `script` tells of a page that is `width` pixels wide."""
        dom = self.run(self._around(page, script, width, 800), "--dump-dom").stdout
        found = re.search(r'<pre id="told"[^>]*>(.+?)</pre>', dom, re.DOTALL)
        assert found is not None, dom[-500:]
        told = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        return dict(json.loads(told))

    def picture(self, page: Path, target: Path, width: int, height: int) -> None:
        """The top of a page as a PNG, with as many colours as a page of text needs."""
        around = self._around(page, "", width, height)
        options = (f"--window-size={width},{height}", f"--screenshot={target}")
        self.run(around, *options)
        with Image.open(target) as shot:
            shot.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
                target, optimize=True
            )

    def _around(self, page: Path, script: str, width: int, height: int) -> Path:
        around = self.folder / "around.html"
        around.write_text(_AROUND.format(page=page.as_uri(), width=width, height=height, script=script))
        return around


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    return Browser(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def page(fetched: Root, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a tree with a folder and some pictures damaged. Not to be changed."""
    folder = tmp_path_factory.mktemp("broken")
    shutil.copytree(fetched.path, folder / fetched.path.name, symlinks=True)
    # As most people name it; and a picture of the page does not show where this test ran.
    with chdir(folder):
        root = Root(Path(fetched.path.name))
        damage(root)
        write_page(verify(catalog, root, checks=Checks(decode=Depth.FULL)), catalog, root, Path("report.html"))
    return folder / "report.html"


def damage(root: Root) -> None:
    images = dict.fromkeys(record.get("image", "") for record in json.loads(root.at(MIX).read_bytes()))
    books = [f"data/{image}" for image in images if image.startswith("ocr_vqa/")]
    originals = sorted((root.originals / "ocr_vqa" / "images").iterdir())
    shutil.rmtree(root.at("data/textvqa/train_images"))
    root.at(f"data/{next(image for image in images if image.startswith('coco/'))}").unlink()
    root.at("data/web-celebrity/images/Choi_Min-sik.jpg").unlink()
    root.at(books[0]).write_bytes(originals[0].read_bytes())
    root.at(books[1]).write_bytes(b"<html>gone</html>")
    for book in books[2:5]:
        whole = root.at(book).read_bytes()
        root.at(book).write_bytes(whole[: len(whole) * 7 // 10])


@pytest.fixture(scope="module")
def hostile(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of problems whose names try everything."""
    folder = tmp_path_factory.mktemp("hostile")
    tree = Root(folder / "ShareGPT4V")
    tree.data.mkdir(parents=True)
    names = (HOSTILE, "x" * 10_000, "\u202egpj.exe", "\udc80\udcff", "a\nb\0c\x1b[2J", "\"'&amp;<b>", "עברית/עם רווח")
    problems = tuple(
        Problem(Kind.MISSING_IMAGES, name, f"data/{name}", 1, name, f"rm {name}", (name, f"{name}.jpg"))
        for name in names
    )
    report = Report(None, (FolderState(HOSTILE, HOSTILE, 1, 0),), (), problems, {1: False})
    write_page(report, catalog, tree, folder / "hostile.html")
    return folder / "hostile.html"


def requests(log: Path) -> set[str]:
    """The addresses that a browser's log of its network says a page asked for; a browser asks for things as well."""
    events = (event.get("params", {}) for event in json.loads(log.read_text())["events"])
    asked = {event["url"] for event in events if event.get("initiator", BROWSER_ITSELF) != BROWSER_ITSELF}
    return {address for address in asked if not address.startswith(("file:", "data:"))}


@contextmanager
def server() -> Iterator[str]:
    """An address that answers, to find out whether anybody asks."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}/picture.png"
        finally:
            running.shutdown()
            thread.join()


@pytest.mark.parametrize("width", [320, PHONE, 768, DESKTOP])
def test_nothing_is_wider_than_the_window(browser: Browser, page: Path, hostile: Path, width: int) -> None:
    for each in (page, hostile):
        told = browser.ask(each, _MEASURE, width=width)
        assert told["width"] == width
        assert told["scroll"] <= width
        assert told["beyond"] == []
        assert told["height"] > 800


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_search_leaves_the_rows_that_hold_every_word(browser: Browser, page: Path, width: int) -> None:
    told = browser.ask(page, _TYPE.format(section="missing", word='"COCO jpg"'), width=width)
    assert len(told["before"]) > len(told["after"]) == 1
    assert "data/coco/train2017/" in told["after"][0]
    assert told["said"] == f"1 of {len(told['before'])} rows"


def test_search_that_finds_nothing_says_so(browser: Browser, page: Path) -> None:
    told = browser.ask(page, _TYPE.format(section="problems", word='"no such thing"'))
    assert told["after"] == []
    assert told["said"].startswith("0 of ")


def test_a_column_of_numbers_is_sorted_by_value_and_says_which_way(browser: Browser, page: Path) -> None:
    told = browser.ask(page, _SORT)
    assert told["down"] == sorted(told["down"], reverse=True)
    assert told["up"] == told["down"][::-1] == sorted(told["up"])
    assert (told["first"], told["second"]) == ("descending", "ascending")


def test_every_cure_has_a_button_and_every_picture_is_drawn(browser: Browser, page: Path) -> None:
    told = browser.ask(
        page,
        "told.cures = page.querySelectorAll('code.cure').length;"
        "told.buttons = page.querySelectorAll('code.cure + button').length;"
        "told.pictures = [...page.images].map((image) => image.naturalWidth);",
    )
    assert told["cures"] == told["buttons"] > 5
    assert len(told["pictures"]) > 30
    assert min(told["pictures"]) > 0


def test_what_names_and_texts_try_comes_to_nothing(browser: Browser, hostile: Path) -> None:
    told = browser.ask(
        hostile,
        "told.title = page.title; told.scripts = page.scripts.length; told.images = page.images.length;"
        "told.text = page.querySelector('#problems').textContent;",
    )
    assert (told["title"], told["scripts"], told["images"]) == ("ShareGPT4V, verified", 1, 0)
    for shown in (HOSTILE, r"\u202egpj.exe", r"\udc80\udcff", r"a\nb\x00c\x1b[2J", "\"'&amp;<b>"):
        assert shown in told["text"]


def test_the_page_asks_nothing_of_any_network(browser: Browser, page: Path, hostile: Path, tmp_path: Path) -> None:
    for each in (page, hostile):
        log = tmp_path / f"{each.stem}.net.json"
        browser.run(each, "--dump-dom", f"--log-net-log={log}")
        assert requests(log) == set()


def test_a_page_that_did_ask_would_have_been_noticed(browser: Browser, tmp_path: Path) -> None:
    with server() as address:
        asking = tmp_path / "asking.html"
        asking.write_text(f"<!doctype html><img src='{address}' alt=''>")
        log = tmp_path / "net.json"
        browser.run(asking, "--dump-dom", f"--log-net-log={log}")
    assert requests(log) == {address}


def test_the_documentations_pictures_can_be_made(browser: Browser, page: Path, tmp_path: Path) -> None:
    folder = Path(os.environ.get("REPORT_PICTURES", tmp_path))
    for name, width, height in (("desktop", DESKTOP, 3700), ("phone", PHONE, 1900)):
        target = folder / f"report-{name}.png"
        browser.picture(page, target.absolute(), width, height)
        with Image.open(target) as picture:
            assert picture.size == (width, height)
        assert 20_000 < target.stat().st_size < LARGEST_PICTURE
