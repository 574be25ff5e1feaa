"""What all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["lab"]  # in tests/helpers

# Small tensors are faster on one thread, here and in the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What tests compare is written for no terminal in particular, whatever the one that starts them says.
for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(name, None)

# How long an example takes says more about the machine than about the code.
settings.register_profile("rmem", deadline=None)
settings.load_profile("rmem")


def pytest_addoption(parser):
    parser.addoption(
        "--lock-hashes",
        metavar="REASON",
        help="lock the hashes of recipes as they are; why those moved that did",
    )


def pytest_collection_modifyitems(items):
    """Tests on real data run only where RMEM_TEST_DATA names it, those of marker `cuda` on a GPU."""
    if not os.environ.get("RMEM_TEST_DATA"):
        _skip(items, "data", "RMEM_TEST_DATA names no folder of real data sets")
    if not _has_gpu(items):
        _skip(items, "cuda", "there is no NVIDIA GPU here")


def _skip(items, marker, reason):
    for item in items:
        if item.get_closest_marker(marker):
            item.add_marker(pytest.mark.skip(reason=reason))


def _has_gpu(items):
    """Asked only where a test wants one: torch is slow to import."""
    if not any(item.get_closest_marker("cuda") for item in items):
        return True
    import torch

    return torch.cuda.is_available()


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    """No test reads or writes the user's own data, runs, results or caches, but for what was compiled."""
    monkeypatch.setenv("RMEM_DATA", str(tmp_path / "rmem-data"))
    monkeypatch.setenv("RMEM_RUNS", str(tmp_path / "rmem-runs"))
    monkeypatch.setenv("RMEM_RESULTS", str(tmp_path / "rmem-results"))
    monkeypatch.setenv("RMEM_CACHE", str(tmp_path / "rmem-cache"))


@pytest.fixture(scope="session")
def process_timeout():
    """Seconds after which a process that a test waits for hangs, however busy the machine is."""
    return 300


@pytest.fixture
def real_data():
    """The folder of real data sets, for tests marked `data`."""
    return Path(os.environ["RMEM_TEST_DATA"])


@pytest.fixture(scope="session")
def write_text():
    """Writes a made-up text as a prepared data set: the symbols of each split, or how many.

    Most symbols are the successor of the one before, so that there is something to learn.
    """

    def write(train=600, valid=60, test=45, *, name="ptb", form="char", vocabulary="_abcdefg"):
        import numpy as np

        from rmem_cli.data.writer import Content, write_prepared

        random = np.random.default_rng(1)

        def symbols(given):
            if not isinstance(given, int):
                return np.array(given, dtype=np.uint8)
            steps = np.where(random.random(given) < 0.8, 1, random.integers(len(vocabulary), size=given))
            return (steps.cumsum() % len(vocabulary)).astype(np.uint8)

        splits = {"train": train, "valid": valid, "test": test}
        arrays = {split: [symbols(given)] for split, given in splits.items()}
        content = Content(arrays, list(vocabulary), end_of_line=0)
        return write_prepared(name, form, content, sources=[], licence="none", citation="none")

    return write


@pytest.fixture
def write_images():
    """Writes made-up images as a prepared data set; those of a class have a bright column of their own."""

    def write(name="mnist", *, train=40, test=20):
        import numpy as np

        from rmem_cli.data.writer import Content, write_prepared

        random = np.random.default_rng(1)
        shape = {"mnist": (28, 28), "cifar10": (32, 32, 3)}[name]
        arrays = {}
        for split, count in (("train", train), ("test", test)):
            labels = random.integers(10, size=count, dtype=np.uint8)
            images = random.integers(128, size=(count, *shape), dtype=np.uint8)
            images[np.arange(count), :, 2 * labels] = 255
            arrays |= {f"{split}_images": [images], f"{split}_labels": [labels]}
        content = Content(
            arrays,
            [f"class {label}" for label in range(10)],
            counted={"train": "train_labels", "test": "test_labels"},
        )
        return write_prepared(name, "images", content, sources=[], licence="none", citation="none")

    return write


