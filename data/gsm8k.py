"""GSM8K: school problems in free English, with equation chains. Cobbe et al., arXiv 2110.14168.

    python data/gsm8k.py                        # downloads the official files, once (5 MB)
    python data/gsm8k.py --from DIR             # takes train.jsonl and test.jsonl from there
    python data/gsm8k.py --show 3               # problems, their variants, and statistics
    python train.py --task gsm8k                # CoT, in about 20 minutes on one core

A worked example, as pieces (a blank between any two):

    question  n ##at ##al ##ia sold cl ##ips to 4 8 of her friends in ap ##ri ##l , and then ...
    steps     << 4 8 / 2 = 2 4 >>   << 4 8 + 2 4 = 7 2 >>
    answer    7 2

The chain is that of iCoT and Coconut: the annotations <<...>> of the official solutions, nothing
else. Words are cut into pieces; digits and signs are single (data/pieces.py). With --rare slots
words stay whole, and those beyond the `vocabulary` most frequent ones are numbered in every
question, in the order in which they appear:

    question  @0 sold @1 to 4 8 of her friends in @2 , and then she sold half as many @1 in may ...

With --numbers slots numbers become slots, too, and so do the results of equations; arithmetic is
exact, and the answer is what the equations written compute to (data/slots.py):

    question  @0 sold @1 to n0 of her friends in @2 , and then she sold half as many @1 in may ...
    steps     << n0 / 2 = r0 >>   << n0 + r0 = r1 >>
    answer    r1

An equation that cannot be computed makes the answer wrong. This is for CoT alone: with a chain that
is hidden or compressed, nobody can compute it, and the question does not say the numbers that the
model would have to answer with. Variants with other numbers would be the same text: none is drawn,
unless --sizes say in words how large numbers are.

With --asked some training problems ask for another result of a story, in the words of its written
solution (data/stories.py): twelve thousand questions more, from the official file alone. With
--told some are answered in the words of that solution, around the same equations. Such a question
ends with <told>; no other does, so without it the model writes equations alone:

    question  @0 sold @1 to n0 of her friends in @2 , and then she sold half as many @1 in may ...
              <told>
    steps     @0 sold   << n0 / 2 = r0 >>   @1 in may . @0 sold   << n0 + r0 = r1 >>   @1 ...

Splits: test is the official one; train and val are from the official training file
(data/gsm8k_files.py). Of each training problem that data/resample.py can follow there are
`variants` with other numbers.

Other files as extra training problems (--extra) or to test on (eval.py --data): all the formats of
data/formats.py. One line says how many of their problems have no chain, or are left out. Extra
training problems must have one, and not be in val or test. MAWPS, in one file (MIT licence), adds
2,128 of its 2,373 problems; they contain most of MultiArith, which then is no test.

    answer is right     as exact numbers, without $ % a full stop and commas of thousands; else as
                        words, numbered as in the question; <?> is never right
    guesses             the most frequent training answer is right for 2.0% of the test problems,
                        one of the 16 most frequent for 33.8%
    last result = answer in 93.7% of the training and 91.6% of the test problems; 1.4% have no steps
"""
import functools
import random
import re
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

if __package__ in (None, ""):       # run as a script
    sys.path.insert(0, str(Path(__file__).parents[1]))

from data import slots
from data.arithmetic import Arithmetic
from data.cli import DRAWN, BadInput, Flag, Parser, named, one_line, unless
from data.common import Example
from data.formats import annotations, number, parse, records
from data.gsm8k_files import (SHA256, bare, extra_problems, fetch, official, official_asked,
                              problems_of, solutions)
from data.pieces import SLOTS, UNKNOWN, Pieces, Slots, learn_pieces
from data.resample import Untraceable, trace
from data.stories import told

SIGNS = list("0123456789+-*/=().,?!$%'\"&:;#_") + ["<<", ">>"]     # _ between two numbers
TOLD = "<told>"
KEPT = {*SIGNS, *slots.WORDS, *slots.SIZES, TOLD}     # what --word-dropout does not hide
FEW_TEXTS = {   # at any size: else its few texts are learned by heart (results/gsm8k.md)
    "rare": "slots", "vocabulary": 1000, "asked": 0.6, "word_dropout": 0.1, "dropout": 0.1,
    "weight_decay": 0.3}
