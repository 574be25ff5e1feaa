"""Random damage to prepared data of every kind: it is refused in one sentence, or changes nothing.

    python tests/trials/prepared_data.py --seed 1 --count 300

Made-up sets are written, one of their files is damaged, and everything that a task reads of them is read.
Held is what is read as before or refused by a DataError that names the folder and the command that helps.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rmem_cli.data_scripts.babi import prepare_task
from rmem_cli.data_scripts.copy_reverse import prepare_copy
from rmem_cli.data_scripts.hyperpartisan import prepare_articles, prepare_pieces

from rmem_cli.data.babi import Babi
from rmem_cli.data.description import DESCRIPTION_HASH, META, content_hash, description_hash
from rmem_cli.data.hyperpartisan import PIECES, open_hyperpartisan
from rmem_cli.data.images import open_images
from rmem_cli.data.pair_records import Pair, pair_content
from rmem_cli.data.pairs import FORM, Pairs
from rmem_cli.data.prepared import open_prepared
from rmem_cli.data.texts import Texts
from rmem_cli.data.writer import Content, write_prepared
from rmem_cli.errors import DataError

STORY = "1 Mary moved to the bathroom.\n2 Where is Mary? \tbathroom\t1\n3 John sat.\n4 Who sat?\tJohn\t3\n"
ABOUT: dict[str, Any] = {"sources": [], "licence": "none", "citation": "nobody"}


def text(form: str) -> None:
    symbols = np.random.default_rng(1).integers(8, size=300).astype(np.uint8)
    arrays = {"train": [symbols], "valid": [symbols[:40]], "test": [symbols[40:90]]}
    write_prepared("ptb", form, Content(arrays, list("\nabcdefg"), 0), **ABOUT)


def read_text(form: str) -> list[Any]:
    prepared = open_prepared("ptb", form)
    symbols = [prepared.tokens(split).tolist() for split in prepared.splits]
    return [prepared.data_hash, prepared.vocabulary, prepared.meta["end_of_line"], symbols]


def images() -> None:
    source = np.random.default_rng(1)
    arrays = {}
    for split, count in (("train", 8), ("test", 5)):
        arrays[f"{split}_images"] = [source.integers(256, size=(count, 4, 4)).astype(np.uint8)]
        arrays[f"{split}_labels"] = [source.integers(10, size=count).astype(np.uint8)]
    counted = {split: f"{split}_labels" for split in ("train", "test")}
    write_prepared("mnist", "images", Content(arrays, list("0123456789"), counted=counted), **ABOUT)


def read_images() -> list[Any]:
    opened = open_images("mnist")
    arrays = [array.tolist() for split in ("train", "test") for array in opened.split(split)]
    return [opened.prepared.data_hash, opened.classes, arrays]


def stories(folder: Path) -> None:
    (folder / "story.txt").write_text(STORY, encoding="utf-8")
    files = {f"en/qa1_{split}.txt": folder / "story.txt" for split in ("train", "test")}
    write_prepared("babi", "en-qa1", prepare_task(files), **ABOUT)


def read_stories() -> list[Any]:
    babi = Babi(1, "en")
    questions = [list(babi.questions(split)) for split in ("train", "test")]
    return [babi.prepared.data_hash, babi.prepared.vocabulary, questions]


def articles(folder: Path, form: str) -> None:
    words = [("calm", "report", "said"), ("outrage", "lies", "shame")]
    texts = "".join(
        f'<article id="{n}" title="T {n}">{" ".join(words[n % 2] * (n % 5 + 1))}</article>' for n in range(20)
    )
    labels = "".join(f'<article id="{n}" hyperpartisan="{["false", "true"][n % 2]}"/>' for n in range(20))
    files = {}
    for part, content in (("articles-training", texts), ("ground-truth-training", labels)):
        files[f"{part}-byarticle-20181122.xml"] = folder / part
        (folder / part).write_text(f"<articles>{content}</articles>", encoding="utf-8")
    content = prepare_pieces(files) if form == PIECES else prepare_articles(files)
    write_prepared("hyperpartisan", form, content, **ABOUT)


def read_articles(form: str) -> list[Any]:
    news = open_hyperpartisan(form)
    rows = {name: part.tolist() for fold in range(5) for name, part in news.split(fold).items()}
    content: list[Any] = [news.prepared.data_hash, news.labels.tolist(), rows]
    if form == PIECES:
        return [*content, [[piece.tolist() for piece in news.pieces(fold)] for fold in range(5)]]
    return [*content, list(news.texts), list(news.titles), list(Texts(news.prepared, "id"))]


def pairs() -> None:
    some = [Pair(f"id{n}", f"article {n} é", f"summary {n}") for n in range(6)]
    splits = {"train": some[:3], "valid": some[3:4], "test": some[4:]}
    write_prepared("pubmed", "pairs", pair_content(splits), **ABOUT)


def read_pairs() -> list[Any]:
    opened = Pairs(open_prepared("pubmed", FORM))
    texts = [
        (*map(list, opened.split(split)), list(opened.ids(split))) for split in ("train", "valid", "test")
    ]
    return [opened.prepared.data_hash, texts]


def generated() -> None:
    content = prepare_copy({}, length=6, sizes={"train": 20, "valid": 5, "test": 5})
    write_prepared("copy", "24", content, **ABOUT)


def read_generated() -> list[Any]:
    rows = open_prepared("copy", "24")
    symbols = [rows.tokens(split).tolist() for split in ("train", "valid", "test")]
    return [rows.data_hash, rows.vocabulary, symbols]


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[], list[Any]]]] = {
    "ptb/char": (lambda _: text("char"), lambda: read_text("char")),
    "ptb/word": (lambda _: text("word"), lambda: read_text("word")),
    "mnist/images": (lambda _: images(), read_images),
    "babi/en-qa1": (stories, read_stories),
    "hyperpartisan/articles": (
        lambda folder: articles(folder, "articles"),
        lambda: read_articles("articles"),
    ),
    "hyperpartisan/pieces": (lambda folder: articles(folder, PIECES), lambda: read_articles(PIECES)),
    "pubmed/pairs": (lambda _: pairs(), read_pairs),
    "copy/24": (lambda _: generated(), read_generated),
}
VALUES = [
    None,
    True,
    -1,
    0,
    3,
    1.5,
    10**30,
    "",
    "x",
    "\ud800",
    "a\0b",
    [],
    [0],
    {},
    {"a": 1},
    [[]],
    float("nan"),
]


def flip(path: Path, source: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[source.randrange(len(content))] ^= source.randrange(1, 256)
    path.write_bytes(content)


def cut(path: Path, source: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: source.randrange(path.stat().st_size)])


def lengthen(path: Path, source: random.Random) -> None:
    path.write_bytes(path.read_bytes() + source.randbytes(source.randrange(1, 9)))


def zero(path: Path, source: random.Random) -> None:
    del source
    path.write_bytes(bytes(path.stat().st_size))


def remove(path: Path, source: random.Random) -> None:
    path.unlink()
    if source.random() < 0.5:
        path.mkdir()


def edit(path: Path, source: random.Random) -> None:
    """Change, remove or add something anywhere in meta.json."""
    meta = path.with_name(META)
    content = json.loads(meta.read_text(encoding="utf-8"))
    place: Any = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = source.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and source.random() < 0.7:
            place = place[key]
            continue
        break
    if source.random() < 0.25:
        del place[key]
    else:
        place[key] = source.choice(VALUES)
    meta.write_text(json.dumps(content), encoding="utf-8")


def forge(path: Path, source: random.Random) -> None:
    """Change meta.json and make its own hash fit, or leave it out, as data of an earlier rmem has none."""
    meta = path.with_name(META)
    for _ in range(source.choice([1, 1, 2, 4])):
        edit(path, source)
    content = json.loads(meta.read_text(encoding="utf-8"))
    content.pop(DESCRIPTION_HASH, None)
    if source.random() < 0.5:
        content[DESCRIPTION_HASH] = description_hash(content)
    meta.write_text(json.dumps(content), encoding="utf-8")


def rehash(path: Path, source: random.Random) -> None:
    """Damage an array and make every hash fit it: another data set, which has to say so, or is refused."""
    flip(path, source)
    if path.name == META:
        return
    meta = path.with_name(META)
    content = json.loads(meta.read_text(encoding="utf-8"))
    content["arrays"][path.stem]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    hashes = {name: about["sha256"] for name, about in content["arrays"].items()}
    content["data_hash"] = content_hash(hashes, content["vocabulary"])
    content[DESCRIPTION_HASH] = description_hash(content)
    meta.write_text(json.dumps(content), encoding="utf-8")


def nest(path: Path, source: random.Random) -> None:
    path.with_name(META).write_text("[" * source.randrange(1, 200_000), encoding="utf-8")


DAMAGES = (flip, cut, lengthen, zero, remove, edit, edit, edit, forge, forge, forge, rehash, nest)


def outcome(kind: str, right: list[Any]) -> str:
    """What reading gives now, and whether that is held."""
    folder, name = Path(os.environ["RMEM_DATA"]) / kind, kind.partition("/")[0]
    try:
        found = KINDS[kind][1]()
    except DataError as error:
        said = str(folder) in str(error) and f"`rmem fetch {name}" in str(error) and "\n" not in str(error)
        return "held: refused in a sentence" if said else f"NOT HELD: refused without help: {error}"
    except Exception as error:
        return f"NOT HELD: {type(error).__name__}: {error}"
    if found == right:
        return "held: the same is read"
    if found[0] != right[0]:
        return "held: other numbers under another data hash"
    return "NOT HELD: other numbers under the same data hash"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=400)
    given = parser.parse_args()
    source, counts = random.Random(given.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        os.environ |= {"RMEM_DATA": str(folder / "data"), "RMEM_CACHE": str(folder / "cache")}
        right = {}
        for kind, (write, read) in KINDS.items():
            write(folder)
            right[kind] = read()
        shutil.copytree(folder / "data", folder / "kept")
        for number in range(given.count):
            kind, damage = source.choice(list(KINDS)), source.choice(DAMAGES)
            path = source.choice(sorted((folder / "data" / kind).iterdir()))
            damage(path, source)
            found = outcome(kind, right[kind])
            if damage is forge:  # every hash is right: which symbol ends a line, say, cannot be told
                found = found.replace(
                    "NOT HELD: other numbers under the same", "nobody can tell: under the same"
                )
            counts[f"{damage.__name__}: {found}"] += 1
            if found.startswith("NOT"):
                typer.echo(f"trial {number}: {kind} {path.name} {damage.__name__}: {found}")
            shutil.rmtree(folder / "data" / kind)
            shutil.copytree(folder / "kept" / kind, folder / "data" / kind)
    for what, count in sorted(counts.items()):
        typer.echo(f"{count:5d}  {what}")
    lost = sum(count for what, count in counts.items() if "NOT" in what)
    typer.echo(f"seed {given.seed}: {given.count - lost} of {given.count} held")


if __name__ == "__main__":
    main()
