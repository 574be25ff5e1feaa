"""`rmem plot`: pictures in three forms, always the same, with text as text; what is wrong is a sentence."""

import importlib.util
import re
import shutil

import pytest

MATRIX = """\
name: rates
title: Copying memory
paper: rum2019
task: {kind: copying_memory, length: 3, symbols: 2, alphabet: 3}
model: {core: {kind: rum, hidden_size: 4}}
optimizer: {kind: adam, lr: 0.01}
train: {steps: 4, batch_size: 4, eval_every: 2, validation: {metric: loss, examples: 8}}
eval: [{name: test, split: test, examples: 8, metrics: [loss]}]
matrix: {optimizer.lr: [0.001, 0.01]}
seeds: [1, 2]
rows: [{id: rum, title: "_RUM $x_1$ <b> & %"}, {id: goru, title: GORU, model.core.kind: goru}]
"""
PICTURES = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.fixture
def rates(tmp_path, monkeypatch):
    """The path of a recipe with a matrix."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rates.yaml").write_text(MATRIX)
    return tmp_path / "rates.yaml"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder for what is trained once."""
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def trained(rates, rmem, tmp_path, kept):
    for name in ("rmem-runs", "rmem-results"):
        if (kept / name).exists():
            shutil.copytree(kept / name, tmp_path / name)
    assert rmem("train", rates).code == 0
    for name in ("rmem-runs", "rmem-results"):
        shutil.copytree(tmp_path / name, kept / name, dirs_exist_ok=True)
    return rates


def words(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg.decode())


@pytest.mark.parametrize(
    ("kind", "form"),
    [*(("costs", form) for form in PICTURES), *((kind, "svg") for kind in ("sweep", "angles", "landscape"))],
)
def test_a_picture_is_written_in_each_form_and_is_always_the_same(rmem, trained, tmp_path, kind, form):
    ended = rmem("plot", kind, trained, "--out", "first", "--format", form)
    assert (ended.code, ended.out) == (0, "")
    files = sorted((tmp_path / "first").iterdir())
    assert files
    assert sorted(ended.err.splitlines()) == [f"wrote first/{path.name}" for path in files]
    assert rmem("plot", kind, trained, "--out", "second", "--format", form).code == 0
    for path in files:
        content = path.read_bytes()
        assert path.suffix == f".{form}"
        assert content.startswith(PICTURES[form])
        assert content == (tmp_path / "second" / path.name).read_bytes()


def test_text_stays_text_whatever_it_says(rmem, trained, tmp_path):
    assert rmem("plot", "curves", trained, "--out", "it", "--format", "svg").code == 0
    told = words((tmp_path / "it" / "rates-curves-paper-lr=0.001-loss.svg").read_bytes())
    assert {
        "_RUM $x_1$ &lt;b&gt; &amp; %",
        "GORU",
        "training steps",
        "loss (nats per symbol) in validation",
    } <= set(told)
    assert rmem("plot", "curves", trained, "--out", "it", "--format", "pdf").code == 0
    pdf = (tmp_path / "it" / "rates-curves-paper-lr=0.001-loss.pdf").read_bytes()
    assert b"/Type3" not in pdf
    assert b"/CreationDate" not in pdf


def test_the_ending_of_a_file_chooses_the_form(rmem, trained, tmp_path):
    for form, beginning in PICTURES.items():
        assert rmem("plot", "costs", trained, "--out", f"new/it.{form.upper()}").code == 0
        assert (tmp_path / "new" / f"it.{form.upper()}").read_bytes().startswith(beginning)


def test_rows_can_be_chosen(rmem, trained, tmp_path):
    assert rmem("plot", "sweep", trained, "--row", "goru", "--out", "it.svg").code == 0
    told = words((tmp_path / "it.svg").read_bytes())
    assert "GORU" in told
    assert not [each for each in told if "RUM $" in each]
    assert {"0.001", "0.01", "lr"} <= set(told)


def test_angles_are_those_of_rows_that_rotate(rmem, trained, tmp_path):
    assert rmem("plot", "angles", trained, "--out", "it", "--seed", 2).code == 0
    assert sorted(path.name for path in (tmp_path / "it").iterdir()) == [
        f"rates-angles-rum-lr={rate}-paper-seed2.png" for rate in ("0.001", "0.01")
    ]


def test_landscapes_need_no_training(rmem, rates, tmp_path):
    assert rmem("plot", "landscape", rates, "--cell", "lr=0.01", "--out", "it").code == 0
    assert sorted(path.name for path in (tmp_path / "it").iterdir()) == [
        "rates-landscape-line-paper-seed1.png",
        "rates-landscape-plane-goru-lr=0.01-paper-seed1.png",
        "rates-landscape-plane-rum-lr=0.01-paper-seed1.png",
    ]


