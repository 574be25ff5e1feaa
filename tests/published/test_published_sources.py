"""No number of the transcripts of the papers is lost or changed on its way to `rmem published`."""

import csv
import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from rmem_cli.app import app

FOLDER = Path(__file__).parents[1] / "golden" / "published"
SOURCES = {
    table["id"]: table
    for name in ("published", "published_found")
    for table in yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
}

PAPERS = {
    "rmt": "rmt2022",
    "rmt1m": "rmt1m2023",
    "txl": "txl2019",
    "fsrnn": "fsrnn2017",
    "rum": "rum2019",
    "goru": "goru2019",
    "urlstm": "urlstm2020",
    "dancer": "dancer2020",
    "armt": "armt2024",
}
# Tables of other names than `<paper>_<table>`; several of ours have one of a row's values each.
TABLES = {
    "rum_v1_recall": ["rum2017.recall"],
    "rum_v1_babi": ["rum2017.babi"],
    "rum_v1_ptb_char": ["rum2017.ptb_char"],
    "rum_v1_copying_T200": ["rum2017.copying_t200"],
    "rum_v1_copying_T500": ["rum2017.copying_t500"],
    "rum_v1_recall_curves": ["rum2017.recall_curves"],
    "rum_author_copying_logs": ["rum2017.author_copying_logs", "rum2017.author_copying_log_accuracies"],
    "goru_babi": ["goru2017.babi"],
    "goru_babi_1k": ["goru2017.babi"],
    "goru_ptb_char": ["goru2017.ptb_char"],
    "babilong_space_csv": ["babilong2024.leaderboard"],
    "urlstm_gate_ablation_v2": [
        "urlstm2020.gate_ablation_pmnist",
        "urlstm2020.gate_ablation_scifar",
        "urlstm2020.gate_ablation_scifar_gru",
    ],
    "urlstm_table2": ["urlstm2020.smnist", "urlstm2020.pmnist", "urlstm2020.scifar"],
}
MODELS = {"UR-GRU": "UR-GRU + Zoneout", "LSTM (ours)": "LSTM"}
NOT_FACTS = {"model", "value", "std", "n", "source", "verified", "notes", "params", "secondary", "quoted"}
NOT_FACTS |= {"per_task", "confidence", "params_computed_from_repo_config"}
STARS = {"pmnist_stars": 0, "scifar_stars": 1, "scifar_gru_stars": 2}
CURVES = {
    "fig2_copying_T200_cross_entropy": "copying_t200",
    "fig2_copying_T500_cross_entropy": "copying_t500",
    "fig4_recall_T50_accuracy": "recall_curves",
    "fig4_recall_T50_loss": "recall_loss_curves",
}


@pytest.fixture(scope="module")
def printed():
    """The tables that `rmem published --format json` prints, by their ids."""
    done = CliRunner().invoke(app, ["published", "--format", "json"])
    assert done.exit_code == 0
    return {
        f"{paper['paper']}.{name}": table
        for paper in json.loads(done.stdout)
        for name, table in paper["tables"].items()
    }


def ours(source):
    """Ids of our tables of a table of the transcripts."""
    paper, _, table = source.partition("_")
    return TABLES.get(source) or [f"{PAPERS[paper]}.{table}"]


def row_of(table, source, model, before=0):
    """The row of a printed table that stands for a model of the transcripts, after others of its name."""
    if source.startswith("urlstm_"):
        model = re.sub(r" \((Chang|Li) et al\. \w+\)$", "", MODELS.get(model, model))
    model = model.replace("(ours)", "(this paper)").replace("1 segment(s)", "1 segment")
    model = model.replace("segment(s)", "segments")
    found = [row for row in table["rows"].values() if row["model"] == model]
    assert len(found) > before, f"{source}: {model}"
    return found[before]


def pair(cell):
    """The number of a cell and its deviation; none where a dash stands, or nothing."""
    number, _, rest = str(cell if cell is not None else "-").partition("+-")
    number, rest = number.split("(")[0].strip(), rest.split("(")[0].strip()
    return (None if number == "-" else float(number)), (float(rest) if rest else None)


