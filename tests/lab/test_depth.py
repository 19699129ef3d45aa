"""The recurrent backbone in the scripts: training, eval.py's knobs, what lab.depth measures."""
import json

import pytest
import torch

import eval as evaluation
import rl
import runs
from colar import CoLaR
from data import script
from data.common import first_problems
from lab import depth, tables
from recurrent import RecurrentGPT
from tests.helpers import NANO, fails, results, run


@pytest.fixture(autouse=True, scope="module")
def few_iterations():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecurrentGPT, "settings", lambda self: [{"r": 1}, {"r": 3}])
        yield


@pytest.fixture(scope="module")
def deep_run(tmp_path_factory):
    return run(tmp_path_factory.mktemp("deep"), "--method", "nocot", "--backbone", "recurrent",
               "--task", "permutation", "--conv", "0", "--mean-r", "3")


def test_training_tests_several_numbers_of_iterations(deep_run):
    rows = results(deep_run)["rows"]
    assert [r["knobs"]["r"] for r in rows] == [1, 3]
    assert all(r["iterations"] == r["knobs"]["r"] for r in rows)


@pytest.mark.parametrize("argv", [
    ["--norm", "pre", "--inject", "add"], ["--inject", "none", "--sampler", "fixed"],
    ["--k-grad", "2", "--dtype", "bfloat16"],
    ["--no-prefixes", "--group", "s5", "--moves", "4", "--bucket", "1"],
], ids=" ".join)
def test_every_switch_trains_and_is_named(argv, tmp_path):
    """The run is told from others in tables, by all flags that make it different."""
    argv = ["--method", "nocot", "--backbone", "recurrent", "--task", "permutation",
            "--mean-r", "3", *argv]
    out = run(tmp_path, *argv)
    name = tables.pool([out / "results.json"])[0]["name"]
    shown = [a for a in argv[6:] if a not in ("--dtype", "bfloat16")]
    assert name.startswith("nocot r=1 --backbone recurrent") and all(a in name for a in shown)


def test_methods_with_stages_run_on_it(tmp_path):
    """CoLaR from its CoT stage, then GRPO: nothing in them knows the backbone."""
    out = run(tmp_path, "--backbone", "recurrent", "--c-train", "1,2", "--mean-r", "2",
              "--task", "permutation", "--moves", "4")
    rows = results(out)["rows"]
    assert {r["method"] for r in rows} == {"cot", "colar"} and len(rows) == 3 * 2
    script.command(rl.parse, rl.run, "rl.py",
                 [str(out), "--steps", "1", "--batch", "2", "--samples", "2", "--test-n", "4",
                  "--c", "2", "--threads", "1"])
    assert (tmp_path / "run-rl" / "results.json").exists()


def test_colar_is_measured_at_a_speed_that_it_knows(tmp_path, monkeypatch):
    """Not at c = 2, whatever it was trained at."""
    out = run(tmp_path, "--backbone", "recurrent", "--c-train", "3", "--mean-r", "2", "--task",
              "permutation", "--moves", "4", "--steps", "1", "--first-steps", "1")
    asked, solve = set(), CoLaR.solve
    monkeypatch.setattr(CoLaR, "solve", lambda *args, c=2: asked.add(c) or solve(*args, c=c))
    monkeypatch.setattr(depth, "draw", lambda figure, path: None)
    depth.main([str(out), "--n", "4", "--r", "1,2"])
    assert asked == {3}


def test_eval_takes_the_product_of_depth_settings(deep_run, tmp_path):
    path = tmp_path / "rows.json"
    evaluation.main([str(deep_run), "--n", "8", "--r", "2,9", "--exit", "none,latent",
                     "--threshold", "0.9", "--share", "1", "--draft", "0", "--warm",
                     "--json", str(path), "--plot", str(tmp_path / "r.png")])
    [record] = json.loads(path.read_text(encoding="utf-8"))
    assert [r["knobs"] for r in record["rows"]] == [
        {"r": r, **stop, "threshold": 0.9, "share": 1, "warm": True, "draft": 0}
        for r in (2, 9) for stop in ({}, {"exit": "latent"})]
    two, early, nine, stopped = (r["iterations"] for r in record["rows"])
    assert (two, nine) == (2, 9) and early <= 2 and 1 <= stopped < 9
    table = tables.summary([path])
    assert table.splitlines()[0].endswith("| iterations | cached numbers per token |")
    assert "r=9 exit=latent" in table
    per_block = 2 * 32                              # keys and values
    assert [r["cache"] for r in record["rows"]] == [3 * per_block] * 4


