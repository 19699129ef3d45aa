"""What several test files use: small runs and methods, comparisons, and problems in GSM8K's format.
"""
import json

import pytest
import torch

import runs
import train
from data.common import collate

NANO = ["--size", "nano", "--threads", "1", "--test-n", "8", "--steps", "10"]
DEEP = ["--backbone", "recurrent", "--mean-r", "3", "--layers", "3"]
FEW = {"colar": ["--c-train", "1,2"], "vqvae": ["--codes", "64"], "assorted": ["--codes", "64"],
       "coconut": ["--latents", "2"], "codi": ["--latents", "2"],
       "maze": ["--level", "tiny"]}      # flags that keep a method or task small
# "own": its file; see conftest.py

STORIES = [     # question, solution; {a}, {b}: numbers; {c}, {d}: computed
    ("Zoe has {a} jars with {b} beans each. She eats 5 beans. How many beans are left?",
     "There were <<{a}*{b}={c}>>{c} beans.\nNow there are <<{c}-5={d}>>{d}.\n#### {d}",
     lambda a, b: (a * b, a * b - 5)),
    ("Bo read {a} pages on Monday and twice as many on Tuesday. Then he read {b} more. In all?",
     "Tuesday: 2*{a}=<<2*{a}={c}>>{c}. So <<{a}+{c}+{b}={d}>>{d} pages.\n#### {d}",
     lambda a, b: (2 * a, 3 * a + b)),
    ("A ride of {a} km costs ${b} per km, and a tip of $3. What does Kai pay?",
     "{a}*{b}=$<<{a}*{b}={c}>>{c} and {c}+3=$<<{c}+3={d}>>{d}\n#### {d}",
     lambda a, b: (a * b, a * b + 3))]


# ---- scripts -------------------------------------------------------------------------------------

def run(folder, *argv, name="run"):
    """Trains a run of size nano in folder/name. Returns that path."""
    train.main([*NANO, "--out", str(folder / name), *argv])
    return folder / name


def fails(argv, capsys, main=train.main):
    """Returns the last line on stderr of a call that must exit with code 2."""
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def results(folder):
    """What results.json of a run folder holds."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def log(folder):
    """The rows of log.jsonl of a run folder."""
    text = (folder / "log.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def untimed(value):
    """Rows of a log or of results without what time they took."""
    if isinstance(value, dict):
        return {name: untimed(v) for name, v in value.items()
                if name not in ("ms", "seconds", "tokens_per_s")}
    return [untimed(v) for v in value] if isinstance(value, list) else value


def record(example):
    """An Example as a file of --data has it."""
    return {"question": " ".join(example.question), "answer": " ".join(example.answer),
            "steps": [" ".join(step) for step in example.steps]}


def write_records(path, examples):
    """Writes a file for --data. Returns its path."""
    path.write_text(json.dumps([record(e) for e in examples]), encoding="utf-8")
    return path


# ---- methods -------------------------------------------------------------------------------------

def small(method, task, *argv):
    """Config, task and untrained method of size nano."""
    argv = ["--method", method, "--task", task, "--size", "nano", *argv]
    config = runs.parse(argv + FEW.get(method, []) + FEW.get(task, []))
    config |= runs.limits(runs.make_task(config), 64)
    torch.manual_seed(0)
    return config, *runs.build(config)


def shortest(task, vocab, n=4):
    """A Batch of the n shortest of some training problems."""
    examples = [task.sample("train", i) for i in range(40)]
    examples.sort(key=lambda e: len(e.question) + sum(map(len, e.steps)) + len(e.answer))
    return collate(examples[:n], vocab)


def telling(method, kind, call):
    """A threshold of the exit `kind` at which the rows of `call` stop at different iterations."""
    for limit in range(2, 9) if kind == "argmax" else 10.0 ** -torch.arange(-1, 4, 0.25):
        with method.model.using(exit=kind, threshold=float(limit), taken=[]):
            call()
            if len(torch.cat(method.model.taken).unique()) > 1:
                return float(limit)
    raise AssertionError("all rows stop at once")


def same(a, b):
    """Equal to the last bit, whatever the nesting."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


# ---- GSM8K's stand-in ----------------------------------------------------------------------------

def stories(n, first=7):
    """n records in the format of GSM8K."""
    for i in range(n):
        question, solution, compute = STORIES[i % 3]
        a, b = first + i, 2 + i % 9
        c, d = compute(a, b)
        numbers = {"a": a, "b": b, "c": c, "d": d}
        yield {"question": f"Story {'abcdefghij'[i % 10]}. " + question.format(**numbers),
               "answer": solution.format(**numbers)}


def write_stories(folder):
    """The two files of GSM8K, of stories."""
    for name, n, first in (("train.jsonl", 60, 7), ("test.jsonl", 3, 90)):
        records = [json.dumps(r) for r in stories(n, first)]
        (folder / name).write_text("\n".join(records), encoding="utf-8")
