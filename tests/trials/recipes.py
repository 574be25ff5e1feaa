"""Mutates the recipes that come with rmem at random, and reads, shows, reports and plans what comes out.

    python tests/trials/recipes.py --seed N [--count K]

Counts: refused with a place, accepted, tracebacks (must be 0), and slow, over two seconds of processor time
(must be 0). Exits with 1 if any must-be-0 is not.
"""

import argparse
import contextlib
import io
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from copy import deepcopy
from pathlib import Path

import yaml

from rmem_cli.app import main
from rmem_cli.recipe.library import list_recipes

SLOW_SECONDS = 2.0
ROOT = Path(__file__).parents[2] / "recipes"
# fmt: off
ODD = [
    None, True, False, 0, -1, 1, 3, 0.5, -0.0, 1e-300, 1e300, 10**17, -(10**17), 10**9, "", " ", "x", "null",
    "1e-3",
    "\x1b[31m", "\u202e", "a.b", "[bold]", "../..", "/etc/passwd", "é", [], {}, [[]], [None], {"kind": "rum"},
    {"kind": None}, {"kind": "lstm", "hidden_size": 3}, [1, 2, 3], ["loss"], "loss", "gru", "copy", "paper",
    "smoke",
    {"": 1}, {"steps": 1}, "x" * 1000, list(range(2000)),
]
# fmt: on


def mutated(random_, document):
    """One change somewhere in a document."""
    places = list(walk(document))
    holder, key = random_.choice(places)
    kind = random_.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = deepcopy(random_.choice(ODD))
    elif kind == 2:
        other, name = random_.choice(places)
        with contextlib.suppress(KeyError, IndexError):
            holder[key] = deepcopy(other[name])
    elif kind == 3 and isinstance(holder, dict):
        word = str(key)
        at = random_.randrange(len(word) + 1)
        holder[word[:at] + random_.choice("aeiou._ -") + word[at:]] = holder.pop(key)
    elif kind == 4 and isinstance(holder, list):
        holder.extend(deepcopy(holder[key]) for _ in range(random_.choice([1, 2, 50])))
    elif kind == 5:
        holder[key] = {"a": holder[key]} if random_.random() < 0.5 else [holder[key]]
    elif kind == 6 and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        holder[key] = holder[key] * random_.choice([0, -1, 2, 1000, 10**6, 10**12, 0.5])
    elif isinstance(holder, dict):
        holder[random_.choice(["steps", "kind", "rows", "scales", "task.length", "x", "eval", "matrix"])] = (
            deepcopy(random_.choice(ODD))
        )


def walk(value):
    """Every place of a document: what holds it, and its key there."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in list(items):
        yield value, key
        if isinstance(below, dict | list) and below:
            yield from walk(below)


def run(*arguments):
    """A command in this process: its exit code, what it says, and the traceback of a bug."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["rmem", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        return ended.code or 0, err.getvalue(), ""
    except BaseException:
        return 1, err.getvalue(), traceback.format_exc()
    raise AssertionError("a command ends with an exit code")


def trial(random_, folder, counts, *, with_plan):
    """One recipe, changed in one place or a few, and what four commands make of it."""
    name = random_.choice([each for each in list_recipes() if (ROOT / f"{each}.yaml").exists()])
    document = yaml.safe_load((ROOT / f"{name}.yaml").read_text(encoding="utf-8"))
    for _ in range(random_.choice([1, 1, 1, 2, 4])):
        if document:
            mutated(random_, document)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    commands = [["validate", path], ["show", path], ["report", path]]
    scale = random_.choice(["paper", "cpu", "smoke"])
    if with_plan:
        commands.append(["train", path, "--dry-run", "--scale", scale])
    for command in commands:
        started = time.process_time()
        code, said, bug = run(*map(str, command))
        taken = time.process_time() - started
        counts["commands"] += 1
        if bug or code == 1:
            counts["traceback"] += 1
            print(f"TRACEBACK {command}\n{bug}", path.read_text(encoding="utf-8")[:3000])
        elif code == 0:
            counts["accepted"] += 1
        else:
            placed = any(f"{path}:" in line for line in said.splitlines()) or code in (2, 3, 6)
            counts["refused with place" if placed else "refused without place"] += 1
        # A plan may take ten seconds; a first one builds native operations and measures cores.
        if taken > (10 if command[0] == "train" else SLOW_SECONDS):
            counts["slow"] += 1
            print(f"SLOW {taken:.1f} s {command}", file=sys.stderr)
            (Path(tempfile.gettempdir()) / f"slow-{counts['slow']}.yaml").write_text(
                path.read_text(encoding="utf-8")
            )
        if code != 0:
            return


def main_trials():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--plans", type=float, default=0.1, help="Share of the trials that also plan.")
    arguments = parser.parse_args()
    random_ = random.Random(arguments.seed)
    counts = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for variable in ("RMEM_DATA", "RMEM_RUNS", "RMEM_RESULTS"):
            os.environ[variable] = str(Path(folder) / variable)
        run("validate")  # loads what is loaded once
        for _ in range(arguments.count):
            trial(random_, Path(folder), counts, with_plan=random_.random() < arguments.plans)
    print(f"seed {arguments.seed}: " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    return 1 if counts["traceback"] or counts["slow"] else 0


if __name__ == "__main__":
    raise SystemExit(main_trials())
