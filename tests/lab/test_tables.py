"""How results files become tables; that those of the pages are right is in test_pages.py."""
import json
import re
from pathlib import Path

import pytest

import rl
import runs
from data.cli import BadInput
from lab import tables
from lab.tables import STUDENT, over_seeds, pool, summary
from tests.helpers import fails

ROOT = Path(__file__).parents[2]
ROW = {"method": "colar", "variant": "", "updates": 1, "knobs": {}, "n": 10, "accuracy": 0.5,
       "low": 0, "high": 1, "steps": 5, "ms": 1}


def test_every_results_file_names_its_command():
    for path in ROOT.glob("results/*/**/*.json"):
        found = json.loads(path.read_text(encoding="utf-8"))
        for record in found if isinstance(found, list) else [found]:
            command = record["config"]["command"]
            assert re.match(r"python ((train|rl|eval)\.py|-m lab\.\w+) ", command)
            assert record["git"]


def test_gain_is_paired_by_seed(tmp_path):
    """Rises of 10 and 20 points from very different starts: 15 +- t * 5, whatever the starts."""
    paths = []
    for seed, (before, after) in enumerate([(0.2, 0.3), (0.7, 0.9)]):
        rows = [ROW | {"method": m, "knobs": {"c": 5}, "accuracy": a}
                for m, a in (("colar", before), ("colar+rl", after))]
        config = {"method": "colar", "task": "arithmetic", "seed": seed, "stage": "colar+rl"}
        paths.append(tmp_path / str(seed))
        paths[-1].write_text(json.dumps({"rows": rows, "config": config}), encoding="utf-8")
    first, second = pool(paths)
    assert "gain" not in first and abs(second["gain"] - 0.15) < 1e-9
    assert abs(second["gain_half"] - STUDENT[0] * 0.05) < 1e-9      # sd 0.05 sqrt 2, over sqrt 2
    assert summary(paths).splitlines()[-1].endswith(f"| 15.0 ± {STUDENT[0] * 5:.1f} |")
    rows = [ROW | {"knobs": {"k": k}, "accuracy": a} for k, a in ((1, 0.5), (4, 0.8))]
    paths[0].write_text(json.dumps([{"rows": rows, "config": config}]), encoding="utf-8")
    one, four = pool(paths[:1])
    assert "gain" not in one and abs(four["gain"] - 0.3) < 1e-9     # of four samples over one
    rows += [{**r, "knobs": {**r["knobs"], "latents": 2}, "accuracy": 0.6} for r in rows]
    paths[0].write_text(json.dumps([{"rows": rows, "config": config}]), encoding="utf-8")
    gains = [r.get("gain") for r in pool(paths[:1])]                # at the same setting
    assert gains == [None, pytest.approx(0.3), None, pytest.approx(0.0)]


@pytest.mark.parametrize("argv, name", [
    ([], ""), (["--width", "96", "--seed", "3", "--steps", "9"], ""),
    (["--shuffle", "--labels", "one", "--no-align"], "--shuffle --labels one --no-align"),
    (["--shuffle", "--conv", "0"], "--shuffle --conv 0"),       # it is 4 unless given
    (["--lr", "0.5", "--batch", "3"], "--batch 3 --lr 0.5"),
    (["--backbone", "recurrent", "--mean-r", "3", "--layers", "6"],
     "--backbone recurrent --mean-r 3 --layers 6")])
def test_a_variant_is_what_differs_from_the_default(argv, name):
    """But for what is reported beside the name, and for the width."""
    assert runs.variant(runs.parse(argv)) == name


def test_a_reinforced_run_is_not_called_one_without_dropout():
    """Which GSM8K has by default: rl.py does without it, and the run before it did not."""
    config = runs.parse(["--task", "gsm8k"])
    assert config["dropout"] and runs.variant(config) == ""
    assert runs.variant({**config, **rl.WITHOUT, "stage": "cot+rl"}) == ""


def test_interval_over_seeds():
    mean, half = over_seeds([97.0, 98.0, 99.0])     # sd 1, so 4.303 / sqrt 3
    assert mean == 98 and abs(half - STUDENT[1] / 3 ** 0.5) < 1e-9


