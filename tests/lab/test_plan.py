"""The plan: every command can be given, every row is named, and results came after it."""
import importlib.util
import json
import shlex
import subprocess

import pytest

import eval as evaluation
import rl
import runs
import train
from data import common
from data.cli import BadInput
from lab import claims, plan

ROOT = claims.ROOT
EVIDENCE = sorted((ROOT / "results/evidence").glob("*/*.json"))


@pytest.mark.parametrize("name", plan.RUNS)
def test_every_command_can_be_given(name):
    script, *argv = shlex.split(plan.of(name, 10))
    if script == "train.py":
        config = runs.parse(argv)
        assert (config["seed"], config["threads"], config["test_n"]) == (10, 1, 1000)
        assert config["test_split"] == "fresh" and config["out"] == plan.folder(name, 10)
        wanted = runs.METHODS[config["method"]].PARENT
        assert bool(config["init"]) == bool(wanted)
        for parent in plan.parents(name):
            before = runs.parse(shlex.split(plan.of(parent, 10))[1:])
            assert (config["init"], before["method"]) == (before["out"], wanted)
            shared = [*runs.STAGES_SHARE, *runs.TASKS[config["task"]].FLAGS,
                      *runs.METHODS[wanted].FLAGS, *runs.BACKBONES[config["backbone"]].FLAGS]
            assert all(config[flag] == before[flag] for flag in shared)
    elif script == "rl.py":     # whose flags are checked once its run is there
        assert argv[0] == plan.folder(*plan.parents(name), 10) and "1000" in argv
        assert {flag[2:].replace("-", "_") for flag in argv if flag.startswith("--")} <= {
            "out", *rl.FLAGS, *runs.METHODS["colar"].KNOBS}
    else:
        prog = argv.pop(0) if script == "-m" else script
        args, _ = evaluation.parse(argv, prog, "")
        assert args.runs == [plan.folder(parent, 10) for parent in plan.parents(name)]
        assert args.n == 1000 and args.split.endswith("fresh")
    assert all(plan.RUNS[name].seeds <= plan.RUNS[parent].seeds for parent in plan.parents(name))


def test_seeds_chose_nothing_and_are_as_many_as_was_said():
    for name, run in plan.RUNS.items():
        assert min(plan.seeds(name)) >= 10 and run.seeds in (5, 8)
        assert run.seeds == 8 or run.minutes > 10 or any(
            plan.RUNS[other].minutes > 10 for number in plan.PLAN
            for other in plan.runs_of(number) if name in plan.runs_of(number))


def test_every_row_is_of_a_run_and_every_run_is_needed():
    needed = set().union(*map(plan.runs_of, plan.PLAN))
    assert needed == set(plan.RUNS)
    assert plan.PLAN.keys() == plan.CLAIMS.keys()
    assert list(plan.PLAN)[:10] == [1, 4, 2, 20, 17, 18, 15, 6, 3, 10]
    for number, (decides, control, needs) in plan.PLAN.items():
        names = {row.split(": ")[0] for row in plan.rows_of([decides, control])}
        assert needs or names <= set(plan.RUNS), number
        assert all(spec.bound is not None for spec in decides), number
        assert not hasattr(control, "bound") or control.bound is None


def test_no_run_is_called_as_a_folder_of_earlier_results():
    assert not {path.name for path in (ROOT / "results").iterdir()} & plan.RUNS.keys()


def test_no_bound_is_weaker_than_before():
    """Those of claims.py at 097c379, claim by claim, as lab/earlier.py has them."""
    for number, (before, _) in claims.EARLIER.items():
        now = plan.PLAN[number].decides
        assert [(type(spec), spec.bound) for spec in now] == [
            (type(spec), spec.bound) for spec in before], number


def test_what_a_claim_needs_comes_first_and_once():
    names = plan.runs_of(2)
    assert names.index("cot") < names.index("colar") and len(names) == len(set(names))
    assert plan.runs_of(6)[0] == "vqvae-maze" and plan.runs_of(6)[-1] == "maze-random"
    assert plan.seeds_of(1) == 8 and plan.seeds_of(15) == 5
    assert plan.of("samples", 11).startswith("eval.py runs/evidence/colar-s11 --split long-fresh")


