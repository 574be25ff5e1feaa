"""Random damage to tables of results and learning curves: read right, or a sentence with file and line.

    python tests/trials/results.py --seed 1 --count 500

A table and a curve as rmem writes them are damaged in one way, or two: bytes flipped, cut, zeroed; lines
doubled, lost, moved, joined; columns renamed, moved, lost; another encoding, quotes, separators; a cell with
another text. Held is what is read as before, also after the next write, which loses no row; or a refusal in
one sentence that names file and line, after which no write changes the file. Counted apart is what nobody can
tell from the truth: a line that is gone as a whole, a cell with another text of its own kind.
"""

import argparse
import contextlib
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import typer

from rmem_cli.errors import UsageError
from rmem_cli.results.curves import Curves
from rmem_cli.results.row import ResultRow
from rmem_cli.results.run_names import file_name
from rmem_cli.results.store import ResultStore

ROW = ResultRow(
    experiment="recall", row="lstm", cell="length=50", scale="paper", seed=1, protocol="test", split="test",
    part="", metric="accuracy", value=0.5, unit="fraction", examples=20000, step=1000, checkpoint="best",
    parameters=12345, wall_seconds=1.25, peak_memory_mb=300.5, device="cpu", threads=2,
    op_paths="gates=native;rotation=fast", dtype="float32", torch_version="2.13.0", rmem_version="0.1.0",
    git_commit="0cfef59" * 5 + "0cfef", git_dirty="false", train_hash="0123456789ab",
    eval_hash="ba9876543210", data_hash="", status="ok", time="2026-01-02T03:04:05Z",
)  # fmt: skip
NEW = replace(ROW, seed=99)
NAME = file_name(ROW, ROW.train_hash)
CELLS = [
    "",
    "x",
    "-1",
    "0",
    "1e9",
    "nan",
    "1,5",
    "é",
    "\0",
    "01.02.2026",
    "TRUE",
    "=1+1",
    '"',
    '""',
    " ",
    "ok",
]
Text = list[list[str]]


def rows(source: random.Random) -> list[ResultRow]:
    found = [
        replace(ROW, row=row, seed=seed, metric=metric, value=source.random())
        for row in ("lstm", 'Größe, 2 "of" 3')
        for seed in (1, 2)
        for metric in ("accuracy", "loss")
    ]
    failed = replace(ROW, row="gru", seed=3, value=None, status="diverged", examples=None, wall_seconds=None)
    return [*found, failed]


def curve(source: random.Random) -> str:
    lines = ["step,split,metric,value\n"]
    for step in range(100, 1001, 100):
        lines += [f"{step},train,{name},{source.random()!r}\n" for name in ("loss", "lr")]
        if step % 200 == 0:
            lines += [f"{step},valid,{name},{source.random()!r}\n" for name in ("loss", "accuracy")]
    return "".join(lines)


