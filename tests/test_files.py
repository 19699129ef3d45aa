"""Files are whole or not there, damaged ones get one clear line, and what cannot be written is said
before the work."""
import argparse
import errno
import json
import os
import shutil

import pytest
import torch

import eval as evaluation
import rl
import runs
import train
from data import checkpoint, files
from data.cli import BadInput, Flag, one_line
from data.rows import plot_rewards, read_results
from lab import bench, claims, codes, depth, reproduce, tables
from tests.helpers import NANO, fails, log, results, run, untimed

NEW = [*NANO, "--method", "cot", "--test-n", "4", "--out"]
RESUME = ["--resume", *NEW]
LONG = "x" * 256


@pytest.fixture(scope="module")
def cot_run(tmp_path_factory):
    return run(tmp_path_factory.mktemp("cot"), *NEW[:-1])


@pytest.fixture
def copy(cot_run, tmp_path):
    """A run that is trained, but not yet tested."""
    shutil.copytree(cot_run, tmp_path / "copy")
    (tmp_path / "copy" / "results.json").unlink()
    return tmp_path / "copy"


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


# ---- writing -------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["a.pt", "x" * 255, os.fsdecode("é".encode() * 127)])
def test_a_file_is_the_old_one_or_the_new(name, tmp_path, monkeypatch):
    path = tmp_path / name
    files.write(path, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(files.NotWritten, match="No space left"):
        files.write(path, "new")
    monkeypatch.undo()
    assert path.read_text(encoding="utf-8") == "old" and os.listdir(tmp_path) == [name]
    files.write(path, b"new")
    assert path.read_text(encoding="utf-8") == "new" and os.listdir(tmp_path) == [name]


def test_files_with_one_stem_do_not_meet(tmp_path, monkeypatch):
    """While results.json is written, results.pt can be, too."""
    replace = os.replace

    def other_first(part, path):
        monkeypatch.setattr(os, "replace", replace)
        files.write(tmp_path / "results.pt", "other")
        replace(part, path)
    monkeypatch.setattr(os, "replace", other_first)
    files.write(tmp_path / "results.json", "mine")
    assert (tmp_path / "results.json").read_text(encoding="utf-8") == "mine"
    assert (tmp_path / "results.pt").read_text(encoding="utf-8") == "other"


def test_a_link_stays_a_link(tmp_path):
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(file)
    files.write(link, "text")
    assert link.is_symlink() and file.read_text(encoding="utf-8") == "text"


@pytest.mark.parametrize("path, message", [
    (".", "is a folder"), ("/", "is a folder"), ("none/x", "no such folder"), (LONG, "too long"),
    ("/dev/null", "no file that could be replaced"), ("file/x", "Not a directory")])
def test_what_cannot_be_written_is_known_before(path, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(files.NotWritten, match=message):
        files.writable(path)


def test_a_log_is_cut_back_to_its_run(tmp_path, capsys):
    path = tmp_path / "log.jsonl"
    good = ['{"step": 1, "loss": 2.5}\n', '{"step": 2, "loss": NaN}\n',
            '{"step": 2, "val": [{"knobs": {}, "accuracy": 1, "steps": 2.5}]}\n']
    bad = ['{"step": 1, "lo{"step": 1}\n', "[]\n", "[" * 10**5 + "\n", '{"loss": 1}\n', "\xff\n",
           '{"step": 1, "loss": "x"}\n', '{"step": 1, "val": [{}]}\n',
           '{"step": 1, "val": [{"accuracy": 1, "steps": 2.5}]}\n', f'{{"step": {10**400}}}\n',
           '{"step": 3, "loss": 2.5}\n', '{"step": 1, "loss": 2']
    path.write_text("".join(good[:1] + bad[:5] + good[1:] + bad[5:]), encoding="latin-1")
    opened = files.Log(path, 2)
    assert path.read_text(encoding="utf-8") == "".join(good)
    assert f"{len(bad)} lines are gone" in capsys.readouterr().out
    opened.write(step=3, loss=1.0)
    opened.close()
    assert [row["step"] for row in files.read_log(path)] == [1, 2, 2, 3]
    files.Log(path, 3).close()
    assert capsys.readouterr().out == ""
    with pytest.raises(BadInput):
        files.Log(tmp_path, 0)


@pytest.mark.parametrize("refuses", [True, False])
def test_no_half_line_on_a_full_disk(refuses, tmp_path):
    opened = files.Log(tmp_path / "log.jsonl", 0)
    opened.write(step=1)
    real = opened.file

    class Little:
        tell, truncate = real.tell, real.truncate

        def write(self, line):
            written = real.write(line[:5])
            return full() if refuses else written
    opened.file = Little()
    with pytest.raises(files.NotWritten, match="No space left"):
        opened.write(step=2)
    assert (tmp_path / "log.jsonl").read_text(encoding="utf-8") == '{"step": 1}\n'


@pytest.mark.parametrize("name", ["config.json", "ckpt.pt", "results.json"])
def test_a_full_disk_stops_a_run_in_one_line_and_nothing_is_lost(name, cot_run, tmp_path,
                                                                 monkeypatch, capsys):
    fsync, out = os.fsync, tmp_path / "run"

    def nearly_full(descriptor):
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(name + files.PART):
            full()
        fsync(descriptor)
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc here")
    monkeypatch.setattr(os, "fsync", nearly_full)
    argv = [*NEW, str(out)]
    line = fails(argv, capsys)
    assert "No space left" in line and name in line and "--resume" in line
    assert not list(out.glob("*.part"))
    monkeypatch.undo()
    train.main([*argv, "--resume"])
    assert untimed(log(out)) == untimed(log(cot_run))


# ---- what is damaged -----------------------------------------------------------------------------

def change(*keys, to=None, by=None):
    """What changes a checkpoint at one place of its nested dicts and lists."""
    def apply(state):
        for key in keys[:-1]:
            state = state[key]
        state[keys[-1]] = by(state[keys[-1]]) if by else to
    return apply


EMBED = "model.embed.weight"


@pytest.mark.parametrize("damage", [
    *(change(key, to=None) for key in ("config", "step", "dtype", "method", "optimizers", "rng")),
    *(lambda state, key=key: state.pop(key) for key in (*checkpoint.CHECKPOINT, "format")),
    change("step", to=-1), change("step", to=10**9), change("dtype", to="int8"),
    change("seconds", to="x"), change("method", EMBED, to=[1.0]),
    *(change("method", EMBED, by=by) for by in (
        torch.Tensor.long, torch.Tensor.to_sparse, torch.Tensor.double, lambda x: x[:, :1])),
    change("method", "more", to=torch.zeros(1)), change("config", "method", to=[]),
    change("config", "task", to="mazes"), change("config", "steps", to="many"),
    change("config", "width", to=10**18), change("config", "lr", to=float("nan")),
    change("config", "heads", to=3), change("config", "seed", to=None),
    change("config", "max_think", to="9"), change("scaler", to={"scale": "x"}),
    change("optimizers", to=[]), change("optimizers", 0, "state", to={0: {}}),
    *(change("optimizers", 0, "state", 0, "exp_avg", by=by) for by in (
        torch.Tensor.to_sparse, torch.Tensor.long, lambda x: x[..., :1], torch.Tensor.tolist)),
    change("optimizers", 0, "state", 0, "step", to=3),
    change("rng", to=torch.zeros(3)), change("config", "init", to=5),
])
def test_a_checkpoint_with_other_contents_gets_one_line(damage, copy, capsys):
    state = torch.load(copy / "ckpt.pt", weights_only=True)
    damage(state)
    torch.save(state, copy / "ckpt.pt")
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert str(copy / "ckpt.pt") in fails([*RESUME, str(copy)], capsys)
    assert all((copy / name).read_bytes() == content for name, content in before.items())


def test_of_an_optimizer_the_moments_alone_are_read(copy, cot_run):
    """All else follows from the flags, whatever a checkpoint says of it."""
    state = torch.load(copy / "ckpt.pt", weights_only=True)
    state["optimizers"][0]["param_groups"] = []
    torch.save(state, copy / "ckpt.pt")
    train.main([*RESUME, str(copy)])
    ours, whole = (results(folder)["rows"][0] for folder in (copy, cot_run))
    assert ours | {"ms": 0} == whole | {"ms": 0}


@pytest.mark.parametrize("text", ["", "{}", "[" * 10**5, None])
def test_a_damaged_config_is_made_anew(text, copy, cot_run, capsys):
    """From the checkpoint, which holds it."""
    (copy / "config.json").unlink()
    if text is not None:
        (copy / "config.json").write_text(text, encoding="utf-8")
    assert "add --resume" in fails([*NEW, str(copy)], capsys)
    train.main([*RESUME, str(copy)])
    for config_of in (lambda folder: files.read_json(folder / "config.json"),
                      lambda folder: results(folder)["config"]):
        one, other = config_of(copy), config_of(cot_run)
        assert {name for name in one if one[name] != other[name]} <= {"out", "command"}


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_run_that_was_stopped_as_it_began_begins(resume, copy):
    (copy / "config.json").write_text("{", encoding="utf-8")
    (copy / "ckpt.pt").unlink()
    train.main([*NEW, str(copy), *resume])
    assert runs.load(copy)["step"] == 10 and files.read_json(copy / "config.json")
    assert [row["step"] for row in log(copy)] == [2, 4, 6, 8, 10, 10]


def test_a_config_without_its_first_stage_is_damaged(copy):
    config = files.read_json(copy / "config.json")
    del config["init"]
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    train.main([*RESUME, str(copy)])
    assert files.read_json(copy / "config.json")["init"] is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "[" * 10**5, "[3]", '[{"rows": [{}]}]'])
