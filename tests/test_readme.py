"""The tables of the README are what `eval.py --summary` makes of results/, to the letter."""
import json
import re
from pathlib import Path

import pytest

from eval import STUDENT, over_seeds, summary

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TABLES = re.findall(r"<!-- eval.py --summary (\S+) -->\n(.*?)\n<!-- end -->", README, re.S)


@pytest.mark.parametrize("folder, table", TABLES, ids=[folder for folder, _ in TABLES])
def test_table_follows_from_results(folder, table):
    paths = sorted(ROOT.glob(folder))
    assert paths and table == summary(paths)


def test_every_results_file_is_in_a_table_and_names_its_command():
    shown = {path for folder, _ in TABLES for path in ROOT.glob(folder)}
    assert shown == set(ROOT.glob("results/*/*.json"))
    for path in shown:
        record = json.loads(path.read_text())
        assert record["config"]["command"].startswith("python train.py") and record["git"]


def test_interval_over_seeds():
    mean, half = over_seeds([97.0, 98.0, 99.0])     # sd 1, so 4.303 / sqrt 3
    assert mean == 98 and abs(half - STUDENT[1] / 3 ** 0.5) < 1e-9
