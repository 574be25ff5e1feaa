"""SIGKILL at random moments: what goes on afterwards ends as what was never stopped, to the bit.

    python tests/trials/kills.py --seed 1 --count 150
    python tests/trials/kills.py --kinds training --kills 5 --forked

Of three kinds in turn. A `training` trial trains two runs of one of four small experiments; an `evaluation`
trial evaluates them, trained, where the table of results is gone; a `fetch` trial downloads a small data set
from a slow server of its own, or imports a copy. The command is killed up to three times, or `--kills`: after
some seconds, or as it is about to touch its n-th file, which also meets the moments between two files; or it
is asked to stop. With `--jobs 2`, `--nproc 2` and `--nproc 3` that is the command alone, another process
alone, or all at once. Then the same command is left alone. `--forked` saves the imports of the processes that
commands start, most of the trial's time: they are forks, otherwise what they are.

Held is an end with exit code 0 that leaves what an undisturbed command leaves: result rows and curves in all
columns but those of time, memory and commit, weights; of a data set, every file, and nothing besides. What
was trained can be evaluated, to the same rows, and a data set is at no moment there and wrong.
"""

import argparse
import contextlib
import csv
import hashlib
import importlib
import io
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import zipfile
from abc import ABC, abstractmethod
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import typer

from rmem_cli.data.prepared import check_prepared, prepared_folder
from rmem_cli.data.writer import Content, write_prepared
from rmem_cli.errors import DataError

RECIPE = """\
name: {name}
title: Killed
paper: rum2019
task: {task}
model: {model}
optimizer: {{kind: adam, lr: 0.01}}
train:
  steps: 40
  batch_size: 4
  eval_every: 10
  log_every: 3
  checkpoint_every: 7
  backprop: {backprop}
  validation: {{{some}}}
eval:
  - {{name: last, split: test, {many}, metrics: [loss, accuracy]}}
  - {{name: best, split: test, {many}, checkpoint: best, metrics: [loss]}}
seeds: [1, 2]
rows: [{{id: model, title: Model}}]
scales: {{smoke: {{train.steps: 2}}}}
"""
RMT = "{kind: rmt, hidden_size: 8, heads: 2, layers: 1, inner_size: 8, memory_tokens: 2, segment_length: 4}"
DRAWN = {"some": "examples: 16", "many": "examples: 100"}
READ = {"some": "metric: bpc", "many": "batch_size: 2"}
RECIPES = {
    "rum": DRAWN
    | {
        "task": "{kind: copying_memory, length: 3, symbols: 2, alphabet: 3}",
        "model": "{core: {kind: rum, hidden_size: 8, zoneout: 0.2}}",
        "backprop": "{kind: full}",
    },
    "ur_lstm": DRAWN
    | {
        "task": "{kind: associative_recall, length: 6}",
        "model": "{core: {kind: gated_lstm, hidden_size: 8, gate: UR}}",
        "backprop": "{kind: truncated, segment_length: 4}",
    },
    "replay": DRAWN
    | {
        "task": "{kind: copy, length: 4}",
        "model": f"{{core: {RMT}}}",
        "backprop": "{kind: replay}",
    },
    "text": READ
    | {
        "task": "{kind: language_model, dataset: ptb, form: char, segment_length: 8}",
        "model": f"{{core: {RMT}}}",
        "backprop": "{kind: sliding, depth: 1}",
    },
}
"""A mixture of cores and ways of back-propagation; the text has a state that goes from step to step."""
VARYING = {"wall_seconds", "peak_memory_mb", "time", "git_commit", "git_dirty"}
"""Of result rows; a commit may be made while the trials run."""
SPLITS = ("train", "valid", "test")
MADE_UP = """\
from dataclasses import replace
from rmem_cli.data_scripts import dataset
from rmem_cli.data_scripts.dataset import Form, Source, SourceFile
from rmem_cli.data_scripts.ptb import PTB
FILES = {{name: SourceFile(name, size, "sha256:" + sha256) for name, size, sha256 in {files}}}
SMALL = replace(
    PTB,
    name="small",
    files=tuple(file for name, file in FILES.items() if name.endswith("txt")),
    sources=(
        Source(FILES["ptb.train.txt"], ("{url}/ptb.train.txt",)),
        Source(FILES["rest.zip"], ("{url}/rest.zip",), provides=("ptb.valid.txt", "ptb.test.txt")),
    ),
    forms=tuple(Form(form.name, form.prepare) for form in PTB.forms),
)
dataset._DATASETS["small"] = "made_up:SMALL"
"""
TOUCHES = """\
import os, signal, sys
root, left, count = os.environ["TRIAL_ROOT"], int(os.environ["TRIAL_KILL_AT"]), os.environ["TRIAL_COUNT"]
events = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.listdir", "os.scandir", "fsync"}
counted = os.open(os.path.join(count, str(os.getpid())), os.O_WRONLY | os.O_CREAT) if count else None
def touched(event, arguments):
    global left
    if event in events and (event == "fsync" or str(arguments[0]).startswith(root)):
        left -= 1
        if counted is not None:
            os.write(counted, b".")
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
def audited_fsync(descriptor, fsync=os.fsync):
    touched("fsync", ())
    fsync(descriptor)
os.fsync = audited_fsync
sys.addaudithook(touched)
"""
"""What each process of a command runs first: it counts the files that it touches, and kills itself at one."""
PRELOADED = [
    "torch",
    "requests",
    "rmem_cli.app",
    "rmem_cli.runs.experiment",
    "rmem_cli.data_scripts.fetch",
]


