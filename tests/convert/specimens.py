"""Pictures of every kind that are converted, and what a folder holds."""

from __future__ import annotations

import io
import random
import warnings
from pathlib import Path

from PIL import Image

from cvl.convert.jpeg import Conversion, ConversionReport, convert_folder


def drawing(mode: str = "RGB", *, seed: int = 0, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A picture of its own for each seed."""
    gradient = Image.linear_gradient("L").resize(size).convert("RGB")
    dots = Image.frombytes("RGB", (6, 5), random.Random(seed).randbytes(90)).resize(size)
    return Image.blend(gradient, dots, 0.5).convert(mode)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def animated_gif() -> bytes:
    others = [Image.new("RGB", (48, 40), colour) for colour in ("red", "blue")]
    return encoded(drawing(), "GIF", save_all=True, append_images=others, duration=40)


GIF = encoded(drawing("P"), "GIF", transparency=5, interlace=1)
PNG = encoded(drawing(seed=1).quantize(16), "PNG", transparency=bytes(range(0, 256, 16)))
JPEG = encoded(drawing(seed=2), "JPEG")
CMYK = encoded(drawing("CMYK", seed=3), "JPEG")
CUT_GIF = GIF[: len(GIF) // 2]
PAGE = b"<!DOCTYPE html><title>404 Not Found</title>"
FOREIGN = {
    ".gif": GIF,
    ".png": PNG,
    ".webp": encoded(drawing(seed=4), "WEBP"),
    ".bmp": encoded(drawing(seed=5), "BMP"),
    ".tiff": encoded(drawing(seed=6), "TIFF"),
}


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def tree(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, what a killed run left included."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in folder.rglob("*")}


def document_jpeg(data: bytes) -> bytes:
    """What the source document's loop makes of a file with these bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data)) as img:
            return encoded(img.convert("RGB"), "JPEG", quality=95)


def run(conversion: Conversion, *, dry_run: bool = False) -> ConversionReport:
    report = convert_folder(conversion, jobs=1, dry_run=dry_run)
    lists = (report.converted, report.unreadable, report.shadowed)
    assert report.scanned == report.already_jpeg + report.already_converted + report.other + sum(map(len, lists))
    return report
