import subprocess
import sys

import pytest

from rmem_cli.errors import UsageError
from rmem_cli.published.store import curve_points, find, find_table, load_paper, papers


def test_papers_are_listed_by_id():
    assert list(papers()) == sorted(papers())
    assert {"rum2017", "rum2019", "goru2017", "goru2019", "dancer2020", "armt2024"} <= set(papers())


def test_a_row_without_digitized_points_has_none_and_an_unknown_row_is_refused():
    assert curve_points("rum2017.copying_t200.lstm")[0] == (333.66, 0.10965)
    assert curve_points("rum2017.recall.lstm") == curve_points("rmt2022.enwik8.txl_m10_seg128") == []
    with pytest.raises(UsageError, match=r"did you mean 'rum2017\.copying_t200\.lstm'"):
        curve_points("rum2017.copying_t200.lstn")


def test_an_id_leads_to_its_paper_table_and_row():
    table = load_paper("rum2019").tables["ptb_char"]
    assert find_table("rum2019.ptb_char") is table
    assert find("rum2019.ptb_char.fs_rum_2") is table.rows["fs_rum_2"]


@pytest.mark.parametrize(
    ("look", "wrong", "message"),
    [
        (load_paper, "rum2018", "unknown published paper 'rum2018'; did you mean 'rum2019'?"),
        (
            find_table,
            "rum2019.ptbchar",
            "unknown published table 'rum2019.ptbchar'; did you mean 'rum2019.ptb_char'?",
        ),
        (find_table, "rum2019", "unknown published table 'rum2019'; did you mean 'rum2019."),
        (
            find,
            "rum2019.recall.lstn",
            "unknown published row 'rum2019.recall.lstn'; did you mean 'rum2019.recall.lstm'?",
        ),
        (
            find,
            "rum2019.recal.lstm",
            "unknown published table 'rum2019.recal'; did you mean 'rum2019.recall'?",
        ),
        (find, "rum2019.recall.lstm.x", "unknown published table"),
        (find, "", "unknown published paper ''"),
        (load_paper, "../errors", "unknown published paper '../errors'"),
    ],
)
def test_an_unknown_id_is_refused_with_the_closest_one(look, wrong, message):
    with pytest.raises(UsageError) as caught:
        look(wrong)
    assert message in str(caught.value)


def test_published_numbers_are_read_without_torch():
    code = "import sys; from rmem_cli.published.store import find; find('rum2019.recall.lstm')"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
