"""Random wrappings of a made-up data set: right content is imported from each, other content is refused.

    python tests/trials/imports.py --seed 1 --count 300

Held is an import of exactly the right files, or, where a file was damaged, a DataError that names the file
and what is wrong with it. Nothing may be written outside of the folder for unpacked files.
"""

import argparse
import bz2
import gzip
import hashlib
import io
import lzma
import random
import shutil
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import typer
from rmem_cli.data_scripts.dataset import SourceFile
from rmem_cli.data_scripts.gather import from_path
from rmem_cli.data_scripts.ptb import PTB

from rmem_cli.errors import DataError

SPLITS = ("train", "valid", "test")
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    "": bytes,
}
ARCHIVES = ("folder", "zip", "zip with backslashes", "tar", "tar.gz", "tar.bz2", "tar.xz")
PAGE = b"<!DOCTYPE html>\n<html><body>Log in first</body></html>\n"


def texts(source: random.Random) -> dict[str, bytes]:
    """The right content of each split; all of them differ in size."""
    return {
        split: "".join(f" word{source.randrange(99)} <unk> N \n" for _ in range(20 * place)).encode()
        for place, split in enumerate(SPLITS, start=1)
    }


def miniature(content: dict[str, bytes]) -> tuple[SourceFile, ...]:
    return tuple(
        SourceFile(
            f"ptb.{split}.txt",
            len(text),
            "sha256:" + hashlib.sha256(text).hexdigest(),
            aliases=(f"{split}.txt",),
        )
        for split, text in content.items()
    )


def damaged(text: bytes, source: random.Random) -> tuple[bytes, str]:
    """Other content, and what has to be said of it."""
    kind = source.choice(["returns", "page", "flip", "cut"])
    if kind == "returns":
        return text.replace(b"\n", b"\r\n"), "CRLF"
    if kind == "page":
        return PAGE, "is"
    if kind == "cut":
        return text[: source.randrange(len(text))], "is"
    flipped = bytearray(text)
    flipped[source.randrange(len(text))] ^= 1
    return bytes(flipped), "another file"


def named(split: str, source: random.Random) -> str:
    return source.choice([f"ptb.{split}.txt", f"{split}.txt", f"ptb.{split}.txt", f"part {split}.data"])


def wrapped(name: str, text: bytes, source: random.Random) -> tuple[str, bytes]:
    """A file, compressed or not, with the right suffix, another or none."""
    suffix = source.choice(list(COMPRESSIONS))
    content = COMPRESSIONS[suffix](text)
    if suffix and source.random() < 0.3:
        content += source.choice([b"\0" * 512, b"junk behind the end"])
    shown = suffix if source.random() < 0.7 else source.choice(list(COMPRESSIONS))
    return name + shown, content


def lay_out(folder: Path, files: dict[str, bytes], source: random.Random) -> Path:
    """Put files into a folder or an archive, with company; returns what --from is given."""
    below = [f"level{number}" for number in range(source.choice([0, 0, 1, 3, 8]))]
    form = source.choice(ARCHIVES)
    if form == "folder":
        deep = folder.joinpath(*below)
        deep.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (deep / name).write_bytes(content)
    else:
        suffix = form.split()[0] if source.random() < 0.7 else source.choice(["dat", "zip", "gz", "tgz"])
        archive = folder / f"copy.{suffix}"
        for level in range(source.choice([0, 0, 0, 1, 2])):
            files = nested(files, f"inner{level}", source)
        archive.write_bytes(packed(form, {"/".join([*below, name]): files[name] for name in files}))
        if source.random() < 0.3:
            return archive
    if source.random() < 0.5:
        (folder / "README").write_text("Read me.", encoding="utf-8")
        (folder / "page.zip").write_bytes(PAGE)
        (folder / "other.tgz").write_bytes(packed("tar.gz", {"other.txt": b"nothing of it"}))
    return folder


def nested(files: dict[str, bytes], name: str, source: random.Random) -> dict[str, bytes]:
    """Some of the files, or all, in an archive of their own."""
    inside = {key: content for key, content in files.items() if source.random() < 0.7}
    form = source.choice(ARCHIVES[1:])
    name += source.choice([f".{form.split()[0]}", "", ".dat", ".zip"])
    others = {key: content for key, content in files.items() if key not in inside}
    return {name: packed(form, inside), **others}


def packed(form: str, files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    if form.startswith("zip"):
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name.replace("/", "\\") if "backslashes" in form else name, content)
        return stream.getvalue()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return COMPRESSIONS[form.removeprefix("tar")](stream.getvalue())


def outcome(folder: Path, content: dict[str, bytes], spoiled: str | None, source: random.Random) -> str:
    given, said = dict(content), ""
    if spoiled is not None:
        given[spoiled], said = damaged(content[spoiled], source)
    names = {split: named(split, source) for split in SPLITS}
    if spoiled is not None:
        names[spoiled] = f"ptb.{spoiled}.txt"
    files = dict(wrapped(names[split], text, source) for split, text in given.items())
    (folder / "given").mkdir()
    (folder / "work").mkdir()
    path = lay_out(folder / "given", files, source)
    before = set((folder / "given").rglob("*"))
    try:
        found = from_path(replace(PTB, files=miniature(content)), path, folder / "work")
    except DataError as error:
        if spoiled is None:
            return f"NOT HELD: right content is refused: {error}"
        told = f"ptb.{spoiled}.txt" in str(error) and said in str(error)
        return "held: refused with the reason" if told else f"NOT HELD: refused without {said!r}: {error}"
    except Exception as error:
        return f"NOT HELD: {type(error).__name__}: {error}"
    if spoiled is not None:
        return "NOT HELD: other content is taken"
    if {name: file.path.read_bytes() for name, file in found.items()} != {
        f"ptb.{split}.txt": text for split, text in content.items()
    }:
        return "NOT HELD: other bytes came out"
    if set((folder / "given").rglob("*")) != before or len(list(folder.iterdir())) != 2:
        return "NOT HELD: something was written elsewhere"
    return "held: imported"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=300)
    given = parser.parse_args()
    source, counts = random.Random(given.seed), Counter[str]()
    for number in range(given.count):
        folder = Path(tempfile.mkdtemp())
        found = outcome(folder, texts(source), source.choice([None, None, *SPLITS]), source)
        shutil.rmtree(folder)
        counts[found.partition(" [")[0] if found.startswith("held") else "NOT HELD"] += 1
        if found.startswith("NOT"):
            typer.echo(f"trial {number}: {found}")
    for what, count in sorted(counts.items()):
        typer.echo(f"{count:5d}  {what}")
    typer.echo(f"seed {given.seed}: {given.count - counts['NOT HELD']} of {given.count} held")


if __name__ == "__main__":
    main()