def test_depth_measures_and_draws(deep_run, tmp_path, capsys):
    depth.main([str(deep_run), str(deep_run), "--n", "12", "--r", "1,2,6", "--exit", "latent",
                "--threshold", "0.5", "--out", str(tmp_path)])
    assert "difficulty" in capsys.readouterr().out
    first, _ = json.loads((tmp_path / "depth.json").read_text(encoding="utf-8"))
    assert [a["r"] for a in first["accuracy"]] == [1, 2, 6]
    assert len(first["paths"]["apart"]) == 6 and len(first["paths"]["moved"]) == 5
    exits = sum(first["exits"].values(), [])
    assert len(exits) == 12 and all(1 <= e <= 6 for e in exits) and min(exits) < 6
    assert (tmp_path / "depth.png").stat().st_size > 5000


def test_only_runs_on_the_same_problems_are_pooled(deep_run, tmp_path, capsys):
    """Not those of two tasks that are as difficult."""
    other = run(tmp_path, "--method", "nocot", "--backbone", "recurrent", "--task", "permutation",
                "--conv", "0", "--mean-r", "3", "--group", "s5")
    made = [runs.load_run(one)[0] for one in (deep_run, other)]
    levels = [{e.difficulty for e in first_problems(task, "test", 80)} for task in made]
    assert levels[0] == levels[1]
    argv = [str(deep_run), str(other), "--n", "80", "--r", "1,2", "--out", str(tmp_path)]
    assert "its problems differ" in fails(argv, capsys, depth.main)
    assert not (tmp_path / "depth.json").exists()


def test_exits_and_states_belong_to_their_problems(deep_run):
    """The iterations of each problem are those it takes alone; so is the path of its state."""
    task, method, _ = runs.load_run(deep_run)
    examples = [task.sample("train", i) for i in range(5)]
    knobs = {"r": 8, "exit": "latent", "threshold": 0.2}
    together, states = depth.first_call(method, examples, **knobs)
    for i, e in enumerate(examples):
        steps, path = depth.first_call(method, [e], **knobs)
        assert steps.item() == together[i]
        torch.testing.assert_close(path[:, 0], states[:len(path), i], atol=1e-4, rtol=1e-4)


def test_principal_components():
    """Points on a line in space: the first coordinate holds all of their distances."""
    t = torch.tensor([[0.0, 1], [2, 5], [9, 4]])                        # (r, B)
    found = depth.principal(t[..., None] * torch.tensor([0.6, 0.0, 0.8]) + 7)
    torch.testing.assert_close(found[..., 1], torch.zeros(3, 2), atol=1e-5, rtol=0)
    line = found[..., 0].flatten()
    torch.testing.assert_close((line[:, None] - line).abs(), (t.flatten()[:, None]
                               - t.flatten()).abs(), atol=1e-5, rtol=0)


def test_bad_input(deep_run, tmp_path, capsys):
    for argv, message in (([str(deep_run), "--exit", "kll"], "nearest: kl"),
                          ([str(deep_run), "--r", "0,2"], "at least 1"),
                          ([str(deep_run), "--data", "none.json"], "none.json: No such file"),
                          ([str(deep_run), "--out", "nowhere"], "no such folder")):
        assert message in fails(argv, capsys, depth.main)
    gpt = run(tmp_path, "--method", "nocot")
    assert "does not iterate" in fails([str(gpt)], capsys, depth.main)
    for argv, message in ((["--exit", "kll"], "nearest: kl"), (["--r", "0"], "at least 1"),
                          (["--share", "-1"], "at least 0"),
                          (["--draft", "2", "--k", "1"], "--draft: for greedy decoding"),
                          (["--draft", "0,2", "--exit", "kl"], "goes with neither")):
        assert message in fails([str(deep_run), *argv], capsys, evaluation.main)
    assert "three equal parts" in fails([*NANO, "--backbone", "recurrent", "--layers", "4",
                                         "--out", str(tmp_path / "o")], capsys)
    assert "unknown --backbone" in fails([*NANO, "--backbone", "recurent"], capsys)
