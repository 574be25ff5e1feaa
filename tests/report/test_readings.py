import pytest

from rmem_cli.errors import UsageError
from rmem_cli.published.store import find
from rmem_cli.recipe.problems import RecipeError
from rmem_cli.report.readings import load_readings

LSTM = '{id: rum2019.recall.lstm, number: [25.6, null], unit: percent, page: "p. 127", reader: A. Reader}'
RUM = "{id: rum2019.ptb_char.rum_2000, number: 1, unit: bits per character, page: Table 4}"


@pytest.fixture
def file(tmp_path):
    """Writes a file of readings with the given entries, and returns its path."""

    def write(*entries):
        path = tmp_path / "mine.yaml"
        path.write_text("".join(f"- {entry}\n" for entry in entries), encoding="utf-8")
        return path

    return write


def problems(path):
    """What is said of a file, without its folder."""
    with pytest.raises(RecipeError) as caught:
        load_readings(path)
    return str(caught.value).replace(f"{path.parent}/", "").splitlines()


def test_a_reading_fills_a_blank_row_and_says_who_read_it_where(file):
    rows = load_readings(file(LSTM, RUM))
    assert list(rows) == ["rum2019.recall.lstm", "rum2019.ptb_char.rum_2000"]
    lstm, rum = rows.values()
    assert (lstm.value, lstm.verified) == ((25.6, None), True)
    assert lstm.source == "read by A. Reader: mine.yaml, p. 127"
    assert (rum.value, rum.source) == (1.0, "read by a reader: mine.yaml, Table 4")
    (numbered,) = load_readings(file(RUM.replace("page: Table 4", "page: 130"))).values()
    assert numbered.source == "read by a reader: mine.yaml, p. 130"
    assert rum.facts == find("rum2019.ptb_char.rum_2000").facts
    assert find("rum2019.ptb_char.rum_2000").value is None


@pytest.mark.parametrize(
    ("good", "wrong", "place", "message"),
    [
        ("recall.lstm", "recall.lstn", "1:8: [0].id", "did you mean 'rum2019.recall.lstm'?"),
        ("[25.6, null]", "25.6", "1:37: [0].number", "2 numbers, not 25.6: length=30, length=50"),
        ("[25.6, null]", "[25.6]", "1:37: [0].number", "must be a list of 2 numbers, not 1"),
        ("[25.6, null]", "[25.6, all]", "1:37: [0].number", "must hold numbers, and null where"),
        ("[25.6, null]", "[null, null]", "1:37: [0].number", "must hold at least one number"),
        ("percent", "fraction", "1:57: [0].unit", "must be 'percent' like its table, not 'fraction'"),
        ("reader", "raeder", "1:82: [0].raeder", "unknown key; did you mean 'reader'?"),
        (', page: "p. 127"', "", "1:3: [0].page", "is missing"),
        ('"p. 127"', "[127]", "1:72: [0].page", "must be text"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_reading_is_said_at_its_place(file, good, wrong, place, message):
    assert good in LSTM
    (line,) = problems(file(LSTM.replace(good, wrong)))
    assert line.startswith(f"mine.yaml:{place}: ")
    assert message in line


@pytest.mark.parametrize("value", ["about 1.3", "true", "[1.3]", "null"])
def test_a_row_without_columns_takes_one_number(file, value):
    (line,) = problems(file(RUM.replace("number: 1", f"number: {value}")))
    assert line.startswith("mine.yaml:1:43: [0].number: must be a number, not ")


def test_a_number_that_was_read_in_a_source_is_not_replaced(file):
    (line,) = problems(
        file("{id: rum2017.ptb_char.fs_rum_2, number: 1, unit: bits per character, page: p. 1}")
    )
    assert "rum2017.ptb_char.fs_rum_2 has a value already, from arXiv:1710.09537v1 Table 3" in line
    assert line.endswith("; remove the entry")


def test_everything_that_is_wrong_is_said_at_once(file):
    lines = problems(file(LSTM, RUM.replace("bits per character", "percent"), LSTM, "rum2019"))
    assert [line.partition(" ")[0] for line in lines] == [
        "mine.yaml:2:52:",
        "mine.yaml:3:8:",
        "mine.yaml:4:3:",
    ]
    assert "the row stands twice, first at " in lines[1]
    assert "mine.yaml:1:8; keep one of them" in lines[1]
    assert "must be a mapping, not the text 'rum2019'" in lines[2]


@pytest.mark.parametrize("text", ["", "[]\n", "readings:\n", "id: rum2019.recall.lstm\n", "1\n"])
def test_a_file_of_another_form_is_told_the_form(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert any("a file of readings is a list of entries like" in line for line in problems(path))


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path):
    with pytest.raises(UsageError, match=r"none\.yaml: cannot be read: No such file"):
        load_readings(tmp_path / "none.yaml")