def numbers(row):
    """All values of a row of the transcripts with their deviations."""
    value = row["value"]
    cells = value if isinstance(value, list) else str(value).split("/")
    pairs = [pair(cell) for cell in cells] + [(float(task), None) for task in row.get("per_task", ())]
    if "std" in row:
        pairs = [(number, row["std"]) for number, _ in pairs]
    return pairs


def listed(value):
    return value if isinstance(value, list) else [value]


def tokens(x):
    """A length as a number: 64k is 64,000."""
    match = re.fullmatch(r"(\d+)([kM]?)", str(x))
    return int(match[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[match[2]] if match else x


VERIFIED = [
    (name, k) for name, table in SOURCES.items() for k, row in enumerate(table["rows"]) if row["verified"]
]


@pytest.mark.parametrize(("source", "index"), VERIFIED)
def test_every_number_of_the_transcripts_is_printed_as_it_is(printed, source, index):
    row = SOURCES[source]["rows"][index]
    tables = [printed[name] for name in ours(source)]
    if len(tables) > 1:
        check_values_of_several_tables(tables, source, row)
        return
    before = [other["model"] for other in SOURCES[source]["rows"][:index]].count(row["model"])
    mine = row_of(tables[0], source, row["model"], before)
    check_values(mine, row)
    assert mine["verified"]
    for key in ("n", "params"):
        if row.get(key) is not None:
            assert mine[key] == row[key]
    for key in ("secondary", "quoted"):
        assert mine[key] or not row.get(key)
    for key in row.keys() - NOT_FACTS:
        assert str(mine["facts"][key]) == str(row[key])


def check_values(mine, row):
    if isinstance(row["value"], str) and not re.fullmatch(r"[-\d./ ]+", row["value"]):
        check_words(mine, row["value"].strip('"'))
        return
    expected = numbers(row)
    value = [*listed(mine["value"]), *mine["facts"].get("per_task", ())]
    assert value == [number for number, _ in expected]
    deviations = [std for _, std in expected]
    if any(std is not None for std in deviations):
        assert listed(mine["std"]) == deviations
    for best in re.findall(r"\(([\d.]+)\*\)", str(row["value"])):
        assert float(best) in mine["facts"].values()


def check_words(mine, words):
    formula, _, number = words.partition(" = ")
    if number:
        assert round(mine["value"], 4) == float(number), formula
    else:
        assert mine["value"] == words


def check_values_of_several_tables(tables, source, row):
    for k, (table, (number, _)) in enumerate(zip(tables, numbers(row), strict=True)):
        if number is None:
            assert not any(other["model"] == row["model"] for other in table["rows"].values())
            continue
        mine = row_of(table, source, row["model"])
        assert (mine["value"], mine["verified"]) == (number, True)
        assert mine["secondary"] == row.get("secondary", False)
        for key, index in STARS.items():
            if index == k and row.get(key) is not None:
                assert (mine["notes"] or "").count("*") == row[key]


@pytest.mark.parametrize("source", [name for name, table in SOURCES.items() if "x" in table])
def test_curves_stand_over_the_x_of_the_transcripts(printed, source):
    (name,) = ours(source)
    assert printed[name]["x"] == [tokens(x) for x in SOURCES[source]["x"]]


def test_every_digitized_point_is_printed(printed):
    expected: dict = {}
    with (FOLDER / "rum_v1_figures_digitized.csv").open(encoding="utf-8", newline="") as file:
        for point in csv.DictReader(file):
            key = CURVES[point["figure"]], point["series"]
            expected.setdefault(key, []).append([float(point["x"]), float(point["y"])])
    found = {
        (table, row["model"].replace(",", "")): row["points"]
        for table in CURVES.values()
        for row in printed[f"rum2017.{table}"]["rows"].values()
    }
    assert found == expected
    assert sum(map(len, found.values())) == 1831