FEW_TEXTS_TINY = {      # at --size tiny
    "layers": 4, "width": 128, "heads": 4, "batch": 16, "lr": 5e-3, "steps": 5000,
    "first_steps": 5000, "val_n": 506, "test_n": 1319}


@functools.cache
def template(problem):
    """The Template of a problem as tuples, or None."""
    try:
        return trace(*problem)
    except Untraceable:
        return None


@functools.cache
def official_pieces(size, rare):
    """The argument `pieces` of GSM8K, from the words of the training questions."""
    words = Counter(w for question, _, _ in official()["train"]
                    for w in re.findall("[a-z]+", question.lower()))
    if rare == "slots":
        return " ".join([*(w for w, _ in words.most_common(size)), *SLOTS])
    return " ".join(learn_pieces(words, size))


def same_text(settings):
    """Flag.idle of --variants: over slots, those with other numbers are the same text, unless their
    sizes are said."""
    slots = settings["numbers"] == "slots" and not settings["sizes"]
    return "with --numbers slots and no --sizes" if slots else DRAWN(settings)


class Known(NamedTuple):
    """What an Example with slots keeps."""
    values: dict        # {slot: Fraction}
    answer: list        # words of the right answer, without slots


class GSM8K:
    """Task contract: data/common.py. difficulty = number of equations."""
    FLAGS = {
        "variants": Flag(1000, "of each training problem, with other numbers; 0: none. With "
                         "--numbers slots and no --sizes none are drawn", idle=same_text),
        "rare": Flag("pieces", "rare words: cut into pieces, or numbered in each question",
                     ("pieces", "slots")),
        "vocabulary": Flag(2000, "pieces of words, or the most frequent words", least=1),
        "numbers": Flag("digits", "digits, or slots: n0, n1 ... of the question and r0, r1 ... of "
                        "equations, which are computed exactly; for --method cot",
                        ("digits", "slots")),
        "sizes": Flag(False, "with --numbers slots, a word before each number of a question says "
                      "how large it is", idle=unless(numbers=["slots"])),
        "extra": Flag("", "more training problems: files, separated by commas"),
        "asked": Flag(0.0, "share of training problems, --told and --mix aside, that ask for what "
                      "a sentence of an official solution says", most=1, idle=DRAWN),
        "told": Flag(0.0, "share of training problems that are answered in the words of their "
                     "official solution", most=1, idle=DRAWN),
        "mix": Flag(0.0, "share of training problems from --task arithmetic --level full", most=1,
                    idle=DRAWN),
        "word_dropout": Flag(0.0, "share of the pieces of words hidden in a training question, so "
                             "that texts are not learned by heart", most=1, idle=DRAWN),
    }
    METHOD = "cot"
    LEARNS = ("pieces",)        # what it makes of its files; the config of a run keeps it
    splits = ("train", "val", "test")

    @staticmethod
    def defaults(config, usual, in_words):
        """Slots and the words of solutions are for chains that are written: others cannot be
        computed, and are equations in digits."""
        if config.get("numbers") == "slots" and not in_words:
            raise BadInput("--numbers slots: for --method cot alone; others hide their equations")
        chain = {"numbers": "slots", "told": 0.3} if in_words else {"numbers": "digits"}
        return {"conv": 4, **chain, **FEW_TEXTS,
                **(FEW_TEXTS_TINY if config["size"] == "tiny" else {})}

    def __init__(self, variants=1000, rare="pieces", vocabulary=2000, numbers="digits", sizes=False,
                 extra="", asked=0.0, told=0.0, mix=0.0, word_dropout=0.0, pieces=""):
        self.slots, self.extra = numbers == "slots", extra
        self.sizes = sizes and self.slots
        self.variants = 0 if self.slots and not sizes else variants     # see `same_text`
        self.asked, self.told, self.mix = asked, told, mix
        self.word_dropout = word_dropout
        self.pieces = pieces or official_pieces(vocabulary, rare)
        self.words = [*SIGNS, UNKNOWN, *(slots.WORDS if self.slots else ()),
                      *(slots.SIZES if self.sizes else ()),
                      *((TOLD,) if told else ()), *self.pieces.split()]
        self.cut = {"pieces": Pieces, "slots": Slots}[rare](self.words)
        self.arithmetic = Arithmetic("full")

    @functools.cached_property
    def problems(self):
        """Those of every split, with the extra files in train."""
        split = dict(official())
        held = {bare(question) for name in ("val", "test") for question, _, _ in split[name]}
        split["train"] = [problem for problem in split["train"] if not self.unfit(problem)]
        for path in filter(None, self.extra.split(",")):
            split["train"] = split["train"] + extra_problems(path, held, self.unfit)
        return split

    @functools.cached_property
    def more_questions(self):
        """Those of --asked."""
        return [problem for problem in official_asked() if not self.unfit(problem)]

    @functools.cached_property
    def solved(self):
        """Those of --told: problems whose solution has their equations and no others."""
        return [problem for problem in official()["train"] if not self.unfit(problem)
                and len(told(solutions()[problem[0]])) == len(problem[1]) + 1]

    def unfit(self, problem):
        """Why a problem cannot be trained on; "" if it can."""
        return self.example(*problem).no_chain if self.slots else ""

    def trained_on(self, examples):
        """[bool]: is each of these a problem of train, or of val, which the run was watched with?
        Be it with other numbers: the rest is all that variants keep. BadInput if files are gone.
        """
        seen = {bare(question) for split in ("train", "val")
                for question, _, _ in self.problems[split]}
        return [bare(example.key) in seen for example in examples]

    def sample(self, split, index):
        if split != "train":
            problems = official()[split]
            return self.example(*problems[index % len(problems)])
        problems, rng = self.problems["train"], random.Random(f"gsm8k/{index}")
        if rng.random() < self.mix:
            return self.stand_in(index)
        if self.told and rng.random() < self.told:
            example = self.in_words(rng.choice(self.solved))
        else:
            if self.asked and rng.random() < self.asked:
                problems = self.more_questions
            problem, variant = rng.choice(problems), rng.randint(0, self.variants)
            found = variant and template(problem)
            drawn = found and found.draw(random.Random(f"{problem[0]}/{variant}"))
            example = self.example(*drawn or problem)
        if self.word_dropout:
            hide = [rng.random() < self.word_dropout and piece not in KEPT
                    for piece in example.question]
            example.question = [UNKNOWN if h else p for h, p in zip(hide, example.question)]
        return example

    def example(self, question, equations, answer, no_chain="", remarks=()):
        if self.slots:
            return self.over_slots(question, equations, answer, no_chain, remarks)
        steps = [["<<", *e, ">>"] for e in equations]
        return Example(self.cut(question), steps, self.cut(answer, question), len(steps),
                       key=" ".join(question.lower().split()), no_chain=no_chain, remarks=remarks)

    def over_slots(self, question, equations, answer, no_chain, remarks):
        """An Example with slots. A chain that cannot be written is left out, with its answer in
        signs. state: the values of the slots, and the answer as the file has it."""
        masked, true = slots.mask(question), self.cut(answer, question)
        words = self.named(masked, masked)
        if self.sizes:
            words = [part for word in words for part in (
                [slots.size_of(masked.values[word]), word] if word in masked.values else [word])]
        steps, said = [], true
        try:
            if not no_chain:
                steps, said = slots.write(masked, equations, answer)
        except Untraceable as why:
            no_chain = f"not over slots: {why}"
            remarks = [*remarks, f"without a chain: {no_chain}"]
        return Example(words, steps, said, len(equations), Known(masked.values, true),
                       key=" ".join(question.lower().split()), no_chain=no_chain, remarks=remarks)

    def named(self, masked, question):
        """The words of a text with names for its numbers; question: of this one. Both Masked."""
        names = iter(masked.names)
        return [next(names) or UNKNOWN if word == "0" else word
                for word in self.cut(masked.text, question.text)]

    def in_words(self, problem):
        """An Example whose chain is the written solution of a problem, with its equations."""
        example, (question, _, _) = self.example(*problem), problem
        texts = told(solutions()[question])
        if self.slots:
            masked = slots.mask(question)
            texts = [self.named(slots.mask(text, masked), masked) for text in texts]
        else:
            texts = [self.cut(text, question) for text in texts]
        example.question = [*example.question, TOLD]
        example.steps = [texts[0], *(part for pair in zip(example.steps, texts[1:])
                                     for part in pair)]
        return example

    def ask(self, text):
        return self.example(text, (), "", no_chain="a question of one's own")

    def stand_in(self, index):
        """A problem of the task `arithmetic`, in the form of these."""
        e = self.arithmetic.sample("train", index)
        question, *steps = (re.sub(r"(?<=\d) (?=\d)", "", " ".join(words))
                            for words in (e.question, *e.steps))
        equations = ["".join(e.split()) for step in steps for e in annotations(step)]
        return self.example(question, equations, "".join(e.answer))

    records = staticmethod(records)

    def parse(self, record):
        parsed = parse(record)
        example = self.example(*parsed.problem, parsed.no_chain, [*parsed.remarks])
        if UNKNOWN in example.answer:
            example.remarks.append("with an answer of unknown words: no answer to it is right")
        return example

    def compute(self, example, chain, answer):
        """An answer without slots; the same as before if there are none."""
        return slots.compute(example.state.values, chain, answer) if self.slots else answer

    def check(self, example, words):
        """By value, if both answers are numbers; else word by word. <?> stands for many words: it
        equals none."""
        right = example.state.answer if self.slots else example.answer
        if UNKNOWN in words or UNKNOWN in right:
            return False
        mine, true = (number("".join("".join(w).split())) for w in (words, right))
        if mine is not None and true is not None:
            return mine == true
        return bool(whole(words)) and whole(words) == whole(right)