class Command:
    """A command in a process of its own, forked from one that has imported what takes long.

    Args:
        folder: Folder of data, runs and results.
        arguments: Behind `rmem`.
        kill_at: The touch of a file at which the process kills itself (0: at none).
        count: A folder for the counts of touches.
    """

    def __init__(self, folder: Path, arguments: list[str], kill_at: int = 0, count: str = "") -> None:
        roots = {f"RMEM_{name}": str(folder / name.lower()) for name in ("DATA", "RUNS", "RESULTS")}
        trial = {"TRIAL_ROOT": str(folder), "TRIAL_KILL_AT": str(kill_at), "TRIAL_COUNT": count}
        self._said = folder.with_suffix(".said")
        path = str(folder.parent / "path")  # where the processes that it starts find what to run first
        self.process = multiprocessing.get_context("forkserver").Process(
            target=run, args=(arguments, roots | trial | {"PYTHONPATH": path}, self._said)
        )
        self.process.start()

    def end(self) -> tuple[int, str]:
        """Wait for its end; returns its exit code, negative for a signal, and what it said."""
        self.process.join()
        return self.process.exitcode or 0, self._said.read_text() if self._said.exists() else ""

    def kill(self, source: random.Random, seconds: float) -> int:
        """Kill it after some seconds: with the processes that it has started, or alone."""
        self.process.join(seconds)
        if source.random() < 0.5 and self.process.is_alive():
            with contextlib.suppress(ProcessLookupError):  # it has no group yet
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        return self.end()[0]

    def stop(self, source: random.Random, seconds: float) -> int:
        """Ask it to stop after some seconds, by Ctrl-C or as systems do."""
        self.process.join(seconds)
        if self.process.is_alive():
            os.kill(self.process.pid, source.choice([signal.SIGINT, signal.SIGTERM]))
        return self.end()[0]


def run(arguments: list[str], environment: dict[str, str], said: Path) -> None:
    """The process of a command."""
    os.setsid()
    stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(stream, descriptor)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    os.environ |= environment
    exec(TOUCHES, {})
    if "TRIAL_FORKED" in os.environ:
        multiprocessing.get_context = lambda _=None: multiprocessing.context.ForkContext()  # type: ignore[assignment]
    if arguments[0] == "fetch":
        sys.path.insert(0, environment["PYTHONPATH"])
        importlib.import_module("made_up")
    from rmem_cli.app import main as rmem

    sys.argv = ["rmem", *arguments]
    rmem()


