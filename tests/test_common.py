"""Batching and files: against Python lists."""
import copy
import json
import multiprocessing
import os
import random
import signal

import pytest
import torch

from data import common
from data.arithmetic import Arithmetic
from data.cli import BadInput, choice
from data.common import (EOS, PER_SEED, SPECIALS, THINK, Vocab, batches, collate, first_problems,
                         same, speed_token, split_of, splits_of)
from data.files import digest
from data.maze import Maze
from data.permutation import Permutation
from data.prontoqa import ProntoQA
from data.prosqa import ProsQA
from data.records import FileTask, read_problems
from method import pack
from runs import TASKS, limits
from tests.helpers import record, write_records

TASK = Arithmetic()
VOCAB = Vocab(TASK.words)


def test_vocabulary_round_trip_and_specials():
    assert VOCAB.decode(VOCAB.encode(TASK.words)) == TASK.words
    assert VOCAB.words[THINK] == "<think>" and VOCAB.words[speed_token(3)] == "<x3>"
    assert VOCAB.words[:len(SPECIALS)] == SPECIALS and len(set(VOCAB.words)) == len(VOCAB)


def test_collate_and_pack_equal_lists():
    examples = [TASK.sample("train", i) for i in range(9)]
    b = collate(examples, VOCAB)
    middle = torch.full((9, 1), THINK)
    ids, part, order = pack(b.question, middle, b.chain, b.answer)
    whole = torch.cat([b.question, middle, b.chain, b.answer], 1)
    assert torch.equal(whole.gather(1, order), ids)
    for i, e in enumerate(examples):
        rows = [VOCAB.encode(e.question), [THINK], VOCAB.encode(sum(e.steps, [])),
                VOCAB.encode(e.answer) + [EOS]]
        want = sum(rows, [])
        assert ids[i].tolist() == want + [0] * (ids.shape[1] - len(want))
        kinds = [k for k, row in enumerate(rows) for _ in row]
        assert part[i].tolist() == kinds + [-1] * (ids.shape[1] - len(want))
        steps = [k for k, s in enumerate(e.steps) for _ in s]
        assert b.step_of[i, :len(steps)].tolist() == steps


def test_batches_restart_anywhere_and_waste_little():
    """Batch k is the same whether the stream starts at 0 or at k, also across a pool's end."""
    stream = batches(TASK, VOCAB, 8, seed=3, pool=4)
    first = [next(stream) for _ in range(10)]
    for start in (1, 4, 6):
        again = batches(TASK, VOCAB, 8, seed=3, start=start, pool=4)
        for want in first[start:start + 3]:
            assert torch.equal(next(again).question, want.question)
    other = next(batches(TASK, VOCAB, 8, seed=4, pool=4)).examples
    assert [e.question for e in other] != [e.question for e in first[0].examples]
    stream = batches(TASK, VOCAB, 32)
    kept = [pack(b.question, b.chain, b.answer)[0] for b in (next(stream) for _ in range(64))]
    assert sum((k == 0).sum().item() for k in kept) < 0.05 * sum(k.numel() for k in kept)


def test_other_processes_draw_the_same_batches():
    """No random numbers of the training are used for that; and a signal to the whole group, which
    asks the training to save, does not end them."""
    state = torch.get_rng_state()
    alone, ahead = (batches(TASK, VOCAB, 4, seed=1, start=5, pool=4, workers=w) for w in (0, 2))
    for i in range(12):
        a, b = next(alone), next(ahead)
        assert torch.equal(a.chain, b.chain) and a.examples == b.examples
        for child in multiprocessing.active_children() if i > 4 else []:    # all have begun by then
            os.kill(child.pid, signal.SIGTERM)
    assert torch.equal(torch.get_rng_state(), state)


def test_first_problems_repeat_nothing():
    class Three:
        def sample(self, split, index):
            return TASK.sample(split, index % 3)
    assert first_problems(Three(), "test", 10) == [TASK.sample("test", i) for i in range(3)]
    assert first_problems(TASK, "test", 5) == [TASK.sample("test", i) for i in range(5)]


