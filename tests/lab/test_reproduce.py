"""Repeating recorded commands: their order, what is skipped, resumed and left out."""
import json
from pathlib import Path

import pytest

from lab import plan, reproduce
from lab.plan import Claim, Decision, Gain, Run
from tests.helpers import fails

FAKE = """import json, pathlib, sys
argv = sys.argv[1:]
if "9" in argv:                             # the seed that fails
    sys.exit(1)
out = pathlib.Path(argv[argv.index("--json" if "--json" in argv else "--out") + 1])
if "--json" not in argv:
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text("{}", encoding="utf-8")
    out = out / "results.json"
out.write_text(json.dumps(argv), encoding="utf-8")
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of fake scripts: run b starts from run a, an evaluation needs b; seed 9 fails."""
    def record(name, command):
        path = tmp_path / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"config": {"command": command}, "minutes": 2.0}),
                        encoding="utf-8")
    record("deep/e.json", "python eval.py runs/b --n 4 --json old.json")
    record("deep/b.json", "python train.py --method colar --init runs/a --out runs/b")
    record("wide/c.json", "python train.py --method cot --seed 1 --out runs/c")
    (tmp_path / "results/runs.txt").write_text(
        "python train.py --method cot --out runs/a  # 3.5 minutes\n"
        "python train.py --method cot --seed 9 --out runs/bad  # 1 minutes\n", encoding="utf-8")
    for script in ("train.py", "eval.py", "rl.py"):
        (tmp_path / script).write_text(FAKE, encoding="utf-8")
    monkeypatch.setattr(reproduce, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    return record


def commands(folders=()):
    return [" ".join(one.argv) for one in reproduce.plan(folders)]


def test_what_is_needed_comes_first_and_once(project):
    a, b, e, c = (one for one in reproduce.plan([]))
    assert (a.run, b.run, e.run, c.run) == ("runs/a", "runs/b", "", "runs/c")
    assert e.argv == ["eval.py", "runs/b", "--n", "4"] and e.needs == ["runs/b"]
    assert a.minutes == 3.5 and a.results == [] and b.results == ["deep/b.json"]
    assert commands(["wide"]) == ["train.py --method cot --seed 1 --out runs/c"]


def test_what_is_needed_may_be_recorded_in_another_folder(project):
    project("other/f.json", "python eval.py runs/b runs/c --n 4")
    jobs = reproduce.plan(["other"])
    assert [one.run for one in jobs] == ["runs/a", "runs/b", "runs/c", ""]
    assert [one.results for one in jobs] == [[], [], [], ["other/f.json"]]


def test_runs_everything_then_nothing(project):
    jobs, out = reproduce.plan([]), Path("again")
    assert reproduce.work(jobs, out, 2) == []
    assert all(one.done(out) for one in jobs)
    found = {str(p.relative_to(out)) for p in out.glob("*/*.json")}
    assert found == {"deep/e.json", "deep/b.json", "wide/c.json"}
    deep = json.loads((out / "deep/b.json").read_text(encoding="utf-8"))
    assert deep[:2] == ["--method", "colar"]
    before = {p: p.stat().st_mtime_ns for p in Path().glob("*/**/*.json")}
    assert reproduce.work(reproduce.plan([]), out, 2) == []
    assert before == {p: p.stat().st_mtime_ns for p in Path().glob("*/**/*.json")}


def test_what_was_begun_is_resumed(project):
    c = reproduce.plan(["wide"])[0]
    assert "--resume" not in c.command(Path("again"))
    Path("runs/c").mkdir(parents=True)
    Path("runs/c/config.json").write_text("{}", encoding="utf-8")
    assert c.command(Path("again"))[-1] == "--resume"


def test_a_failure_stops_only_what_depends_on_it(project, capsys):
    project("wide/d.json", "python rl.py runs/bad")
    with pytest.raises(SystemExit, match="2 of 6 commands failed"):
        reproduce.main(["deep", "wide"])
    assert "FAILED (1): train.py --method cot --seed 9" in capsys.readouterr().out
    assert Path("again/wide/c.json").exists() and not Path("again/wide/d.json").exists()


@pytest.mark.parametrize("name, command, message", [
    ("x/y.json", "python eval.py runs/lost", "runs/lost: no command in results/ makes it"),
    ("x/y.json", "python train.py --method cot --seed 2 --out runs/c", "another command makes"),
])
def test_bad_records(project, name, command, message, capsys):
    project(name, command)
    with pytest.raises(SystemExit, match="2"):
        reproduce.main(["--list", "deep", "wide", "x"])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command, argv", [
    ("python train.py --method cot --sort 1 --accum 2 --clip 0.5 --drop 0.1",
     "train.py --method cot --bucket 1 --grad-accum 2 --grad-clip 0.5 --word-dropout 0.1"),
    ("python rl.py runs/a --punish 2 --beta 0", "rl.py runs/a --length-penalty 2 --kl-penalty 0"),
    ("python eval.py runs/a --n 4 --controls --json old.json", "-m lab.controls runs/a --n 4"),
    ("python eval.py runs/a --decode", "-m lab.latents runs/a"),
    ("python -m lab.controls runs/a --json old.json", "-m lab.controls runs/a")])
