"""The course: exercises are graded by tests that pass the right function and catch its mistakes,
homework is made and graded, and what course/README.md tells to write works."""
import ast
import contextlib
import importlib
import inspect
import json
import math
import operator
import re

import pytest
import torch

import baselines
import runs
from course import homework
from course.exercises import EXERCISES
from course.homework import ROOT, blanked, body_of, file_of
from tests.helpers import fails as refused
from tests.helpers import results, run, small
from tests.naive import EXACT

MISTAKES = [(name, mistake) for name, one in EXERCISES.items() for mistake in one.mistakes]


def source_of(name):
    return (ROOT / file_of(name)[0]).read_text(encoding="utf-8")


def node_of(source, path):
    """The ast of a function."""
    node = ast.parse(source)
    for part in path:
        node = next(n for n in node.body if getattr(n, "name", "") == part)
    return node


def with_mistake(name, mistake):
    """The source of an exercise's file, with a mistake in its function."""
    source, path = source_of(name), file_of(name)[1]
    first, end, _ = body_of(source, path)
    lines = source.splitlines(keepends=True)
    body = "".join(lines[first:end])
    assert body.count(mistake.old) == 1, f"{name}: {mistake.old!r} is not there just once"
    return "".join([*lines[:first], body.replace(mistake.old, mistake.new), *lines[end:]])


# ---- the data ------------------------------------------------------------------------------------

def test_exercises_are_complete():
    names = list(EXERCISES)
    assert len(names) >= 12
    for i, (name, one) in enumerate(EXERCISES.items()):
        assert 2 <= len(one.mistakes) <= 5 and set(one.needs) <= set(names[:i])
        for test in one.graders:
            file, test = test.split("::")
            assert f"\ndef {test}(" in (ROOT / file).read_text(encoding="utf-8"), test
        assert all(m.fails and set(m.fails) <= set(one.graders) for m in one.mistakes)


@pytest.mark.parametrize("name", EXERCISES)
def test_each_mistake_has_a_hint_of_its_own(name):
    """The graders of an exercise tell its mistakes apart."""
    one = EXERCISES[name]
    failed = [dict.fromkeys(m.fails, "assert False") for m in one.mistakes]
    assert [homework.hints(one, some) for some in failed] == [[m.hint] for m in one.mistakes]
    failed[0] |= dict.fromkeys(one.graders[:1], homework.NO_END)    # that may be the machine's
    assert homework.hints(one, failed[0]) == [homework.BUSY]


@pytest.mark.parametrize("name, mistake", MISTAKES)
def test_a_mistake_is_one_that_can_be_made(name, mistake):
    """Its old text is there just once, and the new one is Python."""
    ast.parse(with_mistake(name, mistake))


@pytest.mark.parametrize("name", EXERCISES)
def test_a_blank_function_keeps_signature_and_docstring(name):
    source, path = source_of(name), file_of(name)[1]
    blank = blanked(source, path)
    assert homework.BLANK in blank and len(blank.splitlines()) <= len(source.splitlines())

    def head(source):
        node = node_of(source, path)
        return ast.dump(node.args), ast.get_docstring(node)
    assert head(blank) == head(source)


# ---- what the graders catch ----------------------------------------------------------------------

def code_of(source, name):
    """The code of an exercise's function as a source has it."""
    file, path = file_of(name)
    node = node_of(source, path)
    node.decorator_list = []
    found = {}
    exec(compile(ast.Module([node], []), file, "exec"), vars(module_of(name)).copy(), found)
    return found[path[-1]].__code__


def module_of(name):
    return importlib.import_module(file_of(name)[0].removesuffix(".py").replace("/", "."))


@contextlib.contextmanager
def having(sources):
    """Runs the functions of exercises as {exercise: source} has them, wherever they are called."""
    with pytest.MonkeyPatch.context() as patch:
        for name, source in sources.items():
            function = operator.attrgetter(".".join(file_of(name)[1]))(module_of(name))
            patch.setattr(inspect.unwrap(function), "__code__", code_of(source, name))
        yield


def failing(tests):
    """Which of some tests fail, by their names without parameters."""
    class Listener:
        failed, ran = set(), set()

        def pytest_runtest_logreport(self, report):
            name = report.nodeid.split("[")[0]
            self.ran.add(name)
            if report.failed:
                self.failed.add(name)
    listener = Listener()
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    pytest.main([*options, *(str(ROOT / test) for test in tests)], [listener])
    assert listener.ran == set(tests)
    return listener.failed


def blank(names):
    return {name: blanked(source_of(name), file_of(name)[1]) for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXERCISES)
def test_graders_pass_the_right_function_and_catch_each_mistake(name):
    """The former also while all other exercises are blank but those that this one needs."""
    one = EXERCISES[name]
    with having(blank(set(EXERCISES) - {name, *one.needs})):
        assert not failing(one.graders)
    for other in one.needs:
        with having(blank([other])):
            assert failing(one.graders), f"{name} does not need {other}"
    for mistake in one.mistakes:
        with having({name: with_mistake(name, mistake)}):
            assert failing(one.graders) == set(mistake.fails), mistake.hint


# ---- homework ------------------------------------------------------------------------------------

def grade(folder):
    with pytest.raises(SystemExit) as stop:
        homework.main(["grade", str(folder)])
    return stop.value.code


def write(folder, name, source):
    (folder / file_of(name)[0]).write_text(source, encoding="utf-8")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="homework is made from a clone")