def test_landscapes_of_two_seeds_lie_side_by_side(rmem, rates, tmp_path):
    for seed in (1, 2):
        assert rmem("plot", "landscape", rates, "--row", "goru", "--seed", seed, "--out", "it").code == 0
    names = [path.stem for path in (tmp_path / "it").iterdir()]
    assert len(names) == 6
    assert sorted(name[:-1] for name in names if name.endswith("1")) == sorted(
        name[:-1] for name in names if name.endswith("2")
    )


# (arguments, what the message says)
WRONG = {
    "unknown recipe": (
        ["curves", "rum_recal"],
        "no recipe is called 'rum_recal'; did you mean 'rum_recall'?",
    ),
    "unknown row": (["curves", "rates.yaml", "--row", "lstm"], "rates has no row 'lstm'"),
    "unknown scale": (["curves", "rates.yaml", "--scale", "cpu"], "rates has no scale 'cpu'"),
    "unknown form": (["curves", "rates.yaml", "--out", "it.jpg"], "there is no form .jpg of pictures"),
    "no results": (["curves", "rates.yaml"], "rates has no results in "),
    "no results of a row": (
        ["sweep", "rates.yaml", "--row", "rum"],
        "`rmem train rates.yaml --row rum` makes some",
    ),
    "nothing trained": (["angles", "rates.yaml"], "has no checkpoint in "),
    "nothing that rotates": (["angles", "small.yaml"], "no row of small has a core rum at scale paper"),
    "nothing that turns": (["landscape", "small.yaml"], "no row of small has a core rum or goru or eunn"),
    "a row that turns nothing": (
        ["landscape", "small.yaml", "--row", "gru"],
        "small gru seed 1 (paper) turns its state by nothing",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_what_is_wrong_is_said_in_a_sentence(rmem, rates, recipe, mistake):
    arguments, message = WRONG[mistake]
    ended = rmem("plot", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("rmem: ")
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_what_cannot_be_drawn_of_results_is_said(rmem, trained):
    ended = rmem("plot", "tasks", trained)
    assert ended.code == 2
    assert "rates has results, but no row with many tasks to draw" in ended.err


def test_without_matplotlib_it_says_what_brings_it(rmem, rates, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name)
    )
    for kind in ("curves", "sweep", "tasks", "costs", "angles", "landscape"):
        ended = rmem("plot", kind, rates)
        assert ended.code == 2
        assert ended.err.endswith("is not installed: `pip install 'rmem[plot]'`\n")


def test_a_run_whose_folder_is_gone_says_how_to_make_it_again(rmem, trained, tmp_path):
    shutil.rmtree(tmp_path / "rmem-runs")
    ended = rmem("plot", "angles", trained)
    assert ended.code == 2
    assert (
        "`rmem train` with the same options trains it; if its results are here already, add --rerun all"
        in ended.err
    )


@pytest.mark.parametrize("out", ["file/plots", "file/it.png", "folder.png/it"])
def test_what_cannot_be_written_is_said(rmem, trained, tmp_path, out):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").write_text("")
    ended = rmem("plot", "costs", trained, "--out", out)
    assert ended.code == 2
    assert re.match(rf"rmem: --out {out} cannot be written \(.*\); name another\n", ended.err)


def test_a_picture_that_cannot_be_written_leaves_the_one_that_was_there(rmem, trained, tmp_path):
    resource = pytest.importorskip("resource")
    assert rmem("plot", "costs", trained, "--out", "it.png").code == 0
    before, limit = (tmp_path / "it.png").read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limit[1]))
    try:
        ended = rmem("plot", "costs", trained, "--out", "it.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (ended.code, "--out it.png cannot be written (File too large)" in ended.err) == (2, True)
    assert (tmp_path / "it.png").read_bytes() == before


def test_a_picture_goes_where_a_link_leads(rmem, trained, tmp_path):
    (tmp_path / "link.svg").symlink_to("it.svg")
    assert rmem("plot", "costs", trained, "--out", "link.svg").code == 0
    assert (tmp_path / "link.svg").is_symlink()
    assert (tmp_path / "it.svg").read_bytes().startswith(PICTURES["svg"])


def test_several_pictures_do_not_go_into_one_file(rmem, trained):
    ended = rmem("plot", "curves", trained, "--out", "it.png")
    assert ended.code == 2
    assert "--out it.png is one file, and there are 2 pictures; name a folder" in ended.err
