"""Whether rmem works with the oldest and with the newest releases that pyproject.toml allows.

    python tests/trials/bounds.py oldest [--python python3.12] [--bound rich==15.0.0]...
    python tests/trials/bounds.py newest

Makes an environment of them in a folder of its own, prints their versions, passes `make fast`, and trains,
evaluates and reports the recipe quickstart at scale smoke. The oldest are those of what pyproject.toml names;
what they need in turn is the newest that fits. torch is the release of constraints.txt in both, as another
takes gigabytes. `--bound` asks for a certain release.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXTRAS = ("dev", "plot", "text", "slurm", "native", "tensorboard")
_BOUNDED = re.compile(r"([\w.-]+)(?:\[.*\])?[>=]=")


def bounded() -> Iterator[str]:
    """What pyproject.toml names with a lowest version, but for torch."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for line in (*project["dependencies"], *(line for extra in EXTRAS for line in extras[extra])):
        found = _BOUNDED.match(line)
        if found and found[1] != "torch":
            yield found[1].lower()


def oldest(python: Path, constraints: Path) -> str:
    """The lines of constraints for the oldest releases of what pyproject.toml names, as uv finds them."""
    found = constraints.with_name("oldest.txt")
    run(python, "-m", "pip", "install", "--quiet", "uv")
    extras = (f"--extra={extra}" for extra in EXTRAS)
    resolve = (python, "-m", "uv", "pip", "compile", "--quiet", "--resolution=lowest-direct", *extras)
    run(*resolve, "-c", constraints, "--python", python, "pyproject.toml", "-o", found)
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", found.read_text(encoding="utf-8"), re.MULTILINE))
    return "".join(f"{name}=={pinned[name]}\n" for name in bounded())


def run(*command: str | Path, **environment: str) -> None:
    """Run a command, which is printed; end where it fails."""
    print("$", *command, flush=True)
    ended = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment})
    if ended.returncode:
        sys.exit(f"failed with {ended.returncode}: {' '.join(map(str, command))}")


def main() -> None:
    """Make the environment, and try it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("which", choices=["oldest", "newest"])
    parser.add_argument("--python", default=sys.executable, help="of what version the environment is")
    parser.add_argument("--bound", action="append", default=[], metavar="NAME=VERSION")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        constraints, binaries = folder / "constraints.txt", folder / "venv" / "bin"
        run(chosen.python, "-m", "venv", folder / "venv")
        pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        lines = [line for line in pinned if line.startswith("torch==")] + chosen.bound
        constraints.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if chosen.which == "oldest":
            constraints.write_text(constraints.read_text() + oldest(binaries / "python", constraints))
        pip = (binaries / "python", "-m", "pip", "--disable-pip-version-check")
        run(*pip, "install", "--quiet", "-c", constraints, "-e", f".[{','.join(EXTRAS)}]")
        run(*pip, "list", "--format=freeze")
        run("make", "--old-file=.venv/installed", "fast", f"BIN={binaries}")
        own = {f"RMEM_{name}": str(folder / name) for name in ("DATA", "RUNS", "RESULTS", "CACHE")}
        for verb in ("train", "eval"):
            run(binaries / "rmem", verb, "quickstart", "--scale", "smoke", **own, RMEM_NATIVE="off")
        run(binaries / "rmem", "plot", "costs", "quickstart", "--out", folder / "costs.svg", **own)
        run(binaries / "rmem", "report", "--format", "html", "--out", folder / "site", **own)
    print(f"{chosen.which} releases: all of this passed")


if __name__ == "__main__":
    main()