def whole(pieces):
    """Pieces -> text, without what does not count in an answer."""
    found = " ".join(p for p in pieces if p not in ("$", "%"))
    return found.replace(" ##", "").removesuffix(".").strip()


def guessed(split, k):
    """The share of test problems that k fixed guesses hold an answer to: what one of k samples is
    right for should be read beside it."""
    count = Counter(answer for _, _, answer in split["train"])
    guesses = {answer for answer, _ in count.most_common(k)}
    return sum(answer in guesses for _, _, answer in split["test"]) / len(split["test"])


SHOW = {"show": Flag(0, "problems to print, with 3 variants")}


def main(argv=None):
    parser = Parser("data/gsm8k.py", __doc__)
    parser.add_argument("--from", type=named, dest="source", metavar="DIR",
                        help="a folder with the files")
    parser.add_flags(SHOW)
    with one_line("data/gsm8k.py"):
        args = parser.parse(argv)
        files = {}      # {name: its path}
        for name in SHA256:
            files[name] = fetch(name, source=args["source"])
            print(files[name])
    split, rng = official(), random.Random(0)
    print({name: len(problems) for name, problems in split.items()})
    traced = [p for p in split["train"] if template(p)]
    print(f"other numbers for {len(traced)} of {len(split['train'])} training problems "
          f"({len(traced) / len(split['train']):.1%})")
    left_out = len(problems_of(files["train.jsonl"])) - len(split["train"]) - len(split["val"])
    print(f"{left_out} training problems left out: in the test set, but for the numbers")
    over_slots = GSM8K(numbers="slots", rare="slots")
    shares = {name: sum(not over_slots.unfit(p) for p in problems) / len(problems)
              for name, problems in split.items()}
    print("over slots: " + ", ".join(f"{share:.1%} of {name}" for name, share in shares.items()))
    print(f"guesses: the most frequent training answer is right for {guessed(split, 1):.1%} of "
          f"test, one of the 16 most frequent for {guessed(split, 16):.1%}")
    for p in traced[:args["show"]]:
        for question, equations, answer in [p] + [template(p).draw(rng) or p for _ in range(3)]:
            print(f"{question} | {' '.join(equations)} | {answer}")
        print()


if __name__ == "__main__":
    main()