class Kind(ABC):
    """A command that is killed, and what it leaves.

    Args:
        root: Folder of all trials of this kind.
        laid_out: Folder of the recipes, the prepared text, and a local copy of the data set.
        kills: Of a trial, at most.
    """

    variants: tuple[str, ...] = ("",)

    def __init__(self, root: Path, laid_out: Path, kills: int) -> None:
        self.root, self.laid_out, self.kills = root, laid_out, kills
        self.expected: dict[str, dict[str, object]] = {}
        self.seconds: dict[str, float] = {}
        self.touches: dict[str, int] = {}

    def leave_alone(self, variant: str) -> None:
        """Find out what an undisturbed command leaves, how long it takes, and how many files it touches."""
        if variant in self.expected:
            return
        folder, counts = self.undisturbed(variant), self.root / f"touches {variant}"
        self.prepare(folder, random.Random(1))
        counts.mkdir()
        started = time.monotonic()
        code, said = Command(folder, self.command(variant), count=str(counts)).end()
        if code:
            raise SystemExit(f"{variant}: {said[-300:]}")
        self.seconds[variant] = time.monotonic() - started
        self.touches[variant] = max(path.stat().st_size for path in counts.iterdir())
        self.expected[variant] = self.left_behind(folder)

    def undisturbed(self, variant: str) -> Path:
        """The folder of the command that was left alone."""
        return self.root / f"undisturbed {variant}"

    @abstractmethod
    def command(self, variant: str) -> list[str]:
        """What is killed, and left alone afterwards."""

    def checks(self, variant: str) -> list[list[str]]:
        """Commands that leave all as it is."""
        return []

    def drawn(self, source: random.Random) -> str:
        """A variant."""
        return source.choice(self.variants)

    def prepare(self, folder: Path, source: random.Random) -> None:
        """What is there before."""
        folder.mkdir(parents=True)

    def left_behind(self, folder: Path) -> dict[str, object]:
        """All that the command leaves, without what differs from one time to the next."""
        rows = []
        for table in (folder / "results").glob("*.csv"):
            for row in csv.DictReader(table.read_text().splitlines()):
                rows.append(sorted((name, cell) for name, cell in row.items() if name not in VARYING))
        texts = [*folder.glob("results/curves/*"), *folder.rglob("runs/**/metrics.csv")]
        found: dict[str, object] = {path.name + path.parent.name: path.read_bytes() for path in texts}
        for weights in folder.rglob("runs/**/weights.safetensors"):
            run, name = weights.parents[2].name, weights.parent.name.partition("-")[0]
            found[f"{run} {name}"] = weights.read_bytes()
        return found | {"rows": sorted(rows)}

    def other_content(self, folder: Path, variant: str) -> str:
        """What differs from what an undisturbed command leaves, if anything."""
        found, right = self.left_behind(folder), self.expected[variant]
        names = [name for name in found | right if found.get(name) != right.get(name)]
        return f"other content, or more, or less: {names}" if names else ""

    def wrong_now(self, folder: Path) -> str:
        """What is wrong while the command lies killed, if anything."""
        return ""

    def trial(self, source: random.Random, kills: Counter[str]) -> str:
        """One trial; returns what went wrong, if anything."""
        folder, variant = self.root / f"trial-{source.randrange(10**9)}", self.drawn(source)
        self.leave_alone(variant)
        self.prepare(folder, source)
        command, wrong = self.command(variant), ""
        for _ in range(source.randint(1, self.kills)):
            if source.random() < 0.5:
                touches = self.touches[variant]
                first = source.choice([1, max(touches - 60, 1)])  # the results come at the end
                code, _ = Command(folder, command, kill_at=source.randint(first, touches)).end()
                kills["at a file"] += code != 0
            else:
                seconds = source.uniform(0, self.seconds[variant])
                end = Command(folder, command)
                if source.random() < 0.3:
                    kills["asked to stop"] += end.stop(source, seconds) != 0
                else:
                    kills["after some seconds"] += end.kill(source, seconds) < 0
            wrong = wrong or self.wrong_now(folder)
        for one in (command, *self.checks(variant)):
            wrong = wrong or finish(folder, one)
            wrong = wrong or self.other_content(folder, variant)
        shutil.rmtree(folder)
        folder.with_suffix(".said").unlink()
        return wrong


