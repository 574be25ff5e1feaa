"""The README and every page of the documentation, followed by somebody who has nothing but a clone.

    RMEM_TEST_DATA=FOLDER python tests/trials/fresh.py [--as-written] [--only NAME]...

Clones the last commit, runs the README's commands there, which make the environment, then those of each page,
and prints each with its seconds. It ends at the first that fails, or that prints something else than its page
shows. Unless `--as-written`, data sets are imported from RMEM_TEST_DATA instead of downloaded, or listed if
they are not there, runs are of scale smoke and without native operations, those of a paper's size are only
planned, and `make test` and what takes several machines are left out; each such change is printed.
`--only` follows the pages whose names have this in them, behind the installation alone.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTALL = "pip install"
SHORTER = {"make demo": "make .venv/installed && .venv/bin/rmem train quickstart --scale smoke"}
LEFT_OUT = {"make test": ".ci/run does it", "torchrun --nnodes 2": "it takes two machines"}


class Newcomer:
    """A shell that keeps its variables from one command to the next.

    Args:
        folder: What the commands run in.
        scratch: Where what rmem keeps goes, instead of the user's own folders.
        data: Folder of data sets; None: commands are run as they are written.
    """

    def __init__(self, folder: Path, scratch: Path, data: Path | None) -> None:
        self.folder, self.data, self.kept = folder, data, scratch / "environment.sh"
        own = {f"RMEM_{name}": str(scratch / name) for name in ("DATA", "RUNS", "CACHE", "NATIVE_CACHE")}
        left = {
            name: value for name, value in os.environ.items() if not name.startswith(("RMEM_", "VIRTUAL_ENV"))
        }
        self.environment = {**left, **own} | ({} if data is None else {"RMEM_NATIVE": "off"})
        self.kept.touch()

    def follow(self, command: str) -> None:
        """Run a command, or what stands for it."""
        for beginning, reason in {} if self.data is None else LEFT_OUT.items():
            if command.startswith(beginning):
                return told(f"{command}   (left out: {reason})", 0)
        shorter = command if self.data is None else self.shorter(command)
        script = f". {self.kept}\n{shorter}\nended=$?; export -p > {self.kept}; exit $ended"
        begun = time.perf_counter()
        ran = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        told(
            shorter + ("" if shorter == command else f"   (instead of: {command})"),
            time.perf_counter() - begun,
        )
        if ran.returncode:
            sys.exit(f"ended with {ran.returncode}: {shorter}\n{ran.stdout}{ran.stderr}")
        return None

    def shorter(self, command: str) -> str:
        """The same without network and within minutes."""
        if command in SHORTER:
            return SHORTER[command]
        if fetched := re.fullmatch(r"rmem fetch (\w+)", command):
            folder = self.folder_of(fetched[1])
            return f"{command} --from {folder} --allow-missing" if folder else f"{command} --list"
        if command.startswith("rmem train ") and "--scale" not in command:
            return re.sub(r" --cell \S+", "", command) + " --scale smoke --dry-run"
        return command.replace("--scale cpu", "--scale smoke")

    def folder_of(self, name: str) -> Path | None:
        """Where a data set lies among those that are here."""
        here = {each.name.replace("-", ""): each for each in self.data.iterdir()} if self.data else {}
        return here.get(name)


def told(command: str, seconds: float) -> None:
    """Print what was run, and for how long."""
    print(f"{seconds:8.1f} s  {command.strip()}", flush=True)


def lines(body: str) -> Iterator[str]:
    """The commands of a block of `sh`, without their comments."""
    for line in re.sub(r"\\\n\s*", "", body).splitlines():
        command = re.sub(r"\s+#.*", "", line).strip()
        if command:
            yield command


def main() -> None:
    """Follow everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--as-written", action="store_true")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    chosen = parser.parse_args()
    data = os.environ.get("RMEM_TEST_DATA")
    if not (data or chosen.as_written):
        sys.exit("name a folder with one folder for each data set in RMEM_TEST_DATA, or give --as-written")
    if not chosen.as_written:
        print("data is imported, runs are of scale smoke and without native operations (RMEM_NATIVE=off)")
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch).resolve() / "rmem"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        sys.path.insert(0, str(clone / "tests" / "helpers"))
        newcomer = Newcomer(clone, clone.parent, None if chosen.as_written else Path(data or "").resolve())
        readme(newcomer, only_install=bool(chosen.only))
        documentation(newcomer, chosen.only)
    told("all of it", time.perf_counter() - begun)


def readme(newcomer: Newcomer, *, only_install: bool) -> None:
    """The README's commands, and its example in Python."""
    from pages import blocks

    print("README.md")
    text = (newcomer.folder / "README.md").read_text(encoding="utf-8")
    for body in blocks(text, "sh"):
        if INSTALL in body or not only_install:
            for command in lines(body):
                newcomer.follow(command)
    for number, body in enumerate(blocks(text, "python")):
        (newcomer.folder / f"example{number}.py").write_text(body, encoding="utf-8")
        newcomer.follow(f"python example{number}.py")


def documentation(newcomer: Newcomer, only: list[str]) -> None:
    """The commands of each page: those that take long in the clone, the others in a folder of their own."""
    from pages import DOCS, alike, blocks, follow

    for page in sorted(DOCS.rglob("*.md")):
        name, text = page.relative_to(DOCS).as_posix(), page.read_text(encoding="utf-8")
        if only and not any(part in name for part in only):
            continue
        if list(blocks(text, "sh", "console")):
            print(f"docs/{name}")
        if extras := sorted(set(re.findall(r"(?:rmem|\.)\[(\w+)\]", text))):
            newcomer.follow(f"pip install -c constraints.txt -e '.[{','.join(extras)}]'")
        with tempfile.TemporaryDirectory() as scratch:
            found = follow(text, Path(scratch).resolve(), newcomer.folder / ".venv" / "bin", told)
            if alike(found) != alike(text):
                sys.exit(f"{name} prints something else than it shows:\n{found}")
        for body in blocks(text, "sh"):
            for command in lines(body):
                newcomer.follow(command)


if __name__ == "__main__":
    main()
