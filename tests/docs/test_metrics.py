"""The page about results says what each metric is."""

import re
from pathlib import Path

from rmem_cli.results.metrics import METRICS

PAGE = Path(__file__).parents[2] / "docs" / "results.md"


def test_every_metric_is_told_on_the_page_about_results():
    section = PAGE.read_text(encoding="utf-8").split("## What is measured")[1].split("\n## ")[0]
    told = {name for line in section.splitlines() for name in re.findall(r"`(\w+)`", line.split(" | ")[0])}
    spelled = {name.removesuffix("_precision").removesuffix("_recall") for name in METRICS}
    assert told - {"metric"} == spelled