BABI = {
    1: """\
1 Mary moved to the bathroom.
2 John went back to the hallway.
3 Where is Mary? \tbathroom\t1
4 Daniel went to the garden.
5 Sandra journeyed to the office.
6 Where is John? \thallway\t2
1 John travelled to the kitchen.
2 Mary went to the bedroom.
3 Where is John? \tkitchen\t1
4 Where is Mary? \tbedroom\t2
""",
    4: """\
1 The office is north of the kitchen.
2 The garden is south of the kitchen.
3 What is north of the kitchen?\toffice\t1
1 The hallway is east of the bathroom.
2 The bedroom is west of the bathroom.
3 What is the bathroom east of?\tbedroom\t2
""",
}


@pytest.fixture
def write_babi(tmp_path):
    """Writes a few stories in the style of bAbI as a prepared task, the same for training and test."""

    def write(form):
        from rmem_cli.data_scripts.babi import prepare_task

        from rmem_cli.data.writer import write_prepared

        path = tmp_path / f"{form}.txt"
        path.write_text(BABI.get(int(form.rpartition("qa")[2]), BABI[1]))
        content = prepare_task({f"{form}_{split}.txt": path for split in ("train", "test")})
        return write_prepared("babi", form, content, sources=[], licence="none", citation="none")

    return write


@pytest.fixture
def write_articles(tmp_path):
    """Writes made-up articles as Hyperpartisan news; those of a class share some words."""

    def write(articles=40, *, form="pieces"):
        from rmem_cli.data_scripts.hyperpartisan import prepare_articles, prepare_pieces

        from rmem_cli.data.writer import write_prepared

        words = [("calm", "report", "said"), ("outrage", "lies", "shame")]
        texts, labels = "", ""
        for number in range(articles):
            text = " ".join([*words[number % 2], f"word{number}"] * (number % 7 + 1))
            texts += f'<article id="{number}" title="Title {number}">{text}</article>'
            labels += f'<article id="{number}" hyperpartisan="{["false", "true"][number % 2]}"/>'
        files = {}
        for part, content in (("articles-training", texts), ("ground-truth-training", labels)):
            path = tmp_path / f"{part}-byarticle-20181122.xml"
            path.write_text(f"<articles>{content}</articles>")
            files[path.name] = path
        prepare = prepare_pieces if form.startswith("pieces") else prepare_articles
        content = prepare(files, twins=form.endswith("twins"))
        return write_prepared("hyperpartisan", form, content, sources=[], licence="none", citation="none")

    return write


@pytest.fixture
def write_summaries(tmp_path):
    """Writes articles with summaries as a prepared set of words: the pairs of each split, or made-up ones.

    Words of an article are numbers, some of them rare; its summary is its first words.
    """

    def write(name="cnn_dailymail", splits=None, **fields):
        import io

        from rich.console import Console

        from rmem_cli.data.pair_records import Pair, pair_content
        from rmem_cli.data.words import SPLIT_ALREADY, prepare_words
        from rmem_cli.data.writer import write_prepared

        def pairs(split, count):
            for number in range(count):
                words = [f"w{(number * 7 + place) % 23}" for place in range(5 + number % 4)]
                words[2] = f"{split}{number}"
                yield Pair(f"{split} {number}", " ".join(words), " ".join([*words[:3], "."]))

        made_up = {split: list(pairs(split, count)) for split, count in fields.items()}
        splits = splits or made_up or {split: list(pairs(split, 20)) for split in ("train", "valid", "test")}
        about = {"sources": [], "licence": "none", "citation": "none"}
        written = write_prepared(name, "pairs", pair_content(splits), **about)
        content = prepare_words(written, tmp_path / "work" / name, Console(file=io.StringIO()), SPLIT_ALREADY)
        return write_prepared(name, "words", content, **about)

    return write


@pytest.fixture
def write_made_up(write_text, write_images, write_babi, write_articles, write_summaries):
    """Writes a small made-up data set of any name and form that a task reads."""

    def write(name, form):
        if name == "hyperpartisan":
            return write_articles(form=form)
        if name == "babi":
            return write_babi(form)
        if form == "words":
            return write_summaries(name)
        return write_images(name) if form == "images" else write_text(name=name, form=form)

    return write


@pytest.fixture(params=["native", "fast"])
def op_form(request, monkeypatch):
    """Operations run natively, where that can be built, or in PyTorch, whatever was chosen before."""
    from rmem_cli.ops.native import build

    monkeypatch.setenv("RMEM_NATIVE", "auto" if request.param == "native" else "off")
    build.status.cache_clear()
    yield request.param
    build.status.cache_clear()