def test_old_names_are_translated(command, argv):
    script, flags = reproduce.todays(command)
    assert " ".join(script + flags) == argv


@pytest.mark.parametrize("config, more", [
    ({"conv": 4, "weight_decay": 0.01, "drop": 0.0, "accum": 2},
     "--dropout 0.0 --grad-accum 2 --weight-decay 0.01 --rare pieces --vocabulary 2000 --asked 0.0 "
     "--word-dropout 0.0"),
    ({"lr": 0.1, "seed": 3, "steps": 7, "vocabulary": 1000, "rare": "slots", "asked": 0.6,
      "dropout": 0.1, "word_dropout": 0.1, "device": "cuda", "bucket": None},
     "--weight-decay 0.1")])
def test_what_was_the_default_then_is_spelled_out(config, more):
    """By names of today. Flags of the command stay; what the config lacks is as declared."""
    argv = "--task gsm8k --method nocot --lr 2e-3 --seed 1 --steps 9".split()
    found = reproduce.spelled_out(["train.py"], argv, config)
    assert found[:len(argv)] == argv and " ".join(found[len(argv):]) == more


def test_every_recorded_training_is_repeated_as_it_was():
    """Today's parser gives it the settings that were recorded."""
    trained = 0
    for one in reproduce.plan([]):
        for name in one.results if one.argv[0] == "train.py" else ():
            record = reproduce.as_list(reproduce.read_json(reproduce.ROOT / "results" / name))[0]
            now = reproduce.parse(one.argv[1:])
            then = {reproduce.today(key): value for key, value in record["config"].items()}
            assert {key for key in now.keys() & then.keys() if now[key] != then[key]} <= {
                "device", "dtype", "init", "command"}, name
            trained += 1
    assert trained > 100


def test_a_reinforced_run_is_repeated_as_it_was():
    argv = ["runs/a", "--no-average", "--lr", "1e-3"]
    found = reproduce.spelled_out(["rl.py"], argv, {"punish": 2.0, "lr": 0.1, "minibatch": 128,
                                                    "average": True, "split": "long", "seed": 5})
    assert found[len(argv):] == ["--minibatch", "128", "--length-penalty", "2.0"]


