"""What the contract of a task says (data/common.py), tested on every entry of TASKS: a new one is
tested with no edit. Each check is shown to catch a task that is broken in its way.

A check takes a task, and some a function that makes it anew. It returns what is wrong, as texts.
"""
import hashlib
import json
import os
import pickle
import random
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path
from statistics import mean, stdev

import pytest
import torch

import runs
from data import gsm8k_files
from data.arithmetic import Arithmetic
from data.common import SPECIALS, same
from data.permutation import Permutation
from data.prontoqa import ProntoQA
from tests.helpers import FEW

MANY, SOME = 2000, 60       # problems of train; of each other split


def make(name):
    """The task `name`, as train.py makes it for a method whose answers need no computing."""
    return runs.make_task(runs.parse(["--task", name, "--method", "colar", *FEW.get(name, [])]))


@pytest.fixture(scope="module", params=runs.TASKS)
def name(request):
    return request.param


# ---- no problem is in two splits -----------------------------------------------------------------

def part(split):
    """Which of train, val and test the problems of a split belong to: see `draw`."""
    last = split.rsplit("-", 1)[-1]
    return last if last in ("train", "val") else "test"


def leaks(task):
    """Problems that two of train, val and test share, their harder versions included."""
    seen = {"train": set(), "val": set(), "test": set()}
    for split in task.splits:
        for i in range(MANY if split == "train" else SOME):
            example = task.sample(split, i)
            seen[part(split)] |= {same(example), " ".join(example.question)}
    return [f"{a} and {b} share {problem!r}" for a, b in (("train", "val"), ("train", "test"),
                                                          ("val", "test"))
            for problem in sorted(seen[a] & seen[b])]


class OneStream(Permutation):
    """Its test problems are its first training problems."""

    def sample(self, split, index):
        return super().sample("train", index)


class OneInTwenty(Arithmetic):
    """Of its test problems few are training problems."""

    def sample(self, split, index):
        return super().sample("train" if index % 20 == 7 else split, index)


class NoOwner(Permutation):
    """Draws problems for each split, but of all keys."""

    def sample(self, split, index):
        return self.make(random.Random(f"{split}/{index}"), 3, self.most, 0)[0]


class OnlyHarder(Permutation):
    """Its longer problems come from all keys: those to train on and those to test on."""

    def sample(self, split, index):
        split = "long" if split == "long-train" else split
        return super().sample(split, index)


# ---- sample is pure ------------------------------------------------------------------------------

def digest(task):
    """A hash of some examples of every split."""
    content = [(e.question, e.steps, e.answer, e.difficulty, e.prefixes, same(e))
               for split in task.splits for e in (task.sample(split, i) for i in range(5))]
    return hashlib.sha256(repr(content).encode()).hexdigest()


def impurities(new):
    """What else than its arguments decides what `sample` returns, in this process."""
    def backwards(task):
        for split in reversed(task.splits):
            for i in reversed(range(5)):
                task.sample(split, i)
        return digest(task)

    def seeded(task):
        state = random.getstate(), torch.get_rng_state()
        random.seed(1)
        torch.manual_seed(1)
        try:
            return digest(task)
        finally:
            random.setstate(state[0])
            torch.set_rng_state(state[1])
    task = new()
    found = {"earlier calls": backwards(task), "random numbers of others": seeded(task),
             "which instance it is": digest(new()),
             "a copy for a worker": digest(pickle.loads(pickle.dumps(task)))}
    want = digest(new())
    return [f"sample depends on {what}" for what, value in found.items() if value != want]


def digests(folder, own):
    """{task: digest}, of those that are broken by the process, too. What the other process calls:
    folder, own: where GSM8K's files are, and that of the task `own`."""
    gsm8k_files.FOLDER, FEW["own"] = Path(folder), ["--data", own]
    return {name: digest(make(name)) for name in runs.TASKS} | {
        broken.__name__: digest(broken()) for broken in (Hashed, Ordered)}