def flip(content: bytes, source: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(source.choice([1, 1, 3, 20])):
        changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
    return bytes(changed)


def cut(content: bytes, source: random.Random) -> bytes:
    first = source.randrange(len(content))
    return content[first:] if source.random() < 0.3 else content[:first]


def zero(content: bytes, source: random.Random) -> bytes:
    first = source.randrange(len(content))
    last = source.randrange(first, len(content) + 1)
    return content[:first] + bytes(last - first) + content[last:]


def insert(content: bytes, source: random.Random) -> bytes:
    first = source.randrange(len(content))
    what = source.choice([b"\0", b"\n", b"\r", b'"', b",", b"\xef\xbb\xbf", b"\xff", b"<<<<<<< HEAD\n"])
    return content[:first] + what + content[first:]


def encode(content: bytes, source: random.Random) -> bytes:
    encoding = source.choice(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp037", "utf-7"])
    return content.decode(errors="replace").encode(encoding, errors="replace")


def by_lines(change: Callable[[list[str], int, random.Random], None]) -> Callable[..., bytes]:
    def damage(content: bytes, source: random.Random) -> bytes:
        lines = content.decode(errors="replace").splitlines(keepends=True)
        if lines:
            change(lines, source.randrange(len(lines)), source)
        return "".join(lines).encode(errors="replace")

    return damage


def double(lines: list[str], at: int, source: random.Random) -> None:
    lines.insert(source.choice([at, len(lines)]), lines[at])


def lose(lines: list[str], at: int, source: random.Random) -> None:
    del lines[at]


def move(lines: list[str], at: int, source: random.Random) -> None:
    lines.insert(source.randrange(len(lines)), lines.pop(at))


def join(lines: list[str], at: int, source: random.Random) -> None:
    lines[at] = lines[at].removesuffix("\n")


def save(lines: list[str], at: int, source: random.Random) -> None:
    """As a spreadsheet saves it."""
    kind = source.choice(["\r\n", ";", "\t", "quotes", "empty"])
    for number, line in enumerate(lines):
        if kind == "\r\n":
            lines[number] = line.replace("\n", "\r\n")
        elif kind == "quotes" and '"' not in line:
            lines[number] = '"' + line.removesuffix("\n").replace(",", '","') + '"\n'
        elif kind == "empty":
            lines[number] = line.replace("\n", ",,\n")
        elif '"' not in line:
            lines[number] = line.replace(",", kind)


def columns(lines: list[str], at: int, source: random.Random) -> None:
    """Rename, lose or exchange columns, in the header or in every line."""
    cells = [line.removesuffix("\n").split(",") for line in lines]
    one, other = source.randrange(len(cells[0])), source.randrange(len(cells[0]))
    kind = source.choice(["rename", "exchange", "lose", "exchange in header", "double"])
    for number, each in enumerate(cells):
        if max(one, other) >= len(each) or (("rename" in kind or "header" in kind) and number):
            continue
        if kind == "rename":
            each[one] += "s"
        elif kind == "lose":
            del each[one]
        elif kind == "double":
            each.insert(other, each[one])
        else:
            each[one], each[other] = each[other], each[one]
    lines[:] = [",".join(each) + "\n" for each in cells]


def edit(lines: list[str], at: int, source: random.Random) -> None:
    cells = lines[at].removesuffix("\n").split(",")
    cells[source.randrange(len(cells))] = source.choice(CELLS)
    lines[at] = ",".join(cells) + "\n"


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flip": flip, "cut": cut, "zero": zero, "insert": insert, "encode": encode, "double": by_lines(double),
    "lose": by_lines(lose), "move": by_lines(move), "join": by_lines(join), "save": by_lines(save),
    "columns": by_lines(columns), "edit": by_lines(edit),
}  # fmt: skip


def undetectable(found: list[Any], right: list[Any]) -> bool:
    """Whether whole records are gone, and others have cells with another value of its own kind."""
    return all(min(differing(one, each) for each in right) <= 3 for one in found)


def differing(one: tuple[Any, ...], other: tuple[Any, ...]) -> int:
    return sum(repr(a) != repr(b) for a, b in zip(one, other, strict=True))


def outcome(path: Path, read: Callable[[], list[Any]], right: list[Any], write: Callable[[], None]) -> str:
    """What reading and writing give now, and whether that is held."""
    before = path.read_bytes()
    try:
        found = read()
    except UsageError as error:
        said = str(error)
        if f"{path}:" not in said or "\n" in said or not said.partition(f"{path}:")[2][0].isdecimal():
            return f"NOT HELD: refused without a place: {error}"
        with contextlib.suppress(UsageError):
            write()
        return "held: a sentence" if path.read_bytes() == before else "NOT HELD: written over what is damaged"
    except Exception as error:
        return f"NOT HELD: {type(error).__name__}: {error}"
    write()
    kept = read()
    if any(each not in kept for each in found):
        return "NOT HELD: the next write lost rows"
    if sorted(map(repr, found)) == sorted(map(repr, right)):
        return "held: the same is read"
    if undetectable(found, right):
        return "nobody can tell: other content of the same kind"
    return f"NOT HELD: other content: {[each for each in found if each not in right][:2]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=500)
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as made:
        store = ResultStore(Path(made))
        table, curve_file = store.folder / "recall.csv", store.folder / "curves" / f"{NAME}.csv"
        for number in range(given.count):
            source = random.Random(f"{given.seed} {number}")
            table.unlink(missing_ok=True)
            store.write(rows(source))
            store.write_curve(NAME, curve(source))
            chosen = source.choices(list(DAMAGES), k=source.choice([1, 1, 1, 2]))
            is_table = source.random() < 0.6
            path, read, write = (
                (
                    table,
                    lambda: [astuple(row) for row in store.read("recall") if row != NEW],
                    lambda: store.write([NEW]),
                )
                if is_table
                else (curve_file, lambda: points(store.folder), lambda: None)
            )
            right = read()
            content = path.read_bytes()
            for damage in chosen:
                content = DAMAGES[damage](content or b"\n", source)
            path.write_bytes(content)
            found = outcome(path, read, right, write)
            what = "table" if is_table else "curve"
            counts[f"{what}, {found.partition(':')[0] if found.startswith('NOT') else found}"] += 1
            if found.startswith("NOT"):
                typer.echo(f"trial {number}: {what}, {' and '.join(chosen)}: {found}")
    for what, count in sorted(counts.items()):
        typer.echo(f"{count:5d}  {what}")
    lost = sum(count for what, count in counts.items() if "NOT" in what)
    typer.echo(f"seed {given.seed}: {given.count - lost} of {given.count} held")
    return int(lost > 0)


def points(folder: Path) -> list[Any]:
    """The points of the curve, each with its series."""
    found = Curves(folder)(ROW)
    assert found is not None
    return [(*what, *point) for what, points in found.series.items() for point in points]


if __name__ == "__main__":
    raise SystemExit(main())