def test_damaged_results_are_made_anew_or_refused(text, copy, capsys):
    (copy / "results.json").write_text(text, encoding="utf-8")
    line = fails([str(copy / "results.json")], capsys, tables.main)
    assert str(copy / "results.json") in line and ("damaged" in line or "no results" in line)
    train.main([*RESUME, str(copy)])
    assert "the final test is run again" in capsys.readouterr().out
    assert read_results(copy / "results.json")[0]["rows"][0]["n"] == 4


@pytest.mark.parametrize("keys, value", [
    (("accuracy",), "x"), (("n",), 0), (("n",), 10**400), (("ms",), None), (("steps",), []),
    (("knobs",), []), (("knobs",), {"c": [2]}), (("method",), 5), (("by_difficulty",), {"1": 3}),
    (("config", "task"), "mazes"), (("method",), "colr"), (("config", "seed"), None),
    (("config", "steps"), "x"), (("config", "size"), "big"), (("config", "backbone"), []),
    (("loss",), "x"), (("updates",), "x"), (("run",), 7), (("right",), "1"), (("right",), 5),
    (("problems",), []), (("right",), "0x11")])
def test_results_with_one_odd_value_get_one_line(keys, value, cot_run, tmp_path, capsys):
    record = results(cot_run)
    target = record if keys[0] == "config" else record["rows"][0]
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = value
    (tmp_path / "r.json").write_text(json.dumps(record), encoding="utf-8")
    line = fails([str(tmp_path / "r.json")], capsys, tables.main)
    assert str(tmp_path / "r.json") in line
    (tmp_path / "default").mkdir()
    shutil.copy(tmp_path / "r.json", tmp_path / "default")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "RESULTS", claims.RESULTS)
        claims.rows.cache_clear()
        assert "r.json" in fails([str(tmp_path)], capsys, claims.main)
        claims.rows.cache_clear()


