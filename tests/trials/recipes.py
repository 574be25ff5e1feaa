"""Mutates the recipes that come with rmem at random; reads, shows, reports, plans and trains what comes out.

    python tests/trials/recipes.py --seed N [--count K] [--plans SHARE] [--trains SHARE]

Counts: refused with place and cure, accepted, trained. Must be 0: refusals where a line does not say where
(file and line, and the path of the field) or what to do, or shows what only a programmer knows; tracebacks;
commands of more than ten seconds of processor time, or two where nothing is planned, which end after a
minute; recipes that are accepted and whose training ends by a bug, in a process of its own, of a few steps at
the scale `smoke`, or as many as ten seconds of processor time allow. Progress goes to stderr.
Training that is refused in a sentence although the recipe was accepted, for more than missing data, is told
and counted. Exits with 1 if any must-be-0 is not.
"""

import argparse
import contextlib
import difflib
import io
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from copy import deepcopy
from pathlib import Path

import yaml

from rmem_cli.app import EXIT_CODE, main
from rmem_cli.recipe.library import list_recipes

SLOW_SECONDS = 2.0
PLANNED_SECONDS = 10.0
ENDED_SECONDS = 60.0
TRAINED_SECONDS = 10
TRAINED_WALL_SECONDS = 120.0  # beside other processes, or where it waits
PROGRESS_EVERY = 20
MEMORY = 6 << 30
CURE = re.compile(
    r"must|did you mean|there (are|is)\b|is missing|give |write |use |name |put |needs|has no fields|at most|"
    r"`rmem |and the |which |more than|only |choose|stands for|is not |twice|no multiple of|set |remove"
)
"""Words of which every problem has one, where it says what a right value is or does."""
INSIDE = re.compile(r"Node\(|Place\(|<class|object at 0x|pydantic|Traceback|\bNone\b|KeyError|TypeError")
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
    signal.signal(signal.SIGPROF, out_of_time)
    signal.setitimer(signal.ITIMER_PROF, ENDED_SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        if ended.code == EXIT_CODE:
            raise KeyboardInterrupt from ended
        return ended.code or 0, err.getvalue(), ""
    except BaseException:
        return 1, err.getvalue(), traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    raise AssertionError("a command ends with an exit code")


def out_of_time(number, frame):
    """A command that would go on: its traceback says where it was."""
    del number, frame
    raise TimeoutError(f"{ENDED_SECONDS:.0f} seconds of processor time did not suffice")


def unhelpful(said, path):
    """The lines of a refusal that do not say where or what to do."""
    said = said.removeprefix("rmem: ")
    in_file = re.compile(rf"{re.escape(str(path))}(:\d+:\d+)?: ([\w.\[\]<>*' -]+: )?")
    lines = [line for line in said.splitlines() if line.startswith(str(path))]
    if not lines:  # a command is refused for what the recipe as a whole asks for
        where = re.search(r"[\w-]+[./][\w./-]+|--\w+|`rmem ", said)
        return [] if where and CURE.search(said) and not INSIDE.search(said) else [said]
    return [
        line
        for line in lines
        if not in_file.match(line) or not CURE.search(line) or INSIDE.search(in_file.sub("", line))
    ]


# Torch is imported once, not for each training.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["torch._dynamo", "rmem_cli.commands.train", "rmem_cli.runs.experiment"])


def trained(path, folder):
    """Train a recipe that was accepted in a process of its own; returns how that ended, and what it said."""
    told = folder / "told.json"
    told.unlink(missing_ok=True)
    process = FORKS.Process(target=train, args=(path, folder / "trained", told))
    process.start()
    process.join(TRAINED_WALL_SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
    shutil.rmtree(folder / "trained", ignore_errors=True)
    if process.exitcode == -signal.SIGSEGV:
        return "accepted, and training CRASHED", "segmentation fault"
    if not told.exists():  # killed for its time
        return "trained until it had used its time", ""
    code, said, bug = json.loads(told.read_text(encoding="utf-8"))
    if bug or code == 1 or "its traceback is in" in said:
        return "accepted, and training CRASHED", said + bug
    if code in (0, 4):
        return "trained", ""
    needs = "fetch" in said or "memory" in said.lower() or "pretrained" in said
    return ("training lacks data or memory" if needs else "accepted, and training refused"), said


def train(path, folder, told):
    """In a process of its own: train the first row of a recipe and note how that ended."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    used = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (used + TRAINED_SECONDS, used + TRAINED_SECONDS))
    os.environ.update({f"RMEM_{name}": str(folder / name) for name in ("DATA", "RUNS", "RESULTS")})
    row = first_row(path)
    ended = run("train", str(path), "--scale", "smoke", *(["--row", row] if row else []))
    told.write_text(json.dumps(ended), encoding="utf-8")


def first_row(path):
    """The first row of the scale, or of all; None if there are none."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    names = (document.get("scales") or {}).get("smoke", {}).get("rows")
    found = names or [row["id"] for row in document.get("rows") or []]
    return str(found[0]) if found else None


def trial(random_, folder, counts, *, with_plan, with_training):
    """One recipe, changed in one place or a few, and what the commands make of it."""
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
            counts["TRACEBACK"] += 1
            print(f"TRACEBACK {command}\n{bug}", path.read_text(encoding="utf-8")[:3000])
        elif code == 0:
            counts["accepted"] += 1
        else:
            wrong = unhelpful(said, path)
            counts["refused WITHOUT place or cure" if wrong else "refused with place and cure"] += 1
            for line in wrong:
                print(f"WITHOUT PLACE OR CURE, {command[0]}: {line[:500]}")
        # A plan may take ten seconds; a first one builds native operations and measures cores.
        if taken > (PLANNED_SECONDS if command[0] == "train" else SLOW_SECONDS):
            counts["SLOW"] += 1
            print(f"SLOW {taken:.1f} s {command}", file=sys.stderr)
            (Path(tempfile.gettempdir()) / f"slow-{counts['SLOW']}.yaml").write_text(
                path.read_text(encoding="utf-8")
            )
        if code != 0:
            return
    if with_training:
        ended, said = trained(path, folder)
        counts[ended] += 1
        if ended.startswith("accepted"):
            print(f"{ended}: {path.name}: {said[-700:]}")
            print("".join(changes(ROOT / path.name, document)))


def changes(original, document):
    """How a document differs from the recipe it was made of."""
    texts = [
        yaml.safe_dump(each, sort_keys=False, allow_unicode=True).splitlines(keepends=True)
        for each in (yaml.safe_load(original.read_text(encoding="utf-8")), document)
    ]
    return [line for line in difflib.ndiff(*texts) if line[0] in "+-"][:20]


def main_trials():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--plans", type=float, default=0.1, help="Share of the trials that also plan.")
    parser.add_argument(
        "--trains", type=float, default=0.3, help="Share of the trials whose recipe, if accepted, is trained."
    )
    arguments = parser.parse_args()
    random_ = random.Random(arguments.seed)
    counts = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for variable in ("RMEM_DATA", "RMEM_RUNS", "RMEM_RESULTS", "RMEM_CACHE"):
            os.environ[variable] = str(Path(folder) / variable)
        os.environ |= {"RMEM_NATIVE": "off", "OMP_NUM_THREADS": "1"}
        run("validate")  # loads what is loaded once
        with contextlib.suppress(KeyboardInterrupt):  # what was counted until then is told
            for number in range(arguments.count):
                if number % PROGRESS_EVERY == 0:
                    told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
                    print(f"{number} of {arguments.count}: {told}", file=sys.stderr, flush=True)
                trial(
                    random_,
                    Path(folder),
                    counts,
                    with_plan=random_.random() < arguments.plans,
                    with_training=random_.random() < arguments.trains,
                )
    print(f"seed {arguments.seed}: " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    return int(any(word.isupper() for what in counts for word in what.split()))


if __name__ == "__main__":
    raise SystemExit(main_trials())