def test_homework_is_made_and_graded(tmp_path, monkeypatch, capsys):
    """One exercise has a mistake, one is blank, and one needs the blank one. Then a file is no
    Python, and in the end all is right."""
    names = ["lab.controls.donors", "recurrent.Exit.__call__", "recurrent.kl_change"]
    hw = tmp_path / "hw"
    homework.main(["make", *names, "--out", str(hw)])
    assert (hw / "tests/test_docs.py").exists() and not (hw / "results").exists()
    mistake = EXERCISES[names[0]].mistakes[0]
    write(hw, names[0], with_mistake(names[0], mistake))
    write(hw, names[2], blank(names[2:])[names[2]])
    capsys.readouterr()
    assert grade(hw) == 1
    text = capsys.readouterr().out
    assert text.startswith("""\
recurrent.kl_change: not yet
    still blank
recurrent.Exit.__call__: not yet
    first solve recurrent.kl_change
lab.controls.donors: not yet
    tests/lab/test_controls.py::test_swapped""")
    assert "assert" in text and f"\n    hint: {mistake.hint}\n" in text
    write(hw, names[0], "def donors(:\n")
    assert grade(hw) == 1
    assert "lab/controls.py, line 1: invalid syntax" in capsys.readouterr().out
    for name in names:
        write(hw, name, source_of(name))
    monkeypatch.setattr(homework, "run_tests", lambda folder, tests: {})
    assert grade(hw) == 0
    assert capsys.readouterr().out == "".join(f"{n}: ok\n" for n in EXERCISES if n in names)


def test_a_file_that_cannot_be_read_fails_its_exercise_alone(tmp_path, monkeypatch, capsys):
    """And a blank line that is commented out, or an earlier function of that name, is no blank."""
    names = ["data.rows.wilson", "data.rows.pass_at", "rl.advantages", "colar.offsets",
             "vqvae.Codebook.forward"]
    (tmp_path / "data").mkdir()
    (tmp_path / "homework.json").write_text(json.dumps(names), encoding="utf-8")
    stub = f"def wilson(right, n):\n    {homework.BLANK}\n"
    solved = f"def pass_at(k, right, n):\n    # {homework.BLANK}\n    return 0\n"
    write(tmp_path, names[0], stub + "def wilson(right, n):\n    return 0, 1\n" + solved)
    (tmp_path / "rl.py").write_bytes(b"x = '\xff'\n")
    (tmp_path / "vqvae.py").write_text("x = " + "-" * 10**5 + "1", encoding="utf-8")
    monkeypatch.setattr(homework, "run_tests", lambda folder, tests: {})
    assert grade(tmp_path) == 1
    text = capsys.readouterr().out
    assert "data.rows.wilson: ok\ndata.rows.pass_at: ok\n" in text
    assert "rl.advantages: not yet\n    rl.py: 'utf-8' codec" in text
    assert "colar.offsets: not yet\n    colar.py: No such file" in text
    assert "vqvae.Codebook.forward: not yet\n    vqvae.py" in text


@pytest.mark.parametrize("argv, message", [
    (["make", "colar.merj", "--out", "HW"], "unknown exercise 'colar.merj' (nearest: colar.merge)"),
    (["make", "colar.merge"], "make needs exercises and --out HW; --list names them"),
    (["make", "colar.merge", "--out", "."], "--out .: it is there already, and not empty"),
    (["grade", "HW", "HW"], "grade takes one folder, and nothing else"),
    (["grade", "HW"], "HW: no homework; `make` writes its homework.json"),
    (["mark", "HW"], "unknown command 'mark' (nearest: make)")])
def test_bad_input_gets_one_line(argv, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert refused(argv, capsys, homework.main) == f"course/homework.py: {message}"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("text", ["5", "[]", '{"colar.merge": 1}', "[[1]]", '["colar.nope"]'])
def test_damaged_notes_are_no_homework_that_is_solved(text, tmp_path, capsys):
    (tmp_path / homework.REMEMBERED).write_text(text, encoding="utf-8")
    message = refused(["grade", str(tmp_path)], capsys, homework.main)
    assert message.endswith("homework.json: damaged; it is a list of exercises")
    (tmp_path / homework.REMEMBERED).write_text("[" * 10**5, encoding="utf-8")
    assert "no homework" in refused(["grade", str(tmp_path)], capsys, homework.main)


# ---- the pages -----------------------------------------------------------------------------------

def test_the_tutorial_adds_a_method(tmp_path, monkeypatch):
    """Ten lines at most, run as they stand in the page: a soft thought equals a loop over words,
    also under autocast, and a run trains and solves with two of them."""
    page = (ROOT / "course" / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(code.splitlines()) <= 10
    exec(code, names := vars(baselines).copy())
    monkeypatch.setitem(runs.METHODS, "soft", names["Soft"])
    _, _, method = small("soft", "permutation", "--latents", "2", "--tau", "0.5")
    method.double()
    h = torch.randn(3, 32).double()
    z, e = method.latent(h), method.model.embed.weight
    for row, state in zip(z, h):
        weight = [math.exp(2 * (w @ state).item()) for w in method.model.head.weight]
        want = sum(w * v for w, v in zip(weight, e)) / sum(weight)
        torch.testing.assert_close(row, want, **EXACT)
    method.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert method.latent(h.float()).dtype == torch.float32
    out = run(tmp_path, "--method", "soft", "--latents", "2", "--task", "permutation",
              "--steps", "2")
    assert results(out)["rows"][-1]["steps"] >= 2


def test_every_exercise_is_homework_of_a_chapter():
    page = (ROOT / "course" / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in EXERCISES)