class Training(Kind):
    options = ("", "--jobs 2", "--nproc 2", "--nproc 3")

    def command(self, variant: str) -> list[str]:
        name, *options = variant.split()
        return ["train", str(self.laid_out / f"{name}.yaml"), *options]

    def checks(self, variant: str) -> list[list[str]]:
        """One process evaluates what one has trained; of several, the sums are added up in another order."""
        name = variant.split()[0]
        return [] if "--nproc" in variant else [["eval", str(self.laid_out / f"{name}.yaml")]]

    def drawn(self, source: random.Random) -> str:
        """Any experiment; what starts processes takes long, and is every other one."""
        name = source.choice(list(RECIPES))
        return f"{name} {source.choices(self.options, [3, 1, 1, 1])[0]}".strip()

    def prepare(self, folder: Path, source: random.Random) -> None:
        shutil.copytree(self.laid_out / "text", folder / "data")


class Evaluation(Kind):
    def command(self, variant: str) -> list[str]:
        return ["eval", str(self.laid_out / "rum.yaml")]

    def prepare(self, folder: Path, source: random.Random) -> None:
        trained = self.root / "trained"
        if not trained.exists():
            wrong = finish(trained, ["train", str(self.laid_out / "rum.yaml")])
            if wrong:
                raise SystemExit(wrong)
            (trained / "results" / "rum.csv").unlink()
        shutil.copytree(trained, folder)


class Fetch(Kind):
    variants = ("", "--from")

    def command(self, variant: str) -> list[str]:
        return ["fetch", "small", *([variant, str(self.laid_out / "copy")] if variant else [])]

    def prepare(self, folder: Path, source: random.Random) -> None:
        """Nothing, or a set of which a form is damaged and has to be replaced."""
        folder.mkdir()
        if self.expected and source.random() < 0.4:
            shutil.copytree(self.undisturbed(next(iter(self.expected))) / "data", folder / "data")
            damaged = source.choice(sorted((folder / "data" / "small" / "word").iterdir()))
            damaged.write_bytes(damaged.read_bytes()[:-1])
            if source.random() < 0.5:
                shutil.rmtree(folder / "data" / "small" / "char")

    def left_behind(self, folder: Path) -> dict[str, object]:
        """Every file; where a set was imported from is written into it."""
        files = [path for path in (folder / "data").rglob("*") if path.is_file() and path.name != ".lock"]
        return {
            str(path.relative_to(folder)): path.name if path.name == "meta.json" else path.read_bytes()
            for path in files
        } | {form: self.data_hash(folder, form) for form in ("char", "word")}

    def wrong_now(self, folder: Path) -> str:
        for form in ("char", "word"):
            found = self.data_hash(folder, form)
            if found not in ("none", "damaged", next(iter(self.expected.values()))[form]):
                return f"another data hash while it lay killed: {found}"
        return ""

    def data_hash(self, folder: Path, form: str) -> str:
        os.environ["RMEM_DATA"] = str(folder / "data")
        if not prepared_folder("small", form).exists():
            return "none"
        try:
            return check_prepared("small", form).data_hash
        except DataError:
            return "damaged"


def finish(folder: Path, command: list[str]) -> str:
    """Give a command until no run is busy any more; returns what went wrong, if anything."""
    for _ in range(50):
        code, said = Command(folder, command).end()
        if "another process is working on the run" not in said:
            break
        time.sleep(0.2)  # one that was left alone ends after its step
    return "" if code == 0 else f"{command[0]}: exit code {code}: {said[-300:]}"


