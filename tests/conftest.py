"""What keeps the tests fast. Runs in them are validated once, and think for 20 tokens at most:
untrained models decode to the limit. They draw no curves.png, but where a test looks at it. And one
thread: to their small models a second one only costs. GSM8K's place is taken by a few problems of
our own."""
import functools
import json
import os
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""     # before torch: exact equality is checked on the CPU

import pytest
import torch

import eval as evaluation
import runs
import train
from data import gsm8k

torch.set_num_threads(1)
torch.backends.mps.is_available = functools.cache(lambda: False)    # torch 2.15 needs it cached

STORIES = [     # question, solution; {a}, {b}: numbers; {c}, {d}: computed
    ("Zoe has {a} jars with {b} beans each. She eats 5 beans. How many beans are left?",
     "There were <<{a}*{b}={c}>>{c} beans. Now there are <<{c}-5={d}>>{d}.\n#### {d}",
     lambda a, b: (a * b, a * b - 5)),
    ("Bo read {a} pages on Monday and twice as many on Tuesday. Then he read {b} more. In all?",
     "Tuesday: 2*{a}=<<2*{a}={c}>>{c}. So <<{a}+{c}+{b}={d}>>{d} pages.\n#### {d}",
     lambda a, b: (2 * a, 3 * a + b)),
    ("A ride of {a} km costs ${b} per km, and a tip of $3. What does Kai pay?",
     "{a}*{b}=$<<{a}*{b}={c}>>{c} and {c}+3=$<<{c}+3={d}>>{d}\n#### {d}",
     lambda a, b: (a * b, a * b + 3))]


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
    for name, n in (("train.jsonl", 60), ("test.jsonl", 3)):
        records = [json.dumps(r) for r in stories(n, 7 if n == 60 else 90)]
        (folder / name).write_text("\n".join(records), encoding="utf-8")


@pytest.fixture(autouse=True, scope="session")
def quick(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        limits = runs.limits
        patch.setattr(runs, "limits", lambda task, n=64: limits(task, n) | {"max_think": 20})
        patch.setattr(train, "VALIDATIONS", 1)
        patch.setattr(gsm8k, "FOLDER", tmp_path_factory.mktemp("gsm8k"))
        write_stories(gsm8k.FOLDER)
        yield


@pytest.fixture
def one_setting(monkeypatch):
    """For tests that only train: the final table has one row."""
    sweep = evaluation.sweep
    monkeypatch.setattr(evaluation, "sweep", lambda name, method, task, examples, settings=None:
                        sweep(name, method, task, examples, (settings or evaluation.usual_settings(method))[:1]))