@pytest.fixture(scope="module")
def elsewhere():
    """What `digests` returns in a process in which hashes and random numbers are others."""
    code = ("import json, random, sys; from tests import test_tasks; random.seed(2); "
            "print(json.dumps(test_tasks.digests(*sys.argv[1:])))")
    seed = "1" if os.environ.get("PYTHONHASHSEED") == "0" else "0"
    done = subprocess.run([sys.executable, "-c", code, gsm8k_files.FOLDER, FEW["own"][1]],
                          capture_output=True, text=True, encoding="utf-8", check=True,
                          cwd=Path(__file__).parents[1],
                          env=os.environ | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"})
    return json.loads(done.stdout)


class Counting(Arithmetic):
    """Its problems depend on how many it has made."""
    made = 0

    def sample(self, split, index):
        self.made += 1
        return super().sample(split, index + self.made % 7)


class Shared(Arithmetic):
    """It takes the random numbers that all share."""

    def sample(self, split, index):
        return super().sample(split, random.randrange(10**6))


class Torch(Arithmetic):
    def sample(self, split, index):
        return super().sample(split, int(torch.randint(10**6, ())))


class PerInstance(Arithmetic):
    def sample(self, split, index):
        return super().sample(split, index + id(self) % 10**6)


class Hashed(Arithmetic):
    """Python's own hash of a text is another one in every process."""

    def sample(self, split, index):
        return super().sample(split, hash(f"{split}/{index}") % 10**6)


class Ordered(Arithmetic):
    """So is the order of a set of texts."""

    def sample(self, split, index):
        example = super().sample(split, index)
        example.question = list(set(example.question))
        return example


# ---- check ---------------------------------------------------------------------------------------

def wrong_answers(task, examples, rng):
    """{kind: [(example, a wrong answer)]}; a few may be right nevertheless, in other words."""
    others = [e.answer for e in examples]
    kinds = {"another problem's": [], "random words": [], "one word more": [], "one word other": []}
    for e in examples:
        words = rng.choices(task.words, k=len(e.answer))
        other = e.answer.copy()
        other[rng.randrange(len(other))] = words[0]
        tried = rng.choice(others), words, e.answer + words[:1], other
        for kind, answer in zip(kinds, tried):
            if answer != e.answer:
                kinds[kind].append((e, answer))
    return kinds


def mistakes_of_check(task):
    examples, rng = [task.sample("test", i) for i in range(SOME)], random.Random(0)
    found = []
    if not all(task.check(e, e.answer) for e in examples):
        found.append("check refuses right answers")
    if any(task.check(e, []) for e in examples):
        found.append("check accepts an empty answer")
    for kind, pairs in wrong_answers(task, examples, rng).items():
        refused = [not task.check(e, answer) for e, answer in pairs]
        if mean(refused) < 0.9:
            found.append(f"check accepts wrong answers: {kind}")
    return found


class Always(Arithmetic):
    def check(self, example, words):
        return True


class Never(Arithmetic):
    def check(self, example, words):
        return False


class Anything(Arithmetic):
    """Right is whatever is not empty."""

    def check(self, example, words):
        return bool(words)


class AnyAnswer(ProntoQA):
    """Right is whatever is one of the answers."""

    def check(self, example, words):
        return words in (["True"], ["False"])


class Prefix(Arithmetic):
    """An answer may go on as it likes."""

    def check(self, example, words):
        return words[:len(example.answer)] == example.answer


class Strings(Arithmetic):
    """It is given words, not a text."""

    def check(self, example, words):
        return words == " ".join(example.answer)


# ---- words ---------------------------------------------------------------------------------------

def strange_words(task):
    """What is wrong with the words of a task and of its examples."""
    known, found = set(task.words), []
    if len(known) < len(task.words) or known & set(SPECIALS):
        found.append("a word comes twice, or is reserved")
    if not all(word.split() == [word] for word in task.words):
        found.append("a word is empty or has a blank")
    for split in task.splits:
        for i in range(SOME // 2):
            e = task.sample(split, i)
            for where, words in (("question", e.question), ("steps", chain(*e.steps)),
                                 ("answer", e.answer), ("prefixes", filter(None, e.prefixes))):
                found += [f"{where}: {word!r} is not in words"
                          for word in words if word not in known]
    return found


class Unknown(Arithmetic):
    """A word that is not known, in the part of an example that is named."""
    part = "question"

    def sample(self, split, index):
        e = super().sample(split, index)
        where = e.steps[-1] if self.part == "steps" else getattr(e, self.part)
        if split == "long" and index == 21:
            where.append("Zoe")
        return e


class UnknownStep(Unknown):
    part = "steps"


class UnknownAnswer(Unknown):
    part = "answer"


class Twice(Arithmetic):
    def __init__(self):
        super().__init__()
        self.words = [*self.words, "has"]


class Blank(Arithmetic):
    def __init__(self):
        super().__init__()
        self.words = [*self.words, "as many"]


class Reserved(Arithmetic):
    def __init__(self):
        super().__init__()
        self.words = [*self.words, "<pause>"]


# ---- the chain leads from the question to the answer ---------------------------------------------

def related(pairs):
    """Do the first of these pairs share more words with their second than with that of others?

    pairs: [(words, words)]. By more than four standard errors. Words that no second has count not.
    """
    known = set().union(*(second for _, second in pairs))
    more = []
    for (first, second), (_, other) in zip(pairs, pairs[1:] + pairs[:1]):
        common = [word for word in set(first) if word in known]
        if common:
            more.append(mean((word in second) - (word in other) for word in common))
    return len(more) > 1 and mean(more) > 4 * stdev(more) / len(more) ** 0.5


def broken_chains(task):
    """What the chain has nothing to do with. Of two answers, as True and False, no chain has to
    hold the words: then only the question is compared."""
    examples = [task.sample("train", i) for i in range(300)]
    chains = [set(chain(*e.steps)) for e in examples]
    found = []
    if not all(map(len, chains)):
        found.append("a problem has no chain")
    if not related(list(zip(chains, [set(e.question) for e in examples]))):
        found.append("the chain has nothing to do with the question")
    answers = [set(e.answer) for e in examples]
    if len(set(map(frozenset, answers))) > 2 and not related(list(zip(answers, chains))):
        found.append("the chain has nothing to do with the answer")
    return found


class Next:
    """A problem has the chain of the one after it."""

    def sample(self, split, index):
        e = super().sample(split, index)
        e.steps = super().sample(split, index + 1).steps
        return e


class NextChain(Next, Arithmetic):
    pass


class NextMoves(Next, Permutation):
    pass


class NextProof(Next, ProntoQA):
    pass


class SameAnswer(Arithmetic):
    """A problem has the chain of another one with its answer."""

    def sample(self, split, index):
        e = super().sample(split, index)
        e.steps = next(other.steps for other in (
            super(SameAnswer, self).sample(split, index + i) for i in range(1, 10**4))
            if other.answer == e.answer)
        return e


class Filler(Arithmetic):
    def sample(self, split, index):
        e = super().sample(split, index)
        e.steps = [["has", "."] for _ in e.steps]
        return e


class Tossed(Arithmetic):
    """The answer does not follow from the chain."""

    def make(self, rng, lengths):
        e, key = super().make(rng, lengths)
        e.answer = [str(rng.randint(1, 20))]
        return e, key


class Chainless(Arithmetic):
    def sample(self, split, index):
        e = super().sample(split, index)
        e.steps = [] if index % 50 == 9 else e.steps
        return e


# ---- all tasks are fine, all broken ones are caught ----------------------------------------------

def test_splits_share_no_problem(name):
    assert not leaks(make(name))


def test_sample_is_pure(name, elsewhere):
    assert not impurities(lambda: make(name))
    assert digest(make(name)) == elsewhere[name]


def test_check_tells_right_from_wrong(name):
    assert not mistakes_of_check(make(name))


def test_examples_are_in_the_words_of_their_task(name):
    assert not strange_words(make(name))


def test_chains_lead_from_the_question_to_the_answer(name):
    assert not broken_chains(make(name))


@pytest.mark.parametrize("check, broken, message", [
    (leaks, OneStream, "train and test share"),
    (leaks, OneInTwenty, "train and test share"),
    (leaks, NoOwner, "train and val share"),
    (leaks, OnlyHarder, "train and test share"),
    (mistakes_of_check, Always, "empty"),
    (mistakes_of_check, Never, "refuses"),
    (mistakes_of_check, Anything, "random words"),
    (mistakes_of_check, AnyAnswer, "another problem's"),
    (mistakes_of_check, Prefix, "one word more"),
    (mistakes_of_check, Strings, "refuses"),
    (strange_words, Unknown, "question: 'Zoe'"),
    (strange_words, UnknownStep, "steps: 'Zoe'"),
    (strange_words, UnknownAnswer, "answer: 'Zoe'"),
    (strange_words, Twice, "twice"),
    (strange_words, Reserved, "reserved"),
    (strange_words, Blank, "blank"),
    (broken_chains, NextChain, "the answer"),
    (broken_chains, NextMoves, "the answer"),
    (broken_chains, NextProof, "the question"),
    (broken_chains, SameAnswer, "the question"),
    (broken_chains, Filler, "the question"),
    (broken_chains, Tossed, "the answer"),
    (broken_chains, Chainless, "no chain"),
], ids=lambda value: getattr(value, "__name__", None))
def test_a_broken_task_is_caught(check, broken, message):
    assert message in "\n".join(check(broken()))


@pytest.mark.parametrize("broken, message", [
    (Counting, "earlier calls"), (Shared, "random numbers of others"),
    (Torch, "random numbers of others"), (PerInstance, "which instance")],
    ids=lambda value: getattr(value, "__name__", None))
def test_an_impure_task_is_caught(broken, message):
    kept = []       # or the next instance could have the place of the last

    def new():
        kept.append(broken())
        return kept[-1]
    assert message in "\n".join(impurities(new))


@pytest.mark.parametrize("broken", [Hashed, Ordered])
def test_a_task_that_depends_on_the_process_is_caught(broken, elsewhere):
    assert not impurities(broken)       # here it does not show
    assert digest(broken()) != elsewhere[broken.__name__]


# ---- defaults of a task --------------------------------------------------------------------------

class Slow(Permutation):
    """A new task that needs other settings, also of its own flags."""
    METHOD = "nocot"

    @staticmethod
    def defaults(config, usual, in_words):
        return {"steps": 3 * usual["steps"], "conv": 2, "dropout": 0.2, "group": "s5",
                "moves": 7 if in_words else 5}


@pytest.mark.parametrize("method, moves", [("cot", 7), ("nocot", 5)])
def test_a_task_declares_its_defaults_itself(method, moves, monkeypatch, capsys):
    """Nothing else needs to know of them; what is given by hand wins, and --help shows them."""
    monkeypatch.setitem(runs.TASKS, "slow", Slow)
    kinds = ["--task", "slow", "--method", method, "--size", "nano"]
    config = runs.parse(kinds)
    names = "steps", "first_steps", "conv", "dropout", "group", "moves"
    assert [config[name] for name in names] == [90, 30, 2, 0.2, "s5", moves]
    assert runs.variant(config) == ""
    given = runs.parse([*kinds, "--dropout", "0", "--conv", "0", "--group", "s3", "--steps", "4"])
    assert [given[name] for name in names] == [4, 30, 0, 0, "s3", moves]
    assert runs.variant(given) == "--group s3 --dropout 0.0 --conv 0"
    with pytest.raises(SystemExit):
        runs.parse([*kinds, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for told in ("optimizer steps [90]", "= none [2]", "of 5 [s5]", f"training problem [{moves}]"):
        assert told in text


def test_a_task_may_have_a_method_of_its_own(monkeypatch, tmp_path):
    """It is what the task is trained by unless another is given, also when a run goes on."""
    monkeypatch.setitem(runs.TASKS, "slow", Slow)
    kinds = ["--task", "slow", "--size", "nano"]
    assert runs.parse(kinds)["method"] == "nocot"
    assert runs.parse([*kinds, "--method", "cot"])["method"] == "cot"
    assert [runs.parse(["--task", task])["method"] for task in ("maze", "gsm8k")] == [
        "colar", "cot"]
    out = ["--out", str(tmp_path)]
    config = runs.parse([*kinds, "--method", "pause"])
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert runs.parse([*out, "--resume"])["method"] == "pause"


def test_nothing_but_its_entry_in_tasks_names_a_task_in_runs():
    """Its settings are declared in data/."""
    text = Path(runs.__file__).read_text(encoding="utf-8")
    body = text.replace(text[text.index("TASKS = {"):text.index("BACKBONES = ")], "")
    quoted = set(re.findall(r'"(\w+)"', body))
    assert quoted & set(runs.TASKS) == {"arithmetic"}       # the default of --task
