"""The documentation, followed word for word: run as a program, this fills in what its commands print.

    python tests/helpers/pages.py [PAGE ...]      all pages of docs/ without any

A page is followed in a folder of its own, from top to bottom. A fenced block with a title is a file, which is
written; a block of `diff` changes the files that are there; a block of `console` has commands behind `$`,
each with what it prints. A page that writes or changes files of rmem is followed in a copy of the checkout.
Weights of the published code that a page reads (`WEIGHTS`) lie in its folder.
A block of `sh` has commands that take long or need data: `tests/trials/fresh.py` runs them, too. In one of
`bash` are those of another program.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
_OF_RMEM = re.compile(r'^```(diff|\w+ title="(rmem_cli|data_scripts)/)', re.MULTILINE)
_NUMBER = re.compile(r"-?\d[\d,.]*(e[-+]\d+)?")
# File to what of `tests/golden` it holds, and what stands in front of the names of weights there.
WEIGHTS = {
    "ur_lstm.pt": ("ur_seq2.npz", "param."),
    "lm_rmt.pt": ("lmrmt_mem8.npz", "param."),
    "package.pt": ("rmt_pytorch_default.npz", "state."),
}
_TAKEN = ("rmem_cli", "recipes", "data_scripts", "tests", "pyproject.toml", "setup.py")


def pages() -> list[Path]:
    """The pages that have something to follow."""
    return [path for path in sorted(DOCS.rglob("*.md")) if "```console" in path.read_text(encoding="utf-8")]


def blocks(text: str, *languages: str) -> Iterator[str]:
    """The fenced blocks of some languages that are no files, in their order."""
    return (block[3] for block in _BLOCK.finditer(text) if block[1] in languages and not block[2])


def follow(
    text: str,
    folder: Path,
    binaries: Path = Path(sys.executable).parent,
    told: Callable[[str, float], None] = lambda command, seconds: None,
) -> str:
    """The text of a page with what its commands print here.

    Args:
        text: Of the page.
        folder: Empty; files are written and commands run in it.
        binaries: Where `rmem` and `python` are.
        told: Gets each command that was run, and how long it took in seconds.

    Raises:
        ValueError: A change of `diff` does not fit the checkout.
    """
    if _OF_RMEM.search(text):
        _copy_checkout(folder)
    give_weights(text, folder)
    made, end = [], 0
    for block in _BLOCK.finditer(text):
        made.append(text[end : block.start(3)])
        made.append(_written(block[1], block[2], block[3], folder))
        if block[1] == "console":
            made[-1] = "".join(_run(command, folder, binaries, told) for command in _commands(block[3]))
        end = block.end(3)
    return "".join(made) + text[end:]


def give_weights(text: str, folder: Path) -> None:
    """Write the weights that the text of a page reads."""
    for name in (name for name in WEIGHTS if f'("{name}"' in text):
        import numpy as np
        import torch

        source, prefix = WEIGHTS[name]
        with np.load(ROOT / "tests" / "golden" / source) as file:
            weights = {
                key.removeprefix(prefix): torch.from_numpy(np.array(file[key]))
                for key in file
                if key.startswith(prefix)
            }
        torch.save(weights, folder / name)


def scripts(text: str) -> dict[str, tuple[str, str]]:
    """Programs of a page, by the names of their files, each with what the page shows that it prints."""
    blocks = [(block[1], block[2], block[3]) for block in _BLOCK.finditer(text)]
    files = {title: body for language, title, body in blocks if language == "python" and title}
    shown = {}
    for language, _, body in blocks:
        for part in body.split("$ ")[1:] if language == "console" else []:
            command, _, printed = part.partition("\n")
            shown[command] = printed
    return {
        name: (body, shown[f"python {name}"]) for name, body in files.items() if f"python {name}" in shown
    }


def alike(text: str) -> list[str]:
    """The lines of a page without what differs from one machine to another: numbers, widths, blank lines."""
    text = re.sub(r" \(\d+:\d+:\d+\)$", "", text, flags=re.MULTILINE)  # pytest's, of what takes over a minute
    lines = (re.sub(r"[\s─]+", " ", _NUMBER.sub("N", line)).strip() for line in text.splitlines())
    return [line for line in lines if line]


def _written(language: str, title: str | None, body: str, folder: Path) -> str:
    """A block whose file is written now, or whose change is made, if it is such a block."""
    if title:
        (folder / title).parent.mkdir(parents=True, exist_ok=True)
        (folder / title).write_text(body, encoding="utf-8")
    elif language == "diff":
        patch = subprocess.run(["patch", "-p1"], cwd=folder, input=body, text=True, capture_output=True)
        if patch.returncode:
            raise ValueError(f"a change does not fit: {patch.stdout}\n{body}")
    return body


def _commands(body: str) -> Iterator[str]:
    """Commands behind `$`, each as long as its lines end in a backslash."""
    yield from re.findall(r"^\$ ((?:.*\\\n)*.*)$", body, re.MULTILINE)


def _run(command: str, folder: Path, binaries: Path, told: Callable[[str, float], None]) -> str:
    """A command with what it prints, both streams in one, without the name of the folder."""
    begun = time.perf_counter()
    ran = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=_environment(folder, binaries),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    told(command, time.perf_counter() - begun)
    lines = [line.rstrip() for line in ran.stdout.replace(str(folder), "/home/you").splitlines()]
    lines = [
        line for line in lines if line.strip() != "dirty tree"
    ]  # which an edited checkout says of its results
    if ran.returncode:
        raise ValueError(f"{command} ended with {ran.returncode}:\n" + "\n".join(lines))
    return "".join(f"{line}\n" for line in (f"$ {command}", *lines))


def _environment(folder: Path, binaries: Path) -> dict[str, str]:
    own = {f"RMEM_{name.upper()}": str(folder / f"rmem-{name}") for name in ("data", "runs", "cache")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RMEM_")}
    path = f"{binaries}{os.pathsep}{kept.get('PATH', '')}"
    fixed = {"PATH": path, "COLUMNS": "110", "OMP_NUM_THREADS": "1", "RMEM_NATIVE": "off", "PYTHONPATH": "."}
    return {**kept, **own, **fixed, "HOME": str(folder)}


def _copy_checkout(folder: Path) -> None:
    for name in _TAKEN:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    for name in ("data_scripts", "recipes"):  # which the build maps into the package
        (folder / "rmem_cli" / name).symlink_to(folder / name)


if __name__ == "__main__":
    import tempfile

    for page in [Path(name).resolve() for name in sys.argv[1:]] or pages():
        with tempfile.TemporaryDirectory() as scratch:
            page.write_text(
                follow(page.read_text(encoding="utf-8"), Path(scratch).resolve()), encoding="utf-8"
            )
