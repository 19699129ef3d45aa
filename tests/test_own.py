"""The task `own`: words from a file, which travel with the run."""
import json
import random

import pytest

import eval as evaluation
import look
import runs
from data import own
from data.cli import BadInput
from data.common import collate
from data.records import FileTask, read_problems
from lab import codes, controls
from method import Rollout, Solved
from tests.helpers import NANO, fails, run

GOOD = {"question": "zorp mu ?", "steps": ["zorp mu ."], "answer": "zorp"}


def put(path, records):
    path.write_text(json.dumps(records), encoding="utf-8")
    return str(path)


def numbered(n, first=0):
    """n records of different questions, which have a word of their own each."""
    return [{"question": f"w{i} ?", "steps": [f"w{i} is {i % 3}"], "answer": str(i % 3)}
            for i in range(first, first + n)]


@pytest.fixture(scope="module")
def own_run(tmp_path_factory):
    """A run of CoT whose training file is gone, and what that file held."""
    folder, records = tmp_path_factory.mktemp("own"), own.example_records(60)
    path = folder / "mine.json"
    out = run(folder, "--method", "cot", "--task", "own", "--data", put(path, records))
    path.unlink()
    return out, records


# ---- records -------------------------------------------------------------------------------------

def test_texts_and_lists_of_words_are_the_same():
    lists = {"question": ["zorp", "mu", "?"], "steps": [["zorp", "mu", "."]], "answer": ["zorp"]}
    spaced = {"question": " zorp  mu\t?", "steps": ["zorp mu .\n"], "answer": "zorp"}
    first, *others = map(own.Own().parse, (GOOD, lists, spaced))
    assert others == [first, first]
    assert first.question == ["zorp", "mu", "?"] and first.steps == [["zorp", "mu", "."]]


@pytest.mark.parametrize("change, message", [
    ({"question": ""}, "question: it is empty"),
    ({"question": []}, "question: it is empty"),
    ({"question": None}, "question: None is neither a text nor a list of words"),
    ({"answer": 7}, "answer: 7 is neither a text nor a list of words"),
    ({"answer": " \t"}, "answer: it is empty"),
    ({"answer": ["zorp mu"]}, "answer: 'zorp mu' is not a word"),
    ({"answer": [3]}, "answer: 3 is not a word"),
    ({"answer": "a\x1b[1mb"}, r"answer: 'a\x1b[1mb' is not a word"),
    ({"answer": "\ud800"}, r"answer: '\ud800' is not a word"),
    ({"question": "zorp <pad> ?"}, "question: the word <pad> is reserved"),
    ({"steps": [["zorp"], ["<x3>"]]}, "step 2: the word <x3> is reserved"),
    ({"steps": ["zorp", " "]}, "step 2: it is empty"),
    ({"steps": [["zorp", ""]]}, "step 1: '' is not a word"),
    ({"steps": "zorp mu ."}, "steps: 'zorp mu .' is no list"),
    ({"steps": None}, "steps: None is no list"),
    ({"steps": [{"a": "b"}]}, "step 1: {'a': 'b'} is neither a text nor a list of words"),
])
def test_a_wrong_record_is_named_with_its_field(change, message, tmp_path):
    path = put(tmp_path / "d.json", [GOOD, GOOD | change])
    with pytest.raises(BadInput) as error:
        read_problems(own.Own(), path)
    assert str(error.value) == f"--data {path}, record 1: {message}"


@pytest.mark.parametrize("record, message", [
    ({"question": "a"}, "no steps and no answer; a record has question, steps (a list) and answer"),
    ([], "[]: a record has question, steps (a list) and answer"),
    ("zorp", "'zorp': a record has question, steps (a list) and answer")])
def test_what_is_no_record_is_named(record, message, tmp_path):
    path = put(tmp_path / "d.json", [GOOD, record])
    with pytest.raises(BadInput) as error:
        read_problems(own.Own(), path)
    assert str(error.value) == f"--data {path}, record 1: {message}"


# ---- files ---------------------------------------------------------------------------------------

def test_the_words_of_a_file_whatever_its_order(tmp_path):
    records = own.example_records(50)
    tasks = []
    for seed in range(2):
        random.Random(seed).shuffle(records)
        tasks.append(FileTask(own.Own(), put(tmp_path / f"{seed}.json", records)))
    assert tasks[0].examples == tasks[1].examples
    assert tasks[0].words == tasks[1].words == sorted({
        w for r in records for text in (r["question"], *r["steps"], r["answer"])
        for w in text.split()})


def test_what_a_file_lacks_or_repeats_is_said(tmp_path):
    """Doubles, two answers to one question, no steps, words that training never shows."""
    records = numbered(60)
    records += [records[3], records[4] | {"answer": "2"}, records[5] | {"steps": []}]
    task = FileTask(own.Own(), put(tmp_path / "d.json", records))
    line = task.summary
    for part in ("62 problems", "1 left out: the same as an earlier one (first: record 60)",
                 "1 with the question of an earlier one, but another answer (first: record 61)",
                 "1 without a chain: it has no steps (first: record 62)"):
        assert part in line
    alone = {w for name in ("val", "test") for e in task.examples[name] for w in e.question} - {"?"}
    assert f"; {len(alone)} words that only val or test have: '{min(alone)}', " in line
    with pytest.raises(BadInput, match="too few problems to fill train, val and test"):
        assert FileTask(own.Own(), put(tmp_path / "few.json", numbered(2))).examples


