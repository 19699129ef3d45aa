"""Batching and files: against Python lists."""
import json
import multiprocessing
import os
import signal

import pytest
import torch

from data.arithmetic import Arithmetic
from data.cli import BadInput, choice
from data.common import (EOS, SPECIALS, SPEED, THINK, FileTask, Vocab, batches, collate, pack,
                         read_problems, split_of, take)

TASK = Arithmetic()
VOCAB = Vocab(TASK.words)


def test_vocabulary_round_trip_and_specials():
    assert VOCAB.decode(VOCAB.encode(TASK.words)) == TASK.words
    assert VOCAB.words[THINK] == "<think>" and VOCAB.words[SPEED + 3] == "<x3>"
    assert VOCAB.words[:len(SPECIALS)] == SPECIALS and len(set(VOCAB.words)) == len(VOCAB)


def test_collate_and_pack_equal_lists():
    examples = [TASK.sample("train", i) for i in range(9)]
    b = collate(examples, VOCAB)
    middle = torch.full((9, 1), THINK)
    ids, part, order = pack(b.question, middle, b.thoughts, b.answer)
    whole = torch.cat([b.question, middle, b.thoughts, b.answer], 1)
    assert torch.equal(whole.gather(1, order), ids)
    for i, e in enumerate(examples):
        rows = [VOCAB.encode(e.question), [THINK], VOCAB.encode(sum(e.steps, [])),
                VOCAB.encode(e.answer) + [EOS]]
        want = sum(rows, [])
        assert ids[i].tolist() == want + [0] * (ids.shape[1] - len(want))
        kinds = [k for k, row in enumerate(rows) for _ in row]
        assert part[i].tolist() == kinds + [-1] * (ids.shape[1] - len(want))
        steps = [k for k, s in enumerate(e.steps) for _ in s]
        assert b.step[i, :len(steps)].tolist() == steps


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
    kept = [pack(b.question, b.thoughts, b.answer)[0] for b in (next(stream) for _ in range(64))]
    assert sum((k == 0).sum().item() for k in kept) < 0.05 * sum(k.numel() for k in kept)


def test_other_processes_draw_the_same_batches():
    """No random numbers of the training are used for that; and a signal to the whole group, which
    asks the training to save, does not end them."""
    state = torch.get_rng_state()
    alone, ahead = (batches(TASK, VOCAB, 4, seed=1, start=5, pool=4, workers=w) for w in (0, 2))
    for i in range(12):
        a, b = next(alone), next(ahead)
        assert torch.equal(a.thoughts, b.thoughts) and a.examples == b.examples
        for child in multiprocessing.active_children() if i > 4 else []:    # all have begun by then
            os.kill(child.pid, signal.SIGTERM)
    assert torch.equal(torch.get_rng_state(), state)


def test_take_repeats_nothing():
    class Three:
        def sample(self, split, index):
            return TASK.sample(split, index % 3)
    assert take(Three(), "test", 10) == [TASK.sample("test", i) for i in range(3)]
    assert take(TASK, "test", 5) == [TASK.sample("test", i) for i in range(5)]


def test_split_of_gives_an_eighth_each_to_val_and_test():
    splits = [split_of(str(i)) for i in range(8000)]
    assert abs(splits.count("val") - 1000) < 150 and abs(splits.count("test") - 1000) < 150


def record(e):
    return {"question": " ".join(e.question), "steps": [" ".join(s) for s in e.steps],
            "answer": " ".join(e.answer)}


def test_files_as_list_or_lines(tmp_path):
    records = [record(TASK.sample("train", i)) for i in range(40)]
    (tmp_path / "a.json").write_text(json.dumps(records), encoding="utf-8")
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps(r) for r in records), encoding="utf-8")
    (tmp_path / "c.jsonl").write_text("\ufeff \t" + "\n  ".join(map(json.dumps, records)),
                                      encoding="utf-8")
    examples = read_problems(TASK, tmp_path / "a.json")
    assert examples == read_problems(TASK, tmp_path / "b.jsonl")
    assert examples == read_problems(TASK, tmp_path / "c.jsonl")
    assert examples == [TASK.sample("train", i) for i in range(40)]
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
    ('[{"question": 1, "steps": [], "answer": "3"}]', "record 0"),
    ("[" * 100_000, "too many brackets"), ("{}\n" + '{"a":' * 100_000, "record 1: brackets in"),
    ("{}\n{", "record 1: Expecting"),
], ids=lambda parameter: parameter[:40])
def test_bad_files_get_one_clear_line(tmp_path, text, message):
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=message) as error:
        read_problems(TASK, path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_missing_file_and_nearest_name(tmp_path):
    with pytest.raises(BadInput, match="No such file"):
        read_problems(TASK, tmp_path / "none.json")
    with pytest.raises(BadInput, match="nearest: colar"):
        choice("collar", {"cot": 1, "colar": 2}, "method")
