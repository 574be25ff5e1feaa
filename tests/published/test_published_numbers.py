import re
from collections import Counter
from importlib.resources import files
from itertools import pairwise

import pytest
import yaml

from rmem_cli.published.store import curve_points, find, find_table, load_paper, papers

FOLDER = files("rmem_cli.published")
TABLES = {f"{paper}.{name}": table for paper in papers() for name, table in load_paper(paper).tables.items()}


def test_all_tables_and_rows_are_there():
    assert len(TABLES) == 62
    assert sum(len(table.rows) for table in TABLES.values()) == 588


def test_the_versions_of_a_paper_are_papers_of_their_own():
    versions = {paper: load_paper(paper).arxiv for paper in ("rum2017", "rum2019", "goru2017", "goru2019")}
    assert versions == {
        "rum2017": "1710.09537v1",
        "rum2019": "1710.09537",
        "goru2017": "1706.02761v3",
        "goru2019": "1706.02761",
    }
    assert load_paper("rum2019").title != load_paper("rum2017").title


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


# Tables whose words name a validation split, and whose numbers are compared with ours of the test split.
NAMED_FOR_ANOTHER_REASON = {
    "rum2017.recall": "both splits are drawn of one distribution, of which its notes tell",
    "rum2017.babi": "how the questions were divided; its numbers are of the test",
}


def test_a_table_that_names_validation_as_what_was_measured_is_of_that_split():
    named = {
        name
        for name, table in TABLES.items()
        if re.search(r"\bvalid(ation)?\b", f"{table.dataset} {table.metric}", re.IGNORECASE)
    }
    assert set(NAMED_FOR_ANOTHER_REASON) <= named
    of_validation = {name for name, table in TABLES.items() if table.split == "valid"}
    assert named - set(NAMED_FOR_ANOTHER_REASON) == of_validation


def test_rows_that_are_not_verified_carry_no_number():
    unverified = [row for table in TABLES.values() for row in table.rows.values() if not row.verified]
    assert len(unverified) == 22
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
        ("goru2019.timit.goru_householder", (40.9, 43.0), None),
        ("rum2019.summarization.lead_3", (40.34, 17.7, 36.57), None),
        ("rum2017.recall.lstm", (25.6, 20.5), None),
        ("rum2017.ptb_char.fs_rum_2", 1.189, None),
        ("rum2017.author_copying_logs.goru", 0.000002, None),
        ("rum2017.author_copying_log_accuracies.goru", 1.0, None),
        ("goru2017.ptb_char.goru_no_update_gate", 1.754, None),
        ("dancer2020.arxiv.dancer_rum", (42.7, 16.54, 38.44), None),
        (
            "armt2024.babilong_qa1.armt",
            (100.0, 99.9, 99.3, 98.5, 89.4, 49.6),
            (0.0, 0.2, 0.9, 1.0, 8.1, 40.4),
        ),
        ("babilong2024.leaderboard.armt_fine_tune_avg_64k", 0.979, None),
        ("urlstm2020.gate_ablation_scifar.r_lstm", 71.85, None),
        ("urlstm2020.gate_ablation_scifar_gru.gru", 71.3, None),
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


DIGITIZED = {
    f"{name}.{row}": (table, table.rows[row])
    for name, table in TABLES.items()
    for row in table.rows
    if curve_points(f"{name}.{row}")
}


def test_all_digitized_points_are_there():
    assert sum(len(curve_points(row)) for row in DIGITIZED) == 1831
    assert {row.rpartition(".")[0] for row in DIGITIZED} == {
        f"rum2017.{figure}"
        for figure in ("copying_t200", "copying_t500", "recall_curves", "recall_loss_curves")
    }


@pytest.mark.parametrize("row", DIGITIZED)
def test_the_values_of_a_digitized_curve_lie_on_the_lines_between_its_points(row):
    table, published = DIGITIZED[row]
    points = curve_points(row)
    assert points == sorted(points)
    for x, value in zip(table.x, published.value, strict=True):
        if value is not None:
            (x0, y0), (x1, y1) = next(pair for pair in pairwise(points) if pair[0][0] <= x <= pair[1][0])
            between = y0 + (y1 - y0) * (x - x0) / (x1 - x0)
            # The losses were computed from the points, the others read off before.
            allowed = 0 if "loss" in row else 1.5e-4
            assert value == pytest.approx(round(between, 4), abs=allowed, rel=0)


def test_epochs_of_recall_are_such_that_its_points_lie_a_thousand_steps_apart():
    for name in ("recall_curves", "recall_loss_curves"):
        points = curve_points(f"rum2017.{name}.lstm")
        steps = [x * find_table(f"rum2017.{name}").steps_per_x for x, _ in points]
        assert steps == pytest.approx([1000 * (k + 1) for k in range(100)], rel=2e-3)  # 782, not 781.25


def test_gates_that_solve_the_copy_task_are_those_the_text_names():
    rows = find_table("urlstm2020.copy").rows
    solved = {name for name, row in rows.items() if row.claim == "solved"}
    assert solved == {"or_lstm", "ur_lstm", "o_lstm", "c_lstm"}
    assert all(row.claim for row in rows.values())


@pytest.mark.parametrize(
    ("row", "value", "params"),
    [
        ("fsrnn2017.ptb_char.lstm_2_layer", 1.243, "6.6M"),
        ("fsrnn2017.ptb_char.hyperlstm_small", 1.233, "5.1M"),
        ("fsrnn2017.ptb_char.nascell_small", 1.228, "6.6M"),
        ("rum2019.ptb_char.fs_rum_2", 1.189, "11.2M"),
        ("see2017.cnn_daily_mail.abstractive", (35.46, 13.3, 32.65), None),
        ("see2017.cnn_daily_mail.seq2seq_150k", (30.49, 11.17, 28.08), None),
        ("see2017.cnn_daily_mail.seq2seq_50k", (31.33, 11.81, 28.83), "21,499,600"),
        ("see2017.cnn_daily_mail.pointer_generator", (36.44, 15.66, 33.42), "21,500,753"),
        ("see2017.cnn_daily_mail.pointer_generator_coverage", (39.53, 17.28, 36.38), "21,501,265"),
        ("see2017.cnn_daily_mail.lead_3", (40.34, 17.7, 36.57), None),
        ("see2017.cnn_daily_mail.lead_3_nallapati", (39.2, 15.7, 35.5), None),
        ("see2017.cnn_daily_mail.extractive", (39.6, 16.2, 35.3), None),
    ],
)
def test_what_was_read_after_the_transcripts_is_as_printed(row, value, params):
    assert (find(row).value, find(row).params) == (value, params)