def test_the_example_has_a_chain_that_follows_from_its_question():
    records = own.example_records(300)
    assert len({r["question"] for r in records}) == 300
    for r in records:
        (holder, _), *swaps = (part.split() for part in r["question"].split(" . ")[:-1])
        for swap, step in zip(swaps, r["steps"], strict=True):
            row = {name: name == holder for name in own.CREATURES}
            row[swap[0]], row[swap[2]] = row[swap[2]], row[swap[0]]
            holder = next(name for name in row if row[name])
            assert step == f"{' '.join(swap)} > {holder} ."
        assert r["answer"] == holder


def test_the_script_writes_an_example_and_says_what_a_file_holds(tmp_path, capsys):
    path = str(tmp_path / "zorp.json")
    own.main(["--example", path, "--data", path])
    line, *problems = capsys.readouterr().out.splitlines()
    assert "zorp.json: 1,000 problems; " in line and "; 11 different words" in line
    assert len(problems) == 3 and all(p.count(" | ") == 2 for p in problems)
    own.main([])
    assert "python -m data.own --example zorp.json" in capsys.readouterr().out
    assert "No such file" in fails(["--data", "none.json"], capsys, own.main)


# ---- runs ----------------------------------------------------------------------------------------

def test_a_run_is_evaluated_without_its_file(own_run, tmp_path, capsys):
    out, records = own_run
    other = put(tmp_path / "other.json", own.example_records(90)[60:])
    evaluation.main([str(out), "--data", other, "--n", "5"])
    assert "5 problems)" in capsys.readouterr().out
    controls.main([str(out), "--data", other])
    assert "without the probe, which is fitted on training problems" in capsys.readouterr().out
    line = fails([str(out)], capsys, evaluation.main)
    assert "mine.json, which the run was begun with: No such file" in line
    assert "pieces" not in json.loads((out / "results.json").read_text(encoding="utf-8"))["config"]


def test_codes_are_read_on_another_file(tmp_path, capsys):
    records = own.example_records(90)
    out = run(tmp_path, "--method", "vqvae", "--codes", "64", "--task", "own", "--data",
              put(tmp_path / "mine.json", records[:60]))
    (tmp_path / "mine.json").unlink()
    codes.main([str(out), "--data", put(tmp_path / "other.json", records[60:])])
    assert (out / "codes.png").exists() and "30 problems" in capsys.readouterr().out


def test_the_file_of_a_run_is_known_again_elsewhere(own_run, tmp_path, capsys):
    """What it was trained on is left out, as long as the content is the same."""
    out, records = own_run
    moved = put(tmp_path / "moved.json", records)
    evaluation.main([str(out), "--data", moved])
    assert "problems that the run was trained on or watched with are left out" in (
        capsys.readouterr().out)
    moved = put(tmp_path / "shorter.json", records[1:])
    evaluation.main([str(out), "--data", moved])
    assert "are not left out: --data" in capsys.readouterr().out


def test_words_that_a_run_does_not_know_are_named(own_run, tmp_path, capsys):
    records = own.example_records(1)
    records += [records[0] | {"question": "vroom mu . zap mu ?"}, records[0] | {"answer": "plonk"}]
    line = fails([str(own_run[0]), "--data", put(tmp_path / "d.json", records)], capsys,
                 evaluation.main)
    assert "record 1: 'vroom' is not in the vocabulary, nor are 2 more: 'zap', 'plonk'; a " in line
    line = fails([*NANO, "--data", str(tmp_path / "d.json")], capsys)
    assert "'fleem' is not in the vocabulary" in line and "--task own takes its words from" in line


def test_a_run_begins_from_one_with_the_same_words_only(own_run, tmp_path, capsys):
    out, records = own_run
    argv = ["--task", "own", "--init", str(out), "--data"]
    more = records + [records[0] | {"question": "vroom mu ?"}]
    line = fails([*NANO, "--out", str(tmp_path / "new"), *argv, put(tmp_path / "more.json", more)],
                 capsys)
    assert "its words are not those of --data" in line and line.endswith("of the two has vroom")
    run(tmp_path, *argv, put(tmp_path / "same.json", records[1:]), "--steps", "2")
    assert runs.load(tmp_path / "run")["step"] == 2


def test_words_that_a_method_writes_are_reserved(tmp_path, capsys):
    records = own.example_records(60)
    records[7]["answer"] = "<z3>"
    argv = [*NANO, "--task", "own", "--data", put(tmp_path / "d.json", records), "--codes", "64",
            "--method", "vqvae", "--out", str(tmp_path / "new")]
    assert "the word '<z3>' is reserved" in fails(argv, capsys)
    assert not (tmp_path / "new").exists()


def test_words_that_begin_as_codes_do_are_words(tmp_path, capsys):
    """<zb1> is no code of Token Assorted, on a page of look.py and in what it thinks itself."""
    records = [{"question": f"<za{i}> ?", "steps": [f"<zb{i % 3}> <zc>"], "answer": f"<zb{i % 3}>"}
               for i in range(60)]
    data = ["--task", "own", "--data", put(tmp_path / "z.json", records)]
    look.main([str(run(tmp_path, "--method", "cot", "--steps", "1", *data)), "--n", "2"])
    assert "<zc>" in capsys.readouterr().out
    config = runs.parse([*NANO, "--method", "assorted", "--codes", "8", *data])
    task = runs.make_task(config)
    _, method = runs.build(config | runs.limits(task), task)
    said = Solved(["<zb0>"], 3, "<zb0> <z5> <zc>", [5])
    method.rollout = lambda *args, **knobs: Rollout([said], None, {}, {})
    solved = method.solve(collate([task.sample("val", 0)], method.vocab))[0]
    assert solved.thoughts == f"<zb0> [{' '.join(solved.latents[0])}] <zc>"


def test_without_a_file_it_is_said_what_to_do(capsys):
    line = fails(["--task", "own"], capsys)
    assert "give train.py --data FILE (python -m data.own --example FILE writes one to try)" in line
