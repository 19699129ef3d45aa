"""Problems from files: reading and checking records, and a task whose problems a file holds.

A file is one JSON list, or has one record per line. A record is {question, steps, answer} in the
words of a task, unless the task reads others (`parse` and `records` in data/common.py):

    {"question": "Ann has 3 .", "steps": ["Bob has << 3 + 1 = 4 >> ."], "answer": "4"}

What is wrong with a record is a BadInput that names it. What is left out, or remarkable, is counted
in one line (`summary`).
"""
import functools
import hashlib
import json
import random
from collections import Counter
from itertools import chain
from pathlib import Path

from data.cli import BadInput
from data.common import PER_SEED, same, shown, split_of
from data.files import digest


class LeftOut(ValueError):
    """Why a record holds no problem, though it is no mistake: files go on without it."""


def texts(record):
    """(question, steps, answer) of a record: a text, a list of texts, a text, and none is blank.

    ValueError for any other record.
    """
    form = "a record has question, steps (a list) and answer, in words"
    if not isinstance(record, dict) or not {"question", "steps", "answer"} <= record.keys():
        raise ValueError(form)
    question, steps, answer = record["question"], record["steps"], record["answer"]
    if not isinstance(steps, list):
        raise ValueError(f"steps: {shown(steps)}; {form}")
    parts = [("question", question), ("answer", answer), *(("a step", step) for step in steps)]
    for name, text in parts:
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{name}: {shown(text)}; {form}")
    return question, steps, answer


def read_records(text):
    """The records of a file's text: one JSON list, or one record per line."""
    if not text.lstrip().startswith("{"):
        return read_json(text)
    lines = [line for line in text.split("\n") if line.strip()]
    return [read_line(i, line) for i, line in enumerate(lines)]


def read_line(i, line):
    """What record i holds, which has a line of JSON to itself; ValueError names it."""
    try:
        return read_json(line)
    except ValueError as error:
        raise ValueError(f"record {i}: {error}") from None


def read_json(text):
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("brackets in too many brackets") from None


