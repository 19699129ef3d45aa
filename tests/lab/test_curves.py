"""The columns of a log, as figures and as a table."""
import csv
import io
import json

import pytest

from data.curves import columns, plot_column, plot_training
from lab import curves
from tests.helpers import fails

LOG = [{"step": 50, "loss": 2.0, "ce": 1.5}, {"step": 60, "val": [
    {"knobs": {"c": c}, "accuracy": c / 10, "steps": 8.0 / c} for c in (1, 2)]},
       {"step": 100, "loss": 0.1, "ce": 1.0}]


@pytest.fixture
def folders(tmp_path):
    """A run of CoLaR, and one whose first stage was made elsewhere."""
    for run, stages in (("a", ("", "cot")), ("b", ("",))):
        for stage in stages:
            folder = tmp_path / run / stage
            folder.mkdir(parents=True, exist_ok=True)
            config = {"method": stage or "colar"}
            (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
            text = "".join(json.dumps(row) + "\n" for row in LOG)
            (folder / "log.jsonl").write_text(text + '{"step": 150, "lo', encoding="utf-8")
    return [str(tmp_path / run) for run in "ab"]


def test_curves_of_a_run_have_a_label_for_each_speed():
    left, right = plot_training(LOG, "a run of $x").axes
    assert [line.get_label() for line in left.lines] == ["loss"]
    assert left.get_yscale() == "log"       # it falls to a twentieth
    assert [line.get_label() for line in right.lines] == ["c=1", "c=2"]
    assert list(right.lines[1].get_ydata()) == [20] and right.get_ylim() == (0, 103)
    assert all(axes.get_title() and axes.get_xlabel() == "updates" for axes in (left, right))
    with_excess = [{**row, "excess": 0.1} for row in LOG[::2]]
    labels = [line.get_label() for line in plot_training(with_excess, "").axes[0].lines]
    assert labels == ["loss", "excess"]
    assert not plot_training([], "nothing yet").axes[0].lines


def test_several_runs_share_a_figure_or_a_table(folders, tmp_path, capsys):
    curves.main([*folders, "--y", "ce", "--plot", str(tmp_path / "ce.png"),
                 "--csv", str(tmp_path / "log.csv")])
    assert (tmp_path / "ce.png").stat().st_size > 5000
    text = (tmp_path / "log.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["run"], row["stage"], row["step"]) for row in rows] == [
        (run, stage, step) for run, stage in (("a", "cot"), ("a", "colar"), ("b", "colar"))
        for step in ("50", "60", "100")]
    for name, (steps, values) in columns(LOG).items():      # every value stands in its line
        mine = {int(row["step"]): row[name] for row in rows[:3]}
        assert [float(mine[step]) for step in steps] == values
        assert not any(mine[step] for step in set(mine) - set(steps))


@pytest.mark.parametrize("name", ["_a [b] $c$", "n" * 300])
def test_every_name_has_its_place_in_a_legend(name):
    axes, = plot_column({name: LOG, "other": LOG}, "loss").axes
    said = [text.get_text() for text in axes.get_legend().texts]
    assert said[0].replace("\n", "").replace("\\$", "$").strip() == name and said[1] == "other"
    assert max(map(len, said[0].split("\n"))) <= 72


@pytest.mark.parametrize("argv, message", [
    (["list", "--csv", "x"], "unknown method ['cot']"),
    (["a"], "one of them is needed"), (["a", "--plot", "x.jpeg"], "must end in"),
    (["a", "--plot", "x.png", "--csv", "x.png"], "both are x.png"),
    (["a", "--csv", "none/x.csv"], "no such folder"), (["empty", "--csv", "x"], "not a run folder"),
    (["a", "--y", "los", "--plot", "x.png"], "unknown column --y 'los' (nearest: loss)"),
    (["new", "--csv", "x"], "no rows yet"), (["odd", "--csv", "x"], "unknown method 'colr'")])
def test_bad_input_gets_one_line(argv, message, folders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, text in (("new", '{"method": "cot"}'), ("odd", '{"method": "colr"}'),
                       ("list", '{"method": ["cot"]}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text, encoding="utf-8")
    assert message in fails(argv, capsys, curves.main)
    assert not (tmp_path / "x").exists()