def test_a_default_that_is_no_longer_allowed_is_one_line(project, capsys):
    path = Path("results/deep/b.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    record["config"]["optimizer"] = "lion"
    path.write_text(json.dumps(record), encoding="utf-8")
    line = fails(["--list", "deep"], capsys, reproduce.main)
    assert "runs/b: cannot be repeated, as a default has changed (unknown --optimizer" in line


def test_a_script_of_the_laboratory_is_run_from_anywhere(project):
    """Its folder is found, wherever the command is given."""
    project("deep/e.json", "python eval.py runs/c --controls")
    (reproduce.ROOT / "lab").mkdir()
    (reproduce.ROOT / "lab/controls.py").write_text(FAKE, encoding="utf-8")
    assert reproduce.work(reproduce.plan(["deep", "wide"]), Path("again"), 1) == []
    assert json.loads(Path("again/deep/e.json").read_text(encoding="utf-8"))[0] == "runs/c"


def test_unknown_folder(project, capsys):
    with pytest.raises(SystemExit, match="2"):
        reproduce.main(["deap"])
    assert "nearest: deep" in capsys.readouterr().err


@pytest.fixture
def claims(project, monkeypatch):
    """A plan of two claims: colar and its evaluation, both from one cot; and cot against nocot."""
    made = {"cot": Run("train.py --method cot", 30.0, 2), "nocot": Run("train.py", 90.0, 1),
            "colar": Run("train.py --method colar --init {cot}", 30.0, 2),
            "dial": Run("eval.py {colar} --c 6", 6.0, 1)}
    decided = {7: Decision([Gain("colar: colar c=2", "dial: colar c=6", "", 0)], Gain("", "", "")),
               3: Decision([Gain("cot: cot", "nocot: nocot", "", 0)], Gain("", "", ""), "more")}
    for module in (plan, reproduce):
        monkeypatch.setattr(module, "RUNS", made)
        monkeypatch.setattr(module, "PLAN", decided)
    titles = {number: Claim("", f"title {number}", "", "") for number in decided}
    monkeypatch.setattr(reproduce, "CLAIMS", titles)
    monkeypatch.setattr(plan, "FIRST_SEED", 10)


def names(jobs):
    return {number: [one.results[0].removeprefix("evidence/") for one in some]
            for number, some in jobs.items()}


ALL = {7: ["cot/s10.json", "colar/s10.json", "dial/s10.json", "cot/s11.json", "colar/s11.json"],
       3: ["nocot/s10.json"]}


def test_claims_are_in_order_and_share_their_runs(claims):
    jobs = reproduce.planned([7, 3], Path("again"))
    assert names(jobs) == ALL
    assert names(reproduce.planned([3, 7], Path("again")))[3] == [
        "cot/s10.json", "nocot/s10.json", "cot/s11.json"]
    colar, dial = jobs[7][1:3]
    assert colar.argv[:5] == ["train.py", "--method", "colar", "--init", "runs/evidence/cot-s10"]
    assert colar.needs == ["runs/evidence/cot-s10"] and "--threads 1" in " ".join(colar.argv)
    assert dial.command(Path("again"))[-2:] == ["--json", "runs/evidence/dial-s10.json"]


def test_claims_are_run_once_and_results_name_no_machine(claims, tmp_path, capsys):
    """The fake scripts write their arguments, here with the folder that they are in."""
    for script in ("train.py", "eval.py"):
        text = (tmp_path / script).read_text(encoding="utf-8")
        text = text.replace("dumps(argv)", "dumps([*argv, str(pathlib.Path.cwd() / 'x')])")
        (tmp_path / script).write_text(text, encoding="utf-8")
    reproduce.main([])
    out = Path("again/evidence")
    made = {path.relative_to(out).as_posix() for path in out.glob("*/*.json")}
    assert made == set(sum(ALL.values(), []))
    text = Path("again/evidence/dial/s10.json").read_text(encoding="utf-8")
    assert json.loads(text)[-1] == "x" and str(tmp_path) not in text
    reproduce.main([])
    assert "0 commands to run" in capsys.readouterr().out


def test_a_run_is_repeated_for_its_folder_alone_and_its_results_stay(claims):
    """The results of cot are there, its folder is not, and colar of seed 11 still needs it."""
    out = Path("again")
    for name in ALL[7][:4]:
        (out / "evidence" / name).parent.mkdir(parents=True, exist_ok=True)
        (out / "evidence" / name).write_text("kept", encoding="utf-8")
    jobs = reproduce.planned([7], out)
    assert names(jobs) == {7: ["cot/s11.json", "colar/s11.json"]}
    assert reproduce.work(jobs[7], out, 1) == []
    assert (out / "evidence/cot/s11.json").read_text(encoding="utf-8") == "kept"
    assert "--init" in (out / "evidence/colar/s11.json").read_text(encoding="utf-8")


def test_nothing_starts_that_would_end_too_late(claims, capsys):
    """Of an hour a run of 90 minutes takes too long; the others are counted as they are planned."""
    reproduce.main(["--hours", "1"])
    assert not Path("again/evidence/nocot").exists() and Path("again/evidence/dial").exists()
    assert "1 commands are left: --hours 1 was too short" in capsys.readouterr().out


def test_hours_are_listed_by_claim(claims, capsys):
    """A result says what a run has taken, which then replaces the guess; cot counts once."""
    reproduce.main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["7", "~2.1", "5", "title", "7"]
    assert lines[2].split() == ["3", "~1.5", "1", "title", "3;", "needs", "more"]
    assert "6 commands to run, at least 1.8 hours" in lines
    for name in ("cot", "nocot", "colar", "dial"):
        path = reproduce.ROOT / "results/evidence" / name / "s10.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"minutes": 12.0}), encoding="utf-8")
    reproduce.main(["--list", "7"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == ["7", "1.0", "5"] and "train.py --method cot" in lines[3]


@pytest.mark.parametrize("what, message", [
    (["8"], "unknown claim '8'"), (["7", "deep"], "either numbers of claims, or folders")])
def test_unknown_claims(claims, what, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        reproduce.main(what)
    assert message in capsys.readouterr().err


def test_every_recorded_command_of_this_project_can_be_planned():
    jobs = reproduce.plan([])
    files = {name for one in jobs for name in one.results}
    root = reproduce.ROOT / "results"
    assert files == {str(p.relative_to(root)) for p in root.glob("*/*.json")
                     if p.parent.name not in reproduce.OLD}


def test_a_recorded_run_keeps_the_folder_that_it_had_by_default():
    command = "python train.py --pool mean --seed 3"
    new, old = reproduce.job(command), reproduce.job(
        command, 1.0, {"out": "runs/colar-arithmetic-tiny-s3"})
    assert new.run == "runs/colar-arithmetic-tiny-pool=mean-s3" and "--out" not in new.argv
    assert old.run == "runs/colar-arithmetic-tiny-s3" and old.argv[-2:] == ["--out", old.run]
    assert reproduce.job(command, 1.0, {"out": new.run}).argv == new.argv


def test_a_damaged_file_of_results_is_named(project, capsys):
    path = reproduce.ROOT / "results/deep/e.json"
    path.write_text("{", encoding="utf-8")
    assert f"{path}: damaged, or not JSON" in fails(["deep", "--list"], capsys, reproduce.main)
