"""Random damage to the folder of compiled operations: every process ends well, with the same numbers.

    python tests/trials/native_cache.py --seed 1 --count 20

One small operation is built, damaged, and built again by the real compiler; then by a stand-in that copies
what was built, or not at all, as a build takes long. Held is a process that ends with the right product, on
the native form where there is a compiler, and says at most one line where there is none.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import typer

SCRIPT = """
import torch
from rmem_cli.ops.native import build
available = build.status("product").available
a, b = torch.arange(1200.0).view(40, 30) / 1200, torch.arange(600.0).view(30, 20) / 600
product = torch.ops.rmem.product(a, b, None) if available else a @ b
print(available, torch.allclose(product, a @ b, atol=1e-4))
"""
STAND_IN = """#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done
case "$out" in *.so) cp {library} "$out";; "") echo "g++ (GCC) 12.2.0";; *) : > "$out";; esac
"""


def run(cache: Path, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"RMEM_NATIVE_CACHE": str(cache), "RMEM_NATIVE": "auto"} | environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    return done.returncode, done.stdout.strip(), done.stderr


def damage(folder: Path, source: random.Random) -> str:
    """Damage something in a built folder; returns what."""
    library, record = next(folder.glob("*.so")), next(folder.glob("*.sha256"))
    kind = source.choice(["cut", "flip", "zero", "junk", "gone", "record", "no record", "folder", "nothing"])
    content = bytearray(library.read_bytes())
    if kind == "cut":
        library.write_bytes(content[: source.randrange(len(content))])
    elif kind == "flip":
        for _ in range(source.choice([1, 100, 10_000])):
            content[source.randrange(len(content))] ^= 1 << source.randrange(8)
        library.write_bytes(content)
    elif kind == "zero":
        start = source.randrange(len(content))
        library.write_bytes(content[:start] + bytes(len(content) - start))
    elif kind == "junk":
        library.write_bytes(source.randbytes(len(content)))
    elif kind == "gone":
        library.unlink()
    elif kind == "record":
        record.write_bytes(source.randbytes(64))
    elif kind == "no record":
        record.unlink()
    elif kind == "folder":
        shutil.rmtree(folder)
        folder.write_text("a file in its place", encoding="utf-8")
    return kind


def outcome(code: int, out: str, err: str, *, native: bool) -> str:
    if code != 0 or "Traceback" in err:
        return f"NOT HELD: exit code {code}: {err.strip()[-200:]}"
    if out != f"{native} True":
        return f"NOT HELD: {out}: {err.strip()[-200:]}"
    if not native and err.count("\n") != 1:
        return f"NOT HELD: {err.count(chr(10))} lines: {err.strip()[-200:]}"
    return "held: native" if native else "held: PyTorch, one line"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20)
    given = parser.parse_args()
    source, counts = random.Random(given.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as made:
        cache, kept = Path(made) / "cache", Path(made) / "kept"
        typer.echo(f"built: {outcome(*run(cache), native=True)}")
        (folder,) = (path for path in cache.iterdir() if path.is_dir())
        shutil.copytree(folder, kept)
        library = next(folder.glob("*.so"))
        library.write_bytes(library.read_bytes()[: source.randrange(library.stat().st_size)])
        typer.echo(f"cut short and built again by the real compiler: {outcome(*run(cache), native=True)}")
        stand_in = Path(made) / "c++"
        stand_in.write_text(STAND_IN.format(library=next(kept.glob("*.so"))), encoding="ascii")
        stand_in.chmod(0o755)
        for number in range(given.count):
            what = damage(folder, source)
            compiler = source.choice([str(stand_in), "no-such-compiler", shutil.which("false") or "false"])
            native = what == "nothing" or compiler == str(stand_in)
            found = outcome(*run(cache, CXX=compiler), native=native)
            counts[f"{what}: {found}"] += 1
            if found.startswith("NOT"):
                typer.echo(f"trial {number}: {what}, {compiler}: {found}")
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
            shutil.copytree(kept, folder)
    for what, count in sorted(counts.items()):
        typer.echo(f"{count:5d}  {what}")
    lost = sum(count for what, count in counts.items() if "NOT" in what)
    typer.echo(f"seed {given.seed}: {given.count - lost} of {given.count} held")


if __name__ == "__main__":
    main()