class Slow(BaseHTTPRequestHandler):
    """Gives the files of a folder, or the rest of them, in small parts, one after the other."""

    folder: Path

    def do_GET(self) -> None:
        body = (self.folder / Path(self.path).name).read_bytes()
        wanted = self.headers.get("Range", "")
        offset = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {offset}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - offset))
        self.end_headers()
        try:
            for first in range(offset, len(body), 1 << 15):
                self.wfile.write(body[first : first + (1 << 15)])
                time.sleep(0.01)
        except OSError:
            pass  # it was killed

    def log_message(self, *args: object) -> None:
        pass


def serve(folder: Path) -> str:
    """Serve the files of a folder; returns the address."""
    Slow.folder = folder
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def lay_out(root: Path) -> None:
    """The recipes, the text, the copy of the data set, and what each Python finds."""
    for name, fields in RECIPES.items():
        (root / f"{name}.yaml").write_text(RECIPE.format(name=name, **fields))
    copy, served = root / "copy", root / "served"
    copy.mkdir()
    served.mkdir()
    source = random.Random(1)
    for split, lines in zip(SPLITS, (12_000, 1500, 1500), strict=True):
        words = (" ".join(f"w{source.randrange(500)}" for _ in range(20)) for _ in range(lines))
        (copy / f"ptb.{split}.txt").write_text("".join(f" {line} \n" for line in words))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for split in SPLITS[1:]:
            archive.write(copy / f"ptb.{split}.txt", f"rest/ptb.{split}.txt")
    (served / "rest.zip").write_bytes(packed.getvalue())
    shutil.copy(copy / "ptb.train.txt", served)
    files = [
        (path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in [*copy.iterdir(), served / "rest.zip"]
    ]
    made_up = MADE_UP.format(files=files, url=serve(served))
    for kind in KINDS:
        path = root / kind / "path"
        path.mkdir(parents=True)
        (path / "sitecustomize.py").write_text(TOUCHES)
        (path / "made_up.py").write_text(made_up)
    os.environ["RMEM_DATA"] = str(root / "text")
    made = np.random.default_rng(1)
    arrays = {
        split: [made.integers(8, size=count, dtype=np.uint8)]
        for split, count in zip(SPLITS, (400, 60, 60), strict=True)
    }
    content = Content(arrays, list("_abcdefg"), end_of_line=0)
    write_prepared("ptb", "char", content, sources=[], licence="none", citation="none")


KINDS: dict[str, type[Kind]] = {"training": Training, "evaluation": Evaluation, "fetch": Fetch}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=150, help="Trials, of the kinds in turn.")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--kills", type=int, default=3, help="Of a trial, at most.")
    parser.add_argument("--forked", action="store_true")
    options = parser.parse_args()
    if options.forked:
        os.environ["TRIAL_FORKED"] = "1"
    os.environ |= {"OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        lay_out(root)
        kinds = {kind: KINDS[kind](root / kind, root, options.kills) for kind in options.kinds}
        for number in range(options.count):
            kind = options.kinds[number % len(kinds)]
            kills: Counter[str] = Counter()
            wrong = kinds[kind].trial(random.Random(f"{options.seed} {number}"), kills)
            outcomes[f"{kind}: the same bits" if not wrong else f"{kind}: NOT HELD"] += 1
            outcomes.update({f"{kind}: kills {how}": count for how, count in kills.items()})
            if wrong:
                typer.echo(f"trial {number}, {kind}: {wrong}")
            if number % 10 == 9:
                typer.echo(f"after {number + 1}: {dict(sorted(outcomes.items()))}", err=True)
    for outcome, count in sorted(outcomes.items()):
        typer.echo(f"{count:5} {outcome}")


if __name__ == "__main__":
    main()
