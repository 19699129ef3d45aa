"""What all tasks share: the example, the vocabulary, the split rule and ragged batches.

A task is a class, and a line in TASKS (runs.py). Copy data/permutation.py, which is the shortest
one; tests/test_tasks.py then tests what the contract says. The class has
    FLAGS                   {name: Flag}: what its constructor takes
    words                   list of every word its examples may contain
    splits                  names `sample` knows: "train", "val", "test", and its own beyond these
                            (out of distribution)
    sample(split, index)    Example; pure: the same on every machine for the same arguments. A task
                            without it (data/own.py) has only the problems of --data
    parse(record)           Example from a {question, steps, answer} record of --data
                            (data/records.py); ValueError if it cannot
    check(example, words)   is this answer right? By meaning, not by string
and, if it needs them,
    METHOD                  the method that it is trained by unless another is given ["colar"]
    LEARNS                  names of what it makes of its files (a tokenizer): attributes, arguments
                            of its constructor, and kept in the config of a run
    defaults(config, usual, in_words)
                            {flag: value}: its defaults, of its own flags and others, where they are
                            not those of --size, `usual`. config has at least KINDS (runs.py);
                            in_words: does the method write its chain in words (IN_WORDS)?
    records(text)           the records of a file's text, for formats that are not JSON
    learn(examples)         takes its words from those of the file that a run is trained on. Called
                            as long as `words` is empty
    compute(example, chain, answer)
                            the words of an answer, where chains are written over names of numbers
                            (data/slots.py): what `check` gets
    ask(text)               the Example of a question in free text, without a chain; for tasks that
                            read more than their words
    shorter                 how many training problems come before those of full length, which say
                            how long a chain may get [0]; set to 0 when a run is opened
    trained_on(examples)    [bool]: which of these a run was trained on or watched with; for tasks
                            whose problems are those of a file. BadInput if that is gone
It knows no method and no model.
"""
import hashlib
import multiprocessing.connection
import os
import random
import signal
import threading
import zlib
from dataclasses import dataclass, field
from itertools import chain, count

import torch

from data.cli import BadInput


@dataclass
class Example:
    question: list        # words
    steps: list           # one list of words per reasoning step
    answer: list          # words
    difficulty: int       # hops, keys, steps ...: what results are stratified by
    state: object = None  # whatever `check` needs beyond the words (a maze keeps its board here)
    prefixes: list = field(default=(), repr=False)  # answers up to each word; "": none there
    key: str = field(default="", repr=False)        # see `same`
    no_chain: str = field(default="", repr=False)   # why a file gives no steps for it; "": it does
    remarks: list = field(default=(), repr=False)   # what to say of how it was read


def same(example):
    """What makes two examples the same problem: the key of their task, else the question's words.

    A task gives keys if its words say less than the question: numbered names, unknown words.
    """
    return example.key or " ".join(example.question)


def same_all(examples):
    """A text that stands for these problems in their order: 16 digits of a hash."""
    return hashlib.sha256(repr([same(e) for e in examples]).encode()).hexdigest()[:16]


def split_of(key):
    """The split that owns a problem: a hash of its content, so no problem is in two splits."""
    # surrogatepass: JSON can hold half a character, "\ud800", which is no UTF-8
    return {0: "test", 1: "val"}.get(zlib.crc32(key.encode("utf-8", "surrogatepass")) % 8, "train")


def draw(make, name, split, index):
    """The example at `index` of `split`: make(rng) -> (Example, key) until key falls in the split.

    `name` separates the random streams of different tasks and settings. Out-of-distribution splits
    take their examples from the keys of train ("NAME-train"), val ("NAME-val") or else test.
    """
    rng = random.Random(f"{name}/{split}/{index}")
    part = split.rsplit("-", 1)[-1]
    home = part if part in ("train", "val") else "test"
    while True:
        example, key = make(rng)
        if split_of(key) == home:
            return example


USED = 1000     # problems at the beginning of a split that tables were made with, at most


def splits_of(task):
    """The names of all splits that `first_problems` knows: those of the task, "fresh" for what of
    test no table was made with, and "NAME-fresh" of its own splits."""
    ends = "train", "val", "test"
    return (*task.splits, "fresh", *(f"{name}-fresh" for name in task.splits
                                     if name.rsplit("-", 1)[-1] not in ends))


def first_problems(task, split, n):
    """The first n different problems of a split; fewer if it seems to hold no more.

    It seems so after 4n draws, of which the last 4 per problem found have brought nothing new.
    "fresh" and "NAME-fresh" are the problems of test and NAME after the first USED, so none of
    those is among them, whatever their place. BadInput if there are none.
    """
    if split.endswith("fresh"):
        used = split.removesuffix("fresh").removesuffix("-") or "test"
        fresh = first_problems(task, used, USED + n)[USED:]
        if not fresh:
            raise BadInput(f"{split}: {used} holds no more than {USED:,} problems, all used before")
        return fresh
    found, index, newest = {}, 0, 0
    while len(found) < n and index < max(4 * n, newest + 4 * len(found)):
        example = task.sample(split, index)
        if same(example) not in found:
            found[same(example)], newest = example, index
        index += 1
    return list(found.values())


PER_SEED = 2**32    # indices: the examples that a run with the next seed begins after
MAX_SPEED = 9
SPECIALS = ["<pad>", "<eos>", "<think>", "</think>", "<pause>"] + [
    f"<x{c}>" for c in range(1, MAX_SPEED + 1)]     # <x3>: think three times as fast
