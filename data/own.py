"""Your own problems in your own words: the task that takes both from --data FILE.

A file is a JSON list of records, or has one record on each line. A record is

    {"question": "zorp mu . fleem ka zorp . mu ?", "steps": ["fleem ka zorp > fleem ."],
     "answer": "fleem"}

Each text is split at its blanks, and every word gets an embedding of its own: write "3 + 4", not
"3+4". A list of words will do, too: ["zorp", "mu", "."].

    python -m data.own --example zorp.json      # writes 1,000 problems of a made-up language
    python -m data.own --data zorp.json         # what is in a file, before you train on it
    python train.py --task own --data zorp.json --method colar

In the made-up language `zorp mu` says that zorp holds the ball, and `fleem ka zorp` that fleem and
zorp swap what they hold. A step is a swap and who holds the ball after it. `mu ?` asks who does in
the end.

A run keeps the words of its file. To evaluate it on another file (eval.py RUN --data OTHER), the
first one is not needed. A word that the run does not know is refused.
"""
import json
import random
import re
from types import SimpleNamespace

from data.cli import Flag, Parser, one_line
from data.common import SPECIALS, Example, shown
from data.files import write
from data.records import FileTask

FORM = "a record has question, steps (a list) and answer"
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")      # half characters, too
CREATURES = "zorp blik fleem glub naya quib".split()


class Own:
    """Task contract: data/common.py. difficulty = number of steps."""
    FLAGS = {}
    LEARNS = ("pieces",)
    splits = ("train", "val", "test")

    def __init__(self, pieces=""):
        """pieces: the words of the training file, with blanks between them; "": not yet read."""
        self.pieces = pieces

    @property
    def words(self):
        return self.pieces.split()

    def learn(self, examples):
        """Takes the words of these examples for its own, in an order that is not the file's."""
        found = {word for e in examples for part in (e.question, *e.steps, e.answer)
                 for word in part}
        self.pieces = " ".join(sorted(found))

    def parse(self, record):
        """A record of texts, or of lists of words. Without steps it is a problem without a chain.
        """
        if not isinstance(record, dict):
            raise ValueError(f"{shown(record)}: {FORM}")
        missing = [name for name in ("question", "steps", "answer") if name not in record]
        if missing:
            raise ValueError(f"no {' and no '.join(missing)}; {FORM}")
        steps = record["steps"]
        if not isinstance(steps, list):
            raise ValueError(f"steps: {shown(steps)} is no list")
        steps = [words_of(step, f"step {i}") for i, step in enumerate(steps, 1)]
        no_chain = "" if steps else "it has no steps"
        return Example(words_of(record["question"], "question"), steps,
                       words_of(record["answer"], "answer"), len(steps), no_chain=no_chain,
                       remarks=[] if steps else [f"without a chain: {no_chain}"])

    def check(self, example, words):
        return words == example.answer


def words_of(value, name):
    """The words of a text or list; ValueError, which says what is wrong with `name`, if it is
    neither, is empty, or has a word that cannot be one."""
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list):
        raise ValueError(f"{name}: {shown(value)} is neither a text nor a list of words")
    if not words:
        raise ValueError(f"{name}: it is empty")
    for word in words:
        if not isinstance(word, str) or word.split() != [word] or UNPRINTABLE.search(word):
            raise ValueError(f"{name}: {shown(word)} is not a word")
        if word in SPECIALS:
            raise ValueError(f"{name}: the word {word} is reserved")
    return words


def example_records(n=1000):
    """n different problems of the made-up language, of 3 to 6 swaps."""
    rng, found = random.Random("zorp"), {}
    while len(found) < n:
        holder = rng.choice(CREATURES)
        question, steps = [holder, "mu", "."], []
        for _ in range(rng.randint(3, 6)):
            one, other = rng.sample(CREATURES, 2)
            if holder in (one, other):
                holder = other if holder == one else one
            question += [one, "ka", other, "."]
            steps.append(f"{one} ka {other} > {holder} .")
        question = " ".join([*question, "mu", "?"])
        found[question] = {"question": question, "steps": steps, "answer": holder}
    return list(found.values())


FLAGS = {
    "example": Flag("", "write problems of a made-up language to this file"),
    "data": Flag("", "say what this file holds, and print three of its problems"),
}


def main(argv=None):
    parser = Parser("data.own", __doc__)
    parser.add_flags(FLAGS)
    with one_line("data.own"):
        args = SimpleNamespace(**parser.parse(argv))
        if args.example:
            write(args.example, "\n".join(map(json.dumps, example_records())) + "\n")
        if not args.data:
            print(f"wrote {args.example}" if args.example else __doc__.strip())
            return
        task = FileTask(Own(), args.data)
        print(f"{task.summary}; {len(task.words):,} different words")
        for e in task.examples["train"][:3]:
            print(" ".join(e.question), "|", " ".join(sum(e.steps, [])), "|", " ".join(e.answer))


if __name__ == "__main__":
    main()