# ---- results came after it -----------------------------------------------------------------------

def git(*argv):
    found = subprocess.run(["git", *argv], capture_output=True, encoding="utf-8", cwd=ROOT)
    return found.stdout.strip() if found.returncode == 0 else None


def plan_of(commit):
    """(PLAN, RUNS) as a commit had them; of today's code only the text of that file is run."""
    space = {"__name__": "plan"}
    exec(git("show", f"{commit}:lab/plan.py") or "PLAN, RUNS = {}, {}", space)
    return space["PLAN"], space["RUNS"]


def test_an_earlier_plan_can_be_read():
    if git("rev-parse", "--is-shallow-repository") != "false":
        pytest.skip("no history")
    assert plan_of("097c379") == ({}, {})
    first = git("log", "--format=%H", "--reverse", "-SPLAN = {", "--", "lab/plan.py")
    if first:       # else it has not been committed yet
        assert plan_of(first.split()[0])[0]


@pytest.mark.parametrize("path", EVIDENCE, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_result_was_made_after_its_plan(path):
    """Its commit is one of this history, with no change in the files, and had the same decision for
    every claim that the result counts for, and the same commands behind it."""
    if git("rev-parse", "--is-shallow-repository") != "false":
        pytest.skip("no history")
    records = json.loads(path.read_text(encoding="utf-8"))
    for one in records if isinstance(records, list) else [records]:
        commit = one["git"]
        assert not commit.endswith("+"), "files differed from the commit"
        assert git("merge-base", "--is-ancestor", commit, "HEAD") is not None
        decided, commands = plan_of(commit)
        for name in plan.line_of(path.parent.name):
            assert commands[name].command == plan.RUNS[name].command, name
        for number, decision in plan.PLAN.items():
            if path.parent.name in plan.runs_of(number):
                assert decided[number].decides == decision.decides, number
        assert plan.of(path.parent.name, one["seed"]) in one["config"]["command"]


def test_a_row_that_the_plan_names_must_be_in_its_results(tmp_path, monkeypatch):
    """Nothing yet is fine; results without that row are not."""
    monkeypatch.setattr(claims, "RESULTS", tmp_path)
    monkeypatch.setattr(claims, "ROOT", tmp_path.parent)
    monkeypatch.setattr(claims, "rows", lambda folder: {})
    assert claims.find("cot: cot") == []
    row = {0: {"method": "cot", "knobs": {}}}
    monkeypatch.setattr(claims, "rows", lambda folder: {("cot --shuffle", "", "", 9): row})
    assert claims.find("cot: cot") == [row]
    monkeypatch.setattr(claims, "ROOT", tmp_path)
    monkeypatch.setattr(claims, "RESULTS", tmp_path / "results")
    with pytest.raises(BadInput, match="0 rows are called"):
        claims.find("cot: pause")


@pytest.mark.slow
def test_every_run_makes_the_rows_that_the_plan_names(tmp_path, monkeypatch):
    """All commands with a single update of a small model, four problems and one seed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(common, "USED", 2)
    made = []
    for name in {run: None for number in plan.PLAN for run in plan.runs_of(number)}:
        script, *argv = shlex.split(plan.of(name, 10))
        path = tmp_path / f"{name}.json"
        if script == "train.py":
            train.main([*argv, "--steps", "1", "--width", "32", "--val-n", "2", "--test-n", "4"])
            path = tmp_path / plan.folder(name, 10) / "results.json"
        elif script == "eval.py":
            evaluation.main([*argv, "--n", "4", "--json", str(path)])
        elif importlib.util.find_spec(argv[0]):
            importlib.import_module(argv[0]).main([*argv[1:], "--n", "8", "--json", str(path)])
        else:
            continue
        made.append(name)
        target = tmp_path / "results/evidence" / name / "s10.json"
        target.parent.mkdir(parents=True)
        path.rename(target)
    monkeypatch.setattr(claims, "ROOT", tmp_path)
    monkeypatch.setattr(claims, "RESULTS", tmp_path / "results")
    claims.rows.cache_clear()
    for number, (decides, control, _) in plan.PLAN.items():
        for row in plan.rows_of([decides, control]):
            if row.split(": ")[0] in made:
                assert claims.find(row), row
    claims.rows.cache_clear()