def test_pool_takes_means_over_seeds_and_keeps_variants_apart(tmp_path):
    def results(name, seed, accuracy, variant="", **config):
        rows = [ROW | {"knobs": {"c": 2}, "accuracy": accuracy, "variant": variant}]
        config = {"method": "colar", "task": "arithmetic", "seed": seed, **config}
        (tmp_path / name).write_text(json.dumps({"rows": rows, "config": config}), encoding="utf-8")
        return tmp_path / name
    paths = [results("a", 0, 0.9), results("b", 1, 0.7),
             results("c", 0, 0.5, "--conv 0 --no-align")]
    first, second = pool(paths)
    assert abs(first["accuracy"] - 0.8) < 1e-9 and first["seeds"] == 2
    assert abs(first["high"] - 0.8 - STUDENT[0] * 0.1) < 1e-6     # sd sqrt 0.02, over sqrt 2
    assert first["name"] == "colar c=2"
    assert second["name"] == "colar c=2 --conv 0 --no-align"
    assert (second["low"], second["high"]) == (0, 1)                # of one seed: over its problems
    assert "| 50.0 (0.0 to 100.0) |" in summary(paths)
    assert pool([*paths, paths[1]])[0] == first                     # the same measurement again
    with pytest.raises(BadInput, match="seed 1 comes twice"):
        pool([*paths, results("d", 1, 0.6)])
    with pytest.raises(BadInput, match="comes with other size, width"):
        pool([*paths, results("e", 2, 0.6, width=512)])
    fewer = json.loads(paths[1].read_text(encoding="utf-8"))
    fewer["rows"][0]["n"] -= 1
    (tmp_path / "fewer").write_text(json.dumps(fewer), encoding="utf-8")
    with pytest.raises(BadInput, match="colar c=2: its seeds have answered other problems"):
        pool([paths[0], tmp_path / "fewer"])


def test_one_thought_at_a_time_has_a_line_each(tmp_path):
    """Only rows of lab.controls, which swap all, stand side by side."""
    rows = [ROW | {"knobs": {"thoughts": how}, "same": 1.0}
            for how in ("as thought", "replace 1", "replace 2, think on")]
    swap = [ROW | {"knobs": {"thoughts": how}, "donor": 0.25} for how in ("as thought", "swap")]
    path = tmp_path / "s0.json"
    for some, lines in ((rows, 2 + 3), (swap, 2 + 1)):
        config = {"method": "colar", "task": "arithmetic", "seed": 0}
        path.write_text(json.dumps({"rows": some, "config": config}), encoding="utf-8")
        assert len(summary([path]).splitlines()) == lines


def test_rows_of_controls_and_others_are_told_apart(tmp_path, capsys):
    config, paths = {"method": "colar", "task": "arithmetic", "seed": 0}, []
    for name, knobs in (("controls", [{"thoughts": "as thought"}, {"thoughts": "swap"}]),
                        ("eval", [{}]), ("thoughts", [{"c": 2, "thoughts": "as thought"}])):
        rows = [ROW | {"knobs": one, "donor": 0.25} for one in knobs]
        paths.append(str(tmp_path / f"{name}.json"))
        Path(paths[-1]).write_text(json.dumps({"rows": rows, "config": config}), encoding="utf-8")
    for other in paths[1:]:
        for both in ([paths[0], other], [other, paths[0]]):
            assert "columns of their own" in fails(both, capsys, tables.main)


def test_a_figure_of_no_known_kind_is_refused(tmp_path, capsys):
    assert "must end in" in fails(["none.json", "--plot", "x.txt"], capsys, tables.main)
    config, path = {"method": "colar", "task": "arithmetic", "seed": 0}, tmp_path / "s0.json"
    path.write_text(json.dumps({"rows": [ROW | {"knobs": {"c": 2}}], "config": config}),
                    encoding="utf-8")
    argv = [str(path), "--over", "k"]
    assert "--over: of a figure" in fails(argv, capsys, tables.main)
    argv += ["--plot", str(tmp_path / "x.png")]
    assert "--over k: no row has" in fails(argv, capsys, tables.main)
    assert not (tmp_path / "x.png").exists()