@pytest.mark.parametrize("name", ["curves.png", "accuracy.png"])
def test_a_missing_figure_is_drawn(name, cot_run, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "draw", files.draw)
    shutil.copytree(cot_run, tmp_path / "copy")
    (tmp_path / "copy" / name).unlink()
    train.main([*RESUME, str(tmp_path / "copy")])
    assert (tmp_path / "copy" / name).stat().st_size > 5000


@pytest.mark.parametrize("text", ["", '{"step": 1, "reward": 0.5, "steps": 3}\n{"step": 2, "re',
                                  '{"step": 1, "reward": 1}\n[]\n{"step": 1, "val": []}\n'])
def test_the_figure_of_rl_passes_over_damaged_lines(text, tmp_path):
    (tmp_path / "log.jsonl").write_text(text, encoding="utf-8")
    drawn = plot_rewards(files.read_log(tmp_path / "log.jsonl"))
    assert list(drawn.axes[0].lines[0].get_xdata()) == ([1] if "steps" in text else [])
    files.draw(drawn, tmp_path / "reward.png")


# ---- before the work -----------------------------------------------------------------------------

@pytest.fixture
def no_work(monkeypatch):
    for module, name in ((evaluation, "measure"), (depth, "measure"), (bench, "table"),
                         (codes, "meanings"), (claims, "table"), (reproduce, "work")):
        monkeypatch.setattr(module, name, None)