PAD, EOS, THINK, END, PAUSE = range(5)      # their ids
FIRST_WORD = len(SPECIALS)      # the words that a chain can hold have ids from here on


def speed_token(c):
    """The id of <xc>, for a factor c or a tensor of them."""
    return PAUSE + c


def shown(value):
    """What a file holds, for a message of one line."""
    text = repr(value)
    return text if len(text) <= 50 else text[:47] + "..."


class Vocab:
    """Words <-> ids; the specials come first, so for every task their ids are the constants."""

    def __init__(self, words):
        """BadInput if a word comes twice: one of a file that the method writes, too."""
        self.words = SPECIALS + list(words)
        self.ids = {word: i for i, word in enumerate(self.words)}
        twice = [word for i, word in enumerate(self.words) if self.ids[word] != i]
        if twice:
            raise BadInput(f"the word {shown(twice[0])} is reserved")

    def __len__(self):
        return len(self.words)

    def encode(self, words):
        return [self.ids[w] for w in words]

    def decode(self, ids):
        return [self.words[i] for i in ids]


@dataclass
class Batch:
    """B examples as ragged parts, each (B, its longest), padded with PAD = 0 on the right."""
    question: torch.Tensor
    chain: torch.Tensor     # the words of all reasoning steps, one after the other
    step_of: torch.Tensor   # number of the step that each word of the chain belongs to
    answer: torch.Tensor    # closed by EOS
    prefixes: torch.Tensor  # the answer to each prefix of the question; PAD: none
    examples: list
    tokens: int             # words of questions, chains and answers, <eos> included

    def map(self, f):
        parts = self.question, self.chain, self.step_of, self.answer, self.prefixes
        return Batch(*map(f, parts), self.examples, self.tokens)

    def to(self, device):
        return self.map(lambda t: t.to(device))     # non_blocking: MPS would read freed memory


def pad_rows(rows):
    """Lists of ids -> (B, longest) long tensor, padded on the right."""
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows], dtype=torch.long)


def collate(examples, vocab):
    return Batch(
        pad_rows([vocab.encode(e.question) for e in examples]),
        pad_rows([vocab.encode(w for s in e.steps for w in s) for e in examples]),
        pad_rows([[i for i, s in enumerate(e.steps) for _ in s] for e in examples]),
        pad_rows([vocab.encode(e.answer) + [EOS] for e in examples]),
        pad_rows([[vocab.ids.get(w, PAD) for w in e.prefixes] for e in examples]), examples,
        sum(len(e.question) + sum(map(len, e.steps)) + len(e.answer) + 1 for e in examples))


class Pools(torch.utils.data.Dataset):
    """`pool` batches drawn at once: number p has the same ones on every machine.

    Of `world` processes, number `rank` gets every world-th.
    """

    def __init__(self, task, vocab, size, seed, pool, split, rank, world):
        self.task, self.vocab, self.size, self.split = task, vocab, size, split
        self.seed, self.pool, self.rank, self.world = seed, pool, rank, world

    def __getitem__(self, p):
        """[(number, Batch)], tensors as arrays: those can be sent to another process.

        Examples are sorted by length, cut into batches and these shuffled: a batch holds rows of
        about equal length and wastes few slots on padding.
        """
        first = self.seed * PER_SEED + p * self.pool * self.size
        examples = [self.task.sample(self.split, first + i) for i in range(self.pool * self.size)]
        examples.sort(key=lambda e: len(e.question) + sum(map(len, e.steps)))
        order = list(range(self.pool))
        random.Random(f"{self.seed}/{p}").shuffle(order)
        return [(number, collate(examples[b * self.size:(b + 1) * self.size], self.vocab).map(
            torch.Tensor.numpy)) for number, b in enumerate(order, p * self.pool)
            if number % self.world == self.rank]


def ignore_signals():
    """Leaves Ctrl-C and SIGTERM, which a whole group gets, to others; returns the old handlers."""
    return {number: signal.signal(number, signal.SIG_IGN)
            for number in (signal.SIGINT, signal.SIGTERM)}


def begin_worker(_):
    """A worker ends with the process that trains, and only then: also if that is killed, where a
    worker would wait for ever for somebody to take its batches."""
    def watch():
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)
    ignore_signals()    # again: DataLoader has set a handler of its own
    threading.Thread(target=watch, daemon=True).start()


def batches(task, vocab, size, seed=0, start=0, pool=64, split="train", rank=0, world=1, workers=0):
    """Endless training batches of `size` examples, from number `start` on: their only state.

    `rank` and `world` as in Pools; `workers` processes of its own draw the examples ahead, the
    batches are the same without.
    """
    p, skip = divmod(start, pool)
    loader = torch.utils.data.DataLoader(
        Pools(task, vocab, size, seed, pool, split, rank, world), batch_size=None, sampler=count(p),
        num_workers=workers, prefetch_factor=1 if workers else None, collate_fn=list,
        worker_init_fn=begin_worker,
        # not forked, as Linux does it by default: torch has threads, whose locks a fork may copy
        multiprocessing_context="spawn" if workers else None,
        generator=torch.Generator())        # so that it takes no random numbers from training
    old = ignore_signals() if workers else {}       # what they ignore from their start, too
    pools = iter(loader)
    for number, handler in old.items():
        signal.signal(number, handler)
    for number, batch in chain.from_iterable(pools):
        if number >= start:
            yield batch.map(torch.from_numpy)