def test_first_problems_go_on_while_there_is_something_new():
    """Ten problems, each five times in a row: the last one first comes at 45."""
    class Slow:
        def sample(self, split, index):
            return TASK.sample(split, min(9, index // 5))
    assert first_problems(Slow(), "test", 10) == [TASK.sample("test", i) for i in range(10)]


@pytest.mark.parametrize("name", [name for name in TASKS if name not in ("gsm8k", "own")])
def test_fresh_problems_are_no_used_ones(name, monkeypatch):
    """The same for whoever asks, of the split's own kind, and none is among the problems that any
    table may have been made with. (gsm8k: all of its test set is used; own: it has no problems.)"""
    monkeypatch.setattr(common, "USED", 8)
    task = TASKS[name]()
    names = splits_of(task)
    assert set(task.splits) < set(names) and "fresh" in names
    slow = {"maze": ["ood"], "prosqa": ["ood", "test-4", "dense"]}.get(name, [])
    used, fresh = {}, {}
    for split in set(task.splits) - {"train", "val", *slow}:
        if split == "test" or f"{split}-fresh" in names:
            other = "fresh" if split == "test" else f"{split}-fresh"
            used |= {same(e): e for e in first_problems(task, split, 8)}
            few, more = (first_problems(task, other, n) for n in (3, 5))
            assert [same(e) for e in more[:3]] == [same(e) for e in few]
            fresh |= {same(e): e for e in more}
    assert len(fresh) > 4 and not used.keys() & fresh.keys()


def test_fresh_problems_are_left_out_by_content(monkeypatch):
    """A used problem is none, wherever it comes again; and there may be none at all."""
    class Again:
        def sample(self, split, index):
            return TASK.sample(split, [0, 1, 0, 2, 1, 3][index % 6])
    monkeypatch.setattr(common, "USED", 2)
    assert first_problems(Again(), "fresh", 9) == [TASK.sample("test", i) for i in (2, 3)]
    monkeypatch.setattr(common, "USED", 4)
    with pytest.raises(BadInput, match="fresh: test holds no more than 4 problems"):
        first_problems(Again(), "fresh", 9)


def test_split_of_gives_an_eighth_each_to_val_and_test():
    splits = [split_of(str(i)) for i in range(8000)]
    assert abs(splits.count("val") - 1000) < 150 and abs(splits.count("test") - 1000) < 150


def test_files_as_list_or_lines(tmp_path):
    records = [record(TASK.sample("train", i)) for i in range(40)]
    (tmp_path / "a.json").write_text(json.dumps(records), encoding="utf-8")
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps(r) for r in records), encoding="utf-8")
    lines = [json.dumps(r) for r in records]
    (tmp_path / "bom.json").write_text(json.dumps(records, indent=1), encoding="utf-8-sig")
    (tmp_path / "bom.jsonl").write_text("\n".join(lines), encoding="utf-8-sig")
    (tmp_path / "blanks.jsonl").write_text(
        "\n\n" + "\r\n".join(f" \t{s} " for s in lines) + "\n ", encoding="utf-8")
    for name in ("a.json", "b.jsonl", "bom.json", "bom.jsonl", "blanks.jsonl"):
        examples, line = read_problems(TASK, tmp_path / name)
        assert examples == [TASK.sample("train", i) for i in range(40)]
        assert line == f"{tmp_path / name}: 40 problems"
    task = FileTask(TASK, tmp_path / "a.json")
    seen = [" ".join(task.sample(s, i).question)
            for s in task.splits for i in range(len(task.examples[s]))]
    assert sorted(seen) == sorted(r["question"] for r in records)
    assert task.sample("train", 10**6) in examples


