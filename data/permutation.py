"""Products in S3 or S5: where does a row of n letters end up after a list of moves?

    question   start turn swap12 back
    chain      turn bca swap12 cba back acb     every move and the row after it, from abc
    answer     acb                      the row after the last one

Moves are exchanges of two places ("swap12": first and second) and turns of the whole row by one
("turn": the first letter goes to the end; "back": the last to the front). They generate all of
S_n, and do not commute.

Why it is here. With a chain every word follows from the row before and one move. Without one, all
moves have to be composed inside the forward pass, and their order matters, so nothing can be
counted up: a transformer of fixed depth has no shortcut for S5 (which is not solvable; Liu et al.,
arXiv 2210.10749), while parity or sums modulo m, which commute, need no depth at all. S3 is
solvable and has a shortcut in theory; how far small networks get in one pass is in
results/recurrent-depth.md. Depth log2(number of moves) suffices, by composing pairs.

Difficulty: the number of moves, 3..--moves; in half of the training problems it is --moves. "long"
has up to half as many again, "long-train" and "long-val" the same from the other keys.

The answer alone teaches little: rows of three moves are learned by heart, longer ones not at all
in minutes (results/recurrent-depth.md). So `nocot` is trained on every prefix of a question, too,
in one pass: at each move, what the answer would be (`--no-prefixes`: not); but for prefixes that
are questions of other splits, which training must not answer. No other method sees them.
Without special data, lengths may grow: with --grow N the first N training problems begin at one
move and end at --moves.

    python -m data.permutation --group s5
"""
import itertools

from data.cli import DRAWN, Flag, Parser, choice, unless
from data.common import PER_SEED, Example, draw, shown, split_of
from data.records import texts

GROUPS = {"s3": 3, "s5": 5}
FEWEST = 3      # moves; of fewer there are hardly any problems


def moves_of(n):
    """{word: row of indices}: the new row at i is what the old one has at row[i]."""
    moves = {"turn": [*range(1, n), 0], "back": [n - 1, *range(n - 1)]}
    for i, j in itertools.combinations(range(n), 2):
        swap = list(range(n))
        swap[i], swap[j] = j, i
        moves[f"swap{i + 1}{j + 1}"] = swap
    return moves


class Permutation:
    """Task contract: data/common.py. difficulty = number of moves."""
    FLAGS = {
        "group": Flag("s3", "permutations of 3 letters or of 5", tuple(GROUPS)),
        "moves": Flag(12, "most moves in a training problem", least=FEWEST, most=10**4,
                      idle=DRAWN),
        "prefixes": Flag(True, "nocot: train on the answer after every move, too",
                         idle=unless(method=["nocot"])),
        "grow": Flag(0, "training problems until they have all --moves; the first has one",
                     most=10**9, idle=DRAWN),
    }
    splits = "train", "val", "test", "long", "long-train", "long-val"

    @staticmethod
    def defaults(config, usual, in_words):
        """With convolutions it is learned in a third of the updates (results/LOG.md)."""
        return {"conv": 4}

    def __init__(self, group="s3", moves=12, prefixes=True, grow=0):
        n = choice(group, GROUPS, "group")
        self.most, self.name = moves, f"permutation/{group}/{moves}"
        self.prefixes, self.shorter = prefixes, grow
        self.moves, self.letters = moves_of(n), "abcde"[:n]
        self.words = ["start", *self.moves, *map("".join, itertools.permutations(self.letters))]

    def sample(self, split, index):
        first, end = FEWEST, self.most
        if split.startswith("long"):
            first, end = self.most + 1, self.most + (self.most + 1) // 2
        full = 0.5 if split == "train" else 0
        seen = index % PER_SEED     # training problems before this one
        if split == "train" and seen < self.shorter:
            first, end = 1, 1 + (self.most - 1) * seen // self.shorter
        return draw(lambda rng: self.make(rng, first, end, full), self.name, split, index)

    def make(self, rng, first, end, full):
        """A problem of first..end moves, a share `full` with all of them, and its moves as key."""
        count = end if rng.random() < full else rng.randint(first, end)
        e = self.example([rng.choice(list(self.moves)) for _ in range(count)])
        return e, " ".join(e.question)

    def example(self, words):
        """The problem of some moves."""
        row, steps = self.letters, []
        for word in words:
            row = "".join(row[i] for i in self.moves[word])
            steps.append([word, row])
        question = ["start", *words]
        prefixes = [""] + [row if split_of(" ".join(question[:i])) == "train" else ""
                           for i, (_, row) in enumerate(steps, 2)]
        return Example(question, steps, [row], len(words),
                       prefixes=prefixes if self.prefixes else [])

    def parse(self, record):
        """A record of texts. The chain and the answer follow from the question: it may leave them
        out, but not have others."""
        known = record if isinstance(record, dict) else {}
        question, steps, answer = texts({"steps": [], "answer": "?"} | known)
        first, *moves = question.split()
        if first != "start" or not moves or not set(moves) <= set(self.moves):
            raise ValueError(f"a question is 'start MOVE ...', with {', '.join(self.moves)}")
        example = self.example(moves)
        if "answer" in known and answer.split() != example.answer:
            raise ValueError(f"its answer is {example.answer[0]}, not {shown(answer)}")
        if steps and [step.split() for step in steps] != example.steps:
            raise ValueError("its steps are not one for each move: the move and the row after it")
        return example

    def check(self, example, words):
        return words == example.answer


if __name__ == "__main__":
    parser = Parser("data.permutation", __doc__)
    parser.add_flags(Permutation.FLAGS)
    task = Permutation(**parser.parse())
    for i in range(5):
        e = task.sample("train", i)
        print(" ".join(e.question), "|", " ".join(sum(e.steps, [])), "|", " ".join(e.answer))