@pytest.fixture(scope="module")
def deep_run(tmp_path_factory):
    return run(tmp_path_factory.mktemp("deep"), "--method", "nocot", "--backbone", "recurrent",
               "--mean-r", "1", "--task", "permutation", "--test-n", "2", "--steps", "1")


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("main, argv", [
    (evaluation.main, ["RUN", "--json", "FOLDER"]), (evaluation.main, ["RUN", "--json", LONG]),
    (evaluation.main, ["RUN", "--plot", LONG + ".png"]), (evaluation.main, ["RUN", "NONE"]),
    (evaluation.main, ["RUN", LONG]), (evaluation.main, ["RUN", ""]), (depth.main, ["RUN", "NONE"]),
    (evaluation.main, ["RUN", "--json", "/dev/null"]), (depth.main, [LONG]),
    (depth.main, ["RUN", "--out", LONG]), (codes.main, [LONG]),
    (bench.main, ["--size", "nano", "--json", "FOLDER"]), (claims.main, [""]),
    (claims.main, [LONG]), (reproduce.main, ["default", "--out", LONG]),
    (train.main, [*NANO, "--out", LONG]), (train.main, [*NANO, "--out", ""]),
    (train.main, [*NANO, "--init", LONG]),
], ids=lambda value: None if callable(value) else " ".join(value)[:40])
def test_names_that_nothing_can_have_get_one_line(main, argv, deep_run, tmp_path, monkeypatch,
                                                  capsys):
    monkeypatch.chdir(tmp_path)
    names = {"RUN": str(deep_run), "FOLDER": str(tmp_path), "NONE": str(tmp_path / "none")}
    before = sorted(deep_run.iterdir())
    fails([names.get(word, word) for word in argv], capsys, main)
    assert sorted(deep_run.iterdir()) == before and not list(tmp_path.iterdir())


@pytest.mark.parametrize("main, argv", [
    *((evaluation.main, ["RUN", flag, value]) for value in ("nan", "inf", "1e400")
      for flag in ("--threshold", "--sigma-min")),
    *((depth.main, ["RUN", "--threshold", value]) for value in ("nan", "inf")),
    *((evaluation.main, ["RUN", flag, str(10**18)]) for flag in (
        "--n", "--k", "--r", "--c", "--share", "--draft", "--latents", "--show", "--top-k")),
    *((depth.main, ["RUN", flag, str(10**18)]) for flag in ("--n", "--r")),
    *((bench.main, ["--size", "nano", flag, value]) for flag in ("--width", "--threads", "--steps")
      for value in (str(10**18), str(2**31))),
    (codes.main, ["RUN", "--n", str(10**18)]), (reproduce.main, ["--jobs", str(10**18)]),
    *((train.main, ["--method", method, flag, str(value)]) for method, flag in (
        ("cot", "--width"), ("pause", "--pauses"), ("coconut", "--latents"), ("cot", "--steps"),
        ("assorted", "--chunk"), ("cot", "--threads"), ("cot", "--batch"), ("cot", "--test-n"))
      for value in (10**18, 2**31) if (flag, value) != ("--steps", 2**31)),
], ids=lambda value: None if callable(value) else " ".join(value))
def test_numbers_that_nothing_can_be(main, argv, capsys):
    value = "inf" if argv[-1] == "1e400" else argv[-1]
    assert f"{argv[-2]} {value}: must be" in fails(argv, capsys, main)


FLOATS = (runs.FLAGS | rl.FLAGS | runs.METHODS["colar"].FLAGS | runs.METHODS["codi"].FLAGS
          | evaluation.FLAGS | depth.FLAGS)


@pytest.mark.parametrize("flag", [name for name, flag in FLOATS.items() if flag.kind is float])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_no_float_is_nan(flag, value):
    line = f"{flag.replace('_', '-')} {value}: must be (at|above 0)"
    with pytest.raises(BadInput, match=line):
        FLOATS[flag].check(flag, float(value))


@pytest.mark.parametrize("error, code", [
    (MemoryError(), 2), (OSError(errno.EIO, "Input/output error", "f"), 2), (BadInput("x"), 2),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't "
                  "allocate memory: you tried to allocate 4000000000000 bytes."), 2),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 2),
    (KeyboardInterrupt(), 130)])
def test_what_a_machine_cannot_do_is_one_line(error, code, capsys):
    with pytest.raises(SystemExit) as stop, one_line("x.py"):
        raise error
    assert stop.value.code == code and capsys.readouterr().err.count("\n") == 1


def test_a_bug_is_not_hidden():
    with pytest.raises(RuntimeError), one_line("x.py"):
        raise RuntimeError("a bug")


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "1e3", str(10**18), "9" * 5000, "9" * 4000])
def test_a_bad_number_gets_a_short_line(text):
    flag = Flag(2000, "problems to average over", least=1)
    with pytest.raises((BadInput, argparse.ArgumentTypeError)) as error:
        flag.check("n", flag.read(text))
    assert "\n" not in str(error.value) and len(str(error.value)) < 100