@pytest.mark.parametrize("text, message", [
    ("", "no problems|Expecting value"), ("[]", "no problems"), ("{'a'", "Expecting"),
    ("3", "no problems"),
    ('[{"question": "Ann has 3 ."}]', "record 0.*steps"), ("[7]", "record 0"),
    ('[{"question": "Zoe has 3 .", "steps": [], "answer": "3"}]',
     "record 0: 'Zoe' is not in the vocabulary"),
    ('[{"question": "Ann has 4 . Ben has half of Ann .", "steps": [], "answer": "2"}]',
     "record 0: 'of' is not in the vocabulary"),     # an older wording
    ('[{"question": 1, "steps": [], "answer": "3"}]', "record 0"),
    ('{"question": "Ann has 3 .", "steps": [], "answer": "3"}\n{"question"', "record 1: Expecting"),
    ("[" * 10**5, "brackets in too many"), ('{"a":' * 10**5, "record 0: brackets in too many"),
    ('[{"question": "Ann \\ud800", "steps": [], "answer": "3"}]', r"'\\ud800' is not in the vocab"),
    (f'[{{"question": "{"a" * 10**5}", "steps": [], "answer": "3"}}]', "record 0: 'a{46}[.]{3} is"),
    ("[" + "9" * 5000 + "]", "5000 digits"),
])
def test_bad_files_get_one_clear_line(tmp_path, text, message):
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=message) as error:
        read_problems(TASK, path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    assert len(str(error.value)) < 300 and str(error.value).isprintable()


def english(words):
    text = " ".join(words)
    return text.replace(" .", ".").replace(" :", ":").replace(" ?", "?")


@pytest.mark.parametrize("task", [TASK, Maze("tiny"), Permutation(), ProsQA("tiny-text"),
                                  ProntoQA("tiny-text")], ids=lambda t: type(t).__name__)
def test_every_task_refuses_what_is_no_problem(task, tmp_path):
    """A field that is missing, of another type or blank, in one line that names the record."""
    e = task.sample("test", 0)
    spell = english if hasattr(task, "english") else " ".join
    good = {"question": spell(e.question), "steps": [spell(s) for s in e.steps],
            "answer": spell(e.answer)}
    assert same(task.parse(good)) == same(e)
    bad = [None, [], [good], "", "text", 3, {}, {"question": good["question"], "steps": 3}]
    bad += [good | {name: value} for name in good
            for value in (None, "", " \t", 3, True, {}, [3], [""], [[]], [" "], "\ud800",
                          float("nan"))]
    bad += [good | {"answer": text} for text in ("x", "[]", "\ud800")]
    for damaged in bad:
        path = tmp_path / "bad.json"
        path.write_text(json.dumps([good, damaged]), encoding="utf-8")
        with pytest.raises(BadInput, match="record 1: ") as error:
            read_problems(task, path)
        assert str(error.value).isprintable() and "Error(" not in str(error.value), damaged
    for depth in (500, 900, 1100, 10**4):
        path.write_text(json.dumps([good]).replace(json.dumps(good["answer"]),
                                                   "[" * depth + "]" * depth), encoding="utf-8")
        with pytest.raises(BadInput):
            read_problems(task, path)
    assert split_of("\ud800") in ("train", "val", "test")


@pytest.fixture(scope="module")
def sorted_file(tmp_path_factory):
    """400 problems, those with few steps first; and the same in random order."""
    folder = tmp_path_factory.mktemp("sorted")
    examples = sorted((TASK.sample("train", i) for i in range(400)), key=lambda e: e.difficulty)
    write_records(folder / "sorted.json", examples)
    random.Random(0).shuffle(examples)
    return folder, write_records(folder / "mixed.json", examples)


def test_the_order_of_a_file_plays_no_part(sorted_file):
    """Limits, validation, test and batches are those of the same file in random order."""
    folder, shuffled = sorted_file
    task, other = FileTask(TASK, folder / "sorted.json"), FileTask(TASK, shuffled)
    n = len(task.examples["train"])
    assert task.examples == other.examples and limits(task) == limits(other)
    assert limits(task)["max_think"] == 2 * max(
        sum(map(len, e.steps)) for e in task.examples["train"]) + 1
    mean = sum(e.difficulty for e in task.examples["train"]) / n
    for some in (first_problems(task, "val", 20), first_problems(task, "train", 60),
                 next(batches(task, VOCAB, 40, pool=1)).examples):
        assert abs(sum(e.difficulty for e in some) / len(some) - mean) < 1      # sorted: 2.2
        assert len({e.difficulty for e in some}) > 3


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_every_epoch_has_all_problems_of_a_file_once(sorted_file, seed):
    task = FileTask(TASK, sorted_file[1])
    n, first = len(task.examples["train"]), seed * PER_SEED
    epochs = [[same(task.sample("train", first + epoch * n + i)) for i in range(n)]
              for epoch in range(3)]
    assert all(sorted(some) == sorted(map(same, task.examples["train"])) for some in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0][0] == same(FileTask(TASK, sorted_file[1]).sample("train", first))


def test_a_file_has_all_that_its_task_has(sorted_file):
    """Formats, and whatever a task may get; also in a copy, as for a worker."""
    class Lines(Arithmetic):
        LEARNS, learned, anything = ("learned",), "words", 7

        def records(self, text):
            return json.loads(text)[:300]
    task = copy.deepcopy(FileTask(Lines(), sorted_file[1]))
    assert task.records("[1]") == [1] and task.words == TASK.words and task.anything == 7
    assert sum(map(len, task.examples.values())) == 300 and limits(task)["learned"] == "words"
    assert task.splits == ("train", "val", "test")


def test_what_a_file_repeats_is_counted(tmp_path):
    """Doubles go; another solution stays, but val and test ask a question once."""
    examples = [TASK.sample("train", i) for i in range(60)]
    others = [copy.deepcopy(e) for e in examples]
    for e in others:
        e.steps = e.steps + [["Ann", "has", "3"]]
    path = write_records(tmp_path / "d.json", examples + others + examples[:7])
    found, line = read_problems(TASK, path)
    assert len(found) == 120
    assert line == (f"{path}: 120 problems; 7 left out: the same as an earlier one "
                    "(first: record 120)")
    task = FileTask(TASK, path)
    n = {name: len(some) for name, some in task.examples.items()}
    alone = [split_of(same(e)) for e in examples]
    assert n == {"train": 2 * alone.count("train"), "val": alone.count("val"),
                 "test": alone.count("test")}
    assert task.summary == (
        f"{line}; {n['train']} train; {n['val']} val; {n['test']} test; "
        f"{n['val'] + n['test']} unused: no chain, or one more solution in val or test")
    assert len(first_problems(task, "val", 50)) == n["val"]


def test_a_file_knows_what_was_trained_on(sorted_file):
    task = FileTask(TASK, sorted_file[1])
    new = [TASK.sample("train", i) for i in range(400, 410)]
    parts = (("train", True), ("val", True), ("test", False))
    for name, seen in parts:
        some = task.examples[name]
        assert task.trained_on(some + new) == [seen] * len(some) + [False] * 10


def test_a_file_is_needed_only_for_its_problems_and_must_not_change(tmp_path):
    path = write_records(tmp_path / "d.json", [TASK.sample("train", i) for i in range(60)])
    sha256 = digest(path)
    assert FileTask(TASK, path, sha256).examples == FileTask(TASK, path).examples
    path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    task = FileTask(TASK, path, sha256)
    with pytest.raises(BadInput, match="d.json, which .* changed since.*--data OTHER does not"):
        task.sample("train", 0)
    assert FileTask(TASK, path).examples
    path.unlink()
    task = FileTask(TASK, path, sha256)
    assert task.words == TASK.words and task.check(TASK.sample("val", 0), ["x"]) is False
    with pytest.raises(BadInput, match="d.json, which .*: No such file"):
        task.trained_on([])


def test_missing_file_and_nearest_name(tmp_path):
    with pytest.raises(BadInput, match="No such file"):
        read_problems(TASK, tmp_path / "none.json")
    with pytest.raises(BadInput, match="nearest: colar"):
        choice("collar", {"cot": 1, "colar": 2}, "method")
