"""Whether the wheel and the source archive install, each in an environment of its own, and work there.

    python tests/trials/installed.py [PYTHON ...]      such as python3.12; the running one without any

What is installed has no extras, and the folder that it works in has no checkout: recipes are listed, checked,
trained, evaluated and reported at scale smoke, a generated data set is prepared, a shell is answered. torch
and the rest are the releases of constraints.txt, of the build that pip chooses.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SMOKE = (
    "rmem --version",
    "rmem list",
    "rmem validate",
    "rmem fetch copy",
    "rmem train quickstart --scale smoke",
    "rmem train rmt_copy --scale smoke",
    "rmem eval quickstart --scale smoke --row gru",
    "rmem report --format html --out site",
    "rmem published rum2017.recall",
    "rmem doctor",
    'test "$(COMP_WORDS="rmem train quick" COMP_CWORD=2 _RMEM_COMPLETE=complete_bash rmem)" = quickstart',
    "python -c 'import torch, rmem_cli; rmem_cli.RUM(3, 4)(torch.ones(2, 5, 3))'",
)


def main() -> None:
    """Build both, and try each with each Python."""
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch, "built")
        run(f"git clone --quiet '{ROOT}' clone", Path(scratch))
        run(f"'{sys.executable}' -m venv builder && builder/bin/pip install --quiet build", Path(scratch))
        run(f"builder/bin/python -m build --outdir '{built}' clone", Path(scratch))
        for python in sys.argv[1:] or [sys.executable]:
            for archive in sorted(built.iterdir()):
                print(f"{archive.name}, {python}", flush=True)
                smoke(archive, python)
    print("installed and tried")


def smoke(archive: Path, python: str) -> None:
    """Install an archive, and use it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        run(f"'{python}' -m venv venv", folder)
        run(f"venv/bin/pip install --quiet -c '{ROOT / 'constraints.txt'}' '{archive}'", folder)
        own = {f"RMEM_{name}": str(folder / name) for name in ("DATA", "RUNS", "RESULTS", "CACHE")}
        own |= {"RMEM_NATIVE": "off", "PATH": f"{folder / 'venv' / 'bin'}:{os.environ['PATH']}"}
        for command in SMOKE:
            run(command, folder, **own)


def run(command: str, folder: Path, **environment: str) -> None:
    """Run a command, which is printed; end where it fails."""
    print("$", command, flush=True)
    ran = subprocess.run(
        ["bash", "-c", command], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True
    )
    if ran.returncode:
        sys.exit(f"ended with {ran.returncode}: {command}\n{ran.stdout}{ran.stderr}")


if __name__ == "__main__":
    main()