def read_problems(task, path):
    """The examples of a JSON file (one list, or one record per line) under the rules of `task`, and
    what to say of it: its line of `summary`.

    Of problems that are equal in question, chain and answer the first one stays. BadInput, naming
    the record, for anything that is not {question, steps, answer} in its words.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")     # -sig: some begin with a BOM
        records = getattr(task, "records", read_records)(text)
    except (OSError, ValueError) as error:
        raise BadInput(f"--data {path}: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(records, list) or not records:
        raise BadInput(f"--data {path}: holds no problems; "
                       "a list of {question, steps, answer} is needed")
    found, answers, first, remarks = {}, {}, {}, []     # first: {word: the record it is first in}
    for i, record in enumerate(records):
        try:
            e = task.parse(record)
        except LeftOut as why:
            remarks.append((i, f"left out: {why}"))
            continue
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            what = error if isinstance(error, ValueError) else repr(error)
            raise BadInput(f"--data {path}, record {i}: {what}") from None
        for word in chain(e.question, *e.steps, e.answer):
            first.setdefault(word, i)
        remarks += [(i, remark) for remark in e.remarks]
        if found.setdefault(fingerprint(e), e) is not e:
            remarks.append((i, "left out: the same as an earlier one"))
        elif answers.setdefault(same(e), e.answer) != e.answer:
            remarks.append((i, "with the question of an earlier one, but another answer"))
    if not found:
        raise BadInput(f"--data {path}: all of its records are left out ({remarks[0][1]})")
    examples = list(found.values())
    if not task.words:
        task.learn(examples)
    check_words(task, path, first)
    return examples, summary(f"{path}: {len(found):,} problems", remarks)


def check_words(task, path, first):
    """BadInput, naming them, for words that the task lacks. first: {word: the record it is in}."""
    known = set(task.words)
    unknown = [word for word in first if word not in known]
    if not unknown:
        return
    others = ", ".join(map(shown, unknown[1:6])) + (" ..." if len(unknown) > 6 else "")
    more = f", nor are {len(unknown) - 1:,} more: {others}" if others else ""
    hint = ("a run knows the words of the file that it was trained on" if hasattr(task, "learn")
            else "--task own takes its words from the file")
    raise BadInput(f"--data {path}, record {first[unknown[0]]}: {shown(unknown[0])} is not in the "
                   f"vocabulary{more}; {hint}")


def summary(what, remarks):
    """One line on a file: `what`, then how often each remark is made of its records, and where
    first. remarks: [(number of the record, text)]."""
    parts, first = [what], {}
    for record, remark in remarks:
        first.setdefault(remark, record)
    for remark, n in Counter(remark for _, remark in remarks).most_common():
        parts.append(f"{n:,} {remark} (first: record {first[remark]})")
    return "; ".join(parts)


def fingerprint(example):
    """A hash of problem, chain and answer."""
    whole = repr((same(example), example.steps, example.answer))
    return hashlib.sha256(whole.encode()).digest()


def untaught(split):
    """Of {split: [Example]}: which words training never shows, to follow a summary."""
    words = {name: {word for e in examples for word in chain(e.question, *e.steps, e.answer)}
             for name, examples in split.items()}
    some = sorted((words["val"] | words["test"]) - words["train"])
    if not some:
        return ""
    names = ", ".join(map(shown, some[:5])) + (" ..." if len(some) > 5 else "")
    return f"; {len(some):,} words that only val or test have: {names}"


def mixed(examples):
    """The examples in the order of their hashes: the first n are a fair sample, however the file
    that they come from is sorted."""
    return sorted(examples, key=fingerprint)


@functools.lru_cache(maxsize=8)
def shuffled(n, name):
    """The numbers 0..n-1 in an order that is drawn from `name`."""
    order = list(range(n))
    random.Random(name).shuffle(order)
    return order


class FileTask:
    """A task whose problems come from a file. All but its splits are those of the task it is given.

    A hash of the question says which split owns a problem; the order of the file plays no part. The
    file is read when its problems are first asked for. sha256: that of its bytes when the run was
    begun; "": not known.
    """
    splits = ("train", "val", "test")

    def __init__(self, task, path, sha256=""):
        self.task, self.path, self.sha256 = task, path, sha256

    def __getattr__(self, name):
        """What is not here: parse, check, records, LEARNS ..."""
        if name == "task":      # not yet there, in a copy that is being unpickled
            raise AttributeError(name)
        return getattr(self.task, name)

    @property
    def words(self):
        """Those of its task. If that takes them from the file, the file is read for them."""
        if not self.task.words:
            self.loaded     # which calls `learn`
        return self.task.words

    @property
    def examples(self):
        """{split: [Example]}. Val and test ask each question once, whatever solutions it has."""
        return self.loaded[0]

    @property
    def summary(self):
        """What to say of the file, in one line."""
        return self.loaded[1]

    @functools.cached_property
    def loaded(self):
        """Examples and summary; BadInput if the file is gone or is not what it was."""
        self.check_file()
        found, line = read_problems(self.task, self.path)
        split = {name: [] for name in self.splits}
        for e in mixed(found):
            split[split_of(same(e))].append(e)
        for name in ("val", "test"):
            split[name] = list({same(e): e for e in split[name]}.values())
        # an empty chain is no example for the others: without one they are not trained on
        split["train"] = [e for e in split["train"] if not e.no_chain] or split["train"]
        if not all(split.values()):
            raise BadInput(f"--data {self.path}: too few problems to fill train, val and test: "
                           f"{', '.join(f'{len(some)} {name}' for name, some in split.items())}")
        line += "".join(f"; {len(some):,} {name}" for name, some in split.items())
        unused = len(found) - sum(map(len, split.values()))
        if unused:
            line += f"; {unused:,} unused: no chain, or one more solution in val or test"
        if hasattr(self.task, "learn"):
            line += untaught(split)
        return split, line

    def check_file(self):
        try:
            trouble = "" if self.sha256 in ("", digest(self.path)) else "it has changed since"
        except OSError as error:
            trouble = error.strerror
        if trouble:
            raise BadInput(f"--data {self.path}, which the run was begun with: {trouble}; "
                           "its own splits need it, eval.py --data OTHER does not")

    def look_in(self, path):
        """Reads its problems from `path`, if that is the file it was begun with at another place.
        """
        if self.sha256 and digest(path) == self.sha256:
            self.path = path

    def sample(self, split, index):
        """Every seed and every epoch has all problems once, in an order of its own."""
        examples = self.examples[split]
        seed, place = divmod(index, PER_SEED)
        epoch, place = divmod(place, len(examples))
        return examples[shuffled(len(examples), f"{split}/{seed}/{epoch}")[place]]

    def trained_on(self, examples):
        """[bool]: is it in train, or in val, which the run was watched with?"""
        seen = {same(e) for name in ("train", "val") for e in self.examples[name]}
        return [same(e) in seen for e in examples]
