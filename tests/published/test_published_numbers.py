import re
from collections import Counter
from importlib.resources import files

import pytest
import yaml

from rmem_cli.published.store import find, find_table, load_paper, papers

FOLDER = files("rmem_cli.published")
TABLES = {f"{paper}.{name}": table for paper in papers() for name, table in load_paper(paper).tables.items()}


def test_all_tables_and_rows_are_there():
    assert len(TABLES) == 37
    assert sum(len(table.rows) for table in TABLES.values()) == 419


def test_every_file_is_named_after_its_paper():
    assert [load_paper(paper).paper for paper in papers()] == list(papers())


@pytest.mark.parametrize("paper", papers())
def test_no_file_repeats_a_key_so_no_row_hides_another(paper):
    def visit(node):
        if isinstance(node, yaml.MappingNode):
            repeated = [
                key for key, count in Counter(key.value for key, _ in node.value).items() if count > 1
            ]
            assert repeated == []
            for _, value in node.value:
                visit(value)

    visit(yaml.compose(FOLDER.joinpath(f"{paper}.yaml").read_text(encoding="utf-8"), yaml.SafeLoader))


def test_rows_that_are_not_verified_carry_no_number():
    unverified = [row for table in TABLES.values() for row in table.rows.values() if not row.verified]
    assert len(unverified) == 23
    assert {(row.value, row.std, row.n, row.params) for row in unverified} == {(None, None, None, None)}
    assert all(isinstance(fact, str) for row in unverified for fact in row.facts.values())


def test_every_paper_has_its_reference_and_no_reference_is_left_over():
    references = FOLDER.joinpath("references.bib").read_text(encoding="utf-8")
    entries = dict(re.findall(r"^@\w+\{(\w+),\n(.*?)^\}$", references, re.MULTILINE | re.DOTALL))
    assert sorted(entries) == sorted(load_paper(paper).bibtex for paper in papers())
    for paper in map(load_paper, papers()):
        fields = dict(re.findall(r"^\s*(\w+)\s*= \{(.*)\},$", entries[paper.bibtex], re.MULTILINE))
        assert fields["title"].replace("{", "").replace("}", "") == paper.title
        assert fields["year"] == str(paper.year)
        assert fields["eprint"] == paper.arxiv.partition("v")[0]
        assert len(fields["author"].split(" and ")) == len(paper.authors)


@pytest.mark.parametrize(
    ("row", "value", "std"),
    [
        ("rum2019.ptb_char.fs_rum_2", 1.189, None),
        ("rum2019.ptb_char.fs_lstm_2", 1.190, None),
        ("rum2019.ptb_char.fs_lstm_4", 1.193, None),
        ("rum2019.ptb_char.rum_1400_no_update_gate", None, None),
        ("rum2019.recall.rum_lambda1", None, None),
        ("rum2019.recall.lstm", None, None),
        ("rum2019.babi.rum_no_attention", 73.2, None),
        ("rum2019.copying.rum", "learns the Copying Memory task completely", None),
        ("fsrnn2017.enwik8.large_fs_lstm_4", 1.245, None),
        ("goru2019.timit.goru_householder", "40.9 / 43.0", None),
        ("rmt2022.quadratic_equations.rmt", 0.99, 0.002),
        ("rmt2022.wt103_main.txl_ours_m150_seg150", 24.12, 0.05),
        ("rmt2022.wt103_full.rmt_m25_bptt2_seg150", 24.85, 0.31),
        ("rmt2022.enwik8.rmt_m10_bptt2_seg128", 1.228, 0.003),
        ("rmt2022.hyperpartisan.rmt_roberta_base_4seg", 98.11, None),
        ("rmt2022.lm_raw.wt103_rmt_m10_bptt1_seg150", 25.9222, 1.0703),
        ("rmt2022.synthetic_short_raw.reverse_rmt_m8_6seg", 0.9005, 0.1541),
        ("rmt2022.synthetic_long_raw.copy240_rmt_m60_6seg_inner512", 0.7815, 0.309),
        ("txl2019.wt103.txl_standard", 24.0, None),
        ("txl2019.enwik8.txl_24l", 0.99, None),
        ("urlstm2020.smnist.ur_lstm", 99.28, None),
        ("urlstm2020.wt103.ur_lstm", 34.6, None),
    ],
)
def test_the_numbers_are_those_of_the_sources(row, value, std):
    assert (find(row).value, find(row).std) == (value, std)


@pytest.mark.parametrize(("length", "row"), [(500, "random_baseline_t500"), (200, "random_baseline_t200")])
def test_the_loss_of_guessing_in_copying_memory_is_ten_symbols_of_eight(length, row):
    nats_of_eight = 2.0794415416798357
    assert find(f"rum2019.copying.{row}").value == pytest.approx(10 * nats_of_eight / (length + 20), rel=1e-5)


def test_curves_stand_over_their_lengths():
    table = find_table("rmt1m2023.fig1")
    assert dict(zip(table.x, table.rows["memorize"].value, strict=True))[4096] == 90.6
    assert find_table("rmt1m2023.fig5c").rows["trained_on_7"].value[0] == 54.4
