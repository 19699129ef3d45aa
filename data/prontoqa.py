"""ProntoQA: is it true that somebody is, say, not blue? A chain of rules tells.

Saparov & He, arXiv 2210.01240. 5 hops in Coconut (2412.06769), Token Assorted (2502.03275). Here 2:

    Tumpuses are blue. Each wumpus is a yumpus. Every rompus is sweet. Wumpuses are rompuses.
    Lempuses are gorpuses. Every yumpus is not blue. Each dumpus is hot. Wumpuses are small.
    Yumpuses are dumpuses. Every yumpus is a zumpus. Each lempus is kind. Max is a lempus.
    Max is a wumpus. True or false: Max is blue. -> Max is a wumpus. Each wumpus is a yumpus.
    | Max is a yumpus. Every yumpus is not blue. | Max is not blue. -> False

The compact code has three words per sentence, and a step is the rule that is used:
tumpus is blue wumpus is yumpus ... ? Max is blue -> wumpus is yumpus, yumpus not blue -> False

The structure never changes. A chain c0 -> c1 -> ... -> ch, where each but ch has a leaf as second
parent, and a pair e0 -> e1; the name is a c0 and an e0. c0 ... c(h-1), the leaves and e0 have one
property each, of different families. The question is about that of c(h-1); one more concept, met
nowhere else, has the same with the opposite sign. Random order, but the two facts come last.

Differs from the paper:
1. Copied from 2,000 outputs of the official program; the shares of "not" are from its source, which
   negates 1/3 but stops more often at a negated property: hence .47, and .28 on the way there.
2. Endless fresh problems, not 9,000 / 200 / 800 (`parse` reads those); the compact code; 2-3 hops
   at "tiny"; split "ood" with more hops (17 concepts do for 6); test-2 is test with 2 hops.
3. `debiased` replaces the pair and the lone concept by a mirror image: a second chain, for another
   name, to the opposite property; both chains draw leaves from one pool. Asking about the other
   name is then as likely, so a rule that does not read the name is right half of the time.

How often a shortcut is right, in 10,000 problems (python -m data.prontoqa --level full ...). Known:
of the two rules about the property, believe the one whose subject occurs in another sentence. It is
always right and needs no hop, so the standard problems cannot show reasoning.
                                        released  full      debiased  tiny     debiased
    words in English (compact)           131.5    131 (79)  196 (118) 83 (49)  110 (65)
    True unless asked about a "not"       .54      .53       .50       .53      .49
    known                                1.00     1.00       .50      1.00      .50
"""
import random
from collections import Counter, namedtuple
from functools import partial

from data.cli import DRAWN, Flag, Parser, choice
from data.common import Example, draw, shown
from data.records import texts

NAMES = "Alex Fae Max Polly Rex Sally Sam Stella Wren".split()
CONCEPTS = """brimpus dumpus gorpus grimpus impus jompus lempus lorpus numpus rompus shumpus sterpus
    tumpus vumpus wumpus yumpus zumpus""".split()
FAMILIES = [family.split() for family in """blue red brown orange, small large, transparent opaque,
    metallic wooden luminous liquid, nervous happy feisty shy, bright dull, sweet sour spicy bitter,
    floral fruity earthy, hot cold temperate, kind mean angry amenable aggressive, melodic muffled
    discordant loud, slow moderate fast, windy sunny overcast rainy snowy""".split(",")]
ADJECTIVES = sum(FAMILIES, [])
ENGLISH = "are a an Each Every . or false :".split() + [c + "es" for c in CONCEPTS]
ENGLISH += [plural.capitalize() for plural in ENGLISH[-17:]]
LEVELS = {  # hops; for ood; English?
    "tiny": ((2, 3), (4, 5), False), "tiny-text": ((2, 3), (4, 5), True),
    "full": ((5,), (6,), False), "text": ((5,), (6,), True)}
STYLES = ("plural", "plural", "Each", "Every")      # of rules, equally likely; a fact has style ""
SURVEY = {"n": Flag(10000, "problems to average over", least=1)}
OPPOSITE = {"is": "not", "not": "is"}

Statement = namedtuple("Statement", "style subject link predicate")     # link is "is" or "not"


def arrows(nodes):
    return [(a, "is", b) for a, b in zip(nodes, nodes[1:])]


def has(rng, subject, family, negated):
    return subject, "not" if rng.random() < negated else "is", rng.choice(family)


def standard(rng, h):
    """(rules, facts, proof) with h hops, as (subject, link, predicate)."""
    concepts, families = rng.sample(CONCEPTS, 2 * h + 4), rng.sample(FAMILIES, 2 * h + 1)
    chain, leaves, (e0, e1, lone) = concepts[:h + 1], concepts[h + 1:-3], concepts[-3:]
    name, last = rng.choice(NAMES), has(rng, chain[h - 1], families.pop(), .47)
    rules = arrows(chain) + [(a, "is", b) for a, b in zip(chain, leaves)] + arrows([e0, e1])
    rules += [has(rng, c, families.pop(), .28) for c in chain[:h - 1]]
    rules += [has(rng, c, families.pop(), .33) for c in leaves + [e0]]
    return (rules + [last, (lone, OPPOSITE[last[1]], last[2])],
            [(name, "is", chain[0]), (name, "is", e0)], arrows(chain[:h]) + [last])


def mirrored(rng, h):
    """The same, debiased: two chains of h concepts; the first is asked about."""
    concepts, families = rng.sample(CONCEPTS, 17), rng.sample(FAMILIES, 13)
    chains, leaves = (concepts[:h], concepts[h:2 * h]), concepts[2 * h:3 * h + 1]
    last = has(rng, chains[0][-1], families[0], .5)
    rules = [last, (chains[1][-1], OPPOSITE[last[1]], last[2])]
    rules += [has(rng, c, family, .33) for c, family in zip(leaves, families[h:])]
    for chain in chains:    # the last of a chain has two leaves; with 6 hops leaves are short
        children = zip(rng.sample(leaves, len(leaves)), chain[-1:] + chain[::-1])
        rules += arrows(chain) + [(child, "is", leaf) for leaf, child in children]
        rules += [has(rng, c, family, .28) for c, family in zip(chain, families[1:h])]
    facts = [(name, "is", chain[0]) for name, chain in zip(rng.sample(NAMES, 2), chains)]
    return rules, facts, arrows(chains[0]) + [last]


def sentence(style, subject, link, predicate):
    """A statement in the English of the paper."""
    many, noun = style == "plural", predicate in CONCEPTS
    article = "" if many or not noun else "an" if predicate == "impus" else "a"
    head = [subject.capitalize() + "es", "are"] if many else [style, subject, "is"]
    predicate += "es" if many and noun else ""
    tail = ["not" if link == "not" else "", article, predicate, "."]
    return [word for word in head + tail if word]


SUBJECTS = [("", name) for name in NAMES] + [(s, c) for s in STYLES[1:] for c in CONCEPTS]
ENDS = [("is", p) for p in CONCEPTS + ADJECTIVES] + [("not", p) for p in ADJECTIVES]
ALL = {" ".join(sentence(*s, *end)): Statement(*s, *end) for s in SUBJECTS for end in ENDS}


def read(text):
    """The inverse of `sentence`, from text without the full stop."""
    if (statement := ALL.get(" ".join(text.split()) + " .")) is None:
        raise ValueError(f"not a sentence of ProntoQA: {shown(text)}")
    return statement


class ProntoQA:
    FLAGS = {
        "level": Flag("tiny", "tiny (2-3 hops), full (5 hops); tiny-text, text: in English",
                      tuple(LEVELS)),
        "debiased": Flag(False, "distract by a mirror image of the chain: no zero-hop shortcut",
                         idle=DRAWN),
    }

    @staticmethod
    def defaults(config, usual, in_words):
        """Rules stand in no order: that takes convolutions. The last one is looked up by two keys
        at once: that takes five times the updates, of twice the batch."""
        return {"conv": 4, "steps": 5 * usual["steps"], "first_steps": 5 * usual["first_steps"],
                "batch": 2 * usual["batch"]}

    def __init__(self, level="tiny", debiased=False):
        hops, ood_hops, self.english = choice(level, LEVELS, "level")
        self.hops = {"train": hops, "val": hops, "test": hops, "ood": ood_hops}
        self.hops |= {f"test-{h}": (h,) for h in hops + ood_hops}
        self.splits, self.debiased = tuple(self.hops), debiased
        self.words = NAMES + CONCEPTS + ADJECTIVES + "is not True False".split()
        self.words += ENGLISH if self.english else ["?"]

    def problem(self, rng, split):
        """(told, query, proof): all statements, the one to judge, the rules that lead to it."""
        hops = rng.choice(self.hops[split])
        rules, facts, proof = mirrored(rng, hops) if self.debiased else standard(rng, hops)
        styled = {rule: Statement(rng.choice(STYLES), *rule) for rule in rules}
        told = rng.sample(list(styled.values()), len(rules))
        told += [Statement("", *fact) for fact in rng.sample(facts, 2)]
        query = Statement("", facts[0][0], rng.choice(["is", "not"]), proof[-1][2])
        return told, query, [styled[rule] for rule in proof]

    def write(self, problem):
        told, query, proof = problem
        answer = [str(query.link == proof[-1].link)]
        if self.english:    # what the name is, and the rule for that; at last the property
            question = sum((sentence(*s) for s in told), []) + "True or false :".split()
            steps = [sentence("", query[1], "is", r.subject) + sentence(*r) for r in proof]
            steps += [sentence("", query[1], *proof[-1][2:])]
            return Example(question + sentence(*query), steps, answer, len(proof))
        question = [word for s in told for word in s[1:]] + ["?", *query[1:]]
        return Example(question, [list(rule[1:]) for rule in proof], answer, len(proof))

    def make(self, split, rng):
        told, query, _ = problem = self.problem(rng, split)
        return self.write(problem), f"{sorted(s[1:] for s in told)} {query[1]} {query[3]}"

    def sample(self, split, index):
        name = f"prontoqa/{self.hops['train']}/{self.debiased}"     # so that text = full
        return draw(partial(self.make, split), name, split, index)

    def check(self, example, words):
        return words == example.answer

    def parse(self, record):
        question, steps, answer = texts(record)
        body, _, query = question.partition("True or false:")
        steps = " ".join(steps)
        told = [read(text) for text in body.rstrip(" .").split(".")]
        query, proof = read(query.rstrip(" .")), [*map(read, steps.split(".")[1:-2:2])]
        if not proof:
            raise ValueError("a ProntoQA record has question, steps (a list) and answer")
        chain = [Statement("", query.subject, "is", proof[0].subject)] + proof
        text = ProntoQA("text").write((told, query, proof))     # do the steps say this proof?
        if (sum(text.steps, text.answer) != [answer] + steps.replace(".", " .").split()
                or not set(chain) <= set(told) or proof[-1].predicate != query.predicate
                or any(a.predicate != b.subject for a, b in zip(chain, proof))):
            raise ValueError(f"the steps do not lead to the answer: {shown(answer)}")
        return self.write((told, query, proof))


def survey(problem):
    told, query, proof = problem
    rules = [s for s in told if s.predicate == query.predicate]
    known = [r for r in rules if sum(r.subject in s for s in told) > 1]
    return {
        "words in English": len(ProntoQA("text").write(problem).question),
        "True unless asked about a not": proof[-1].link == "is",
        "known": sum(r.link == proof[-1].link for r in known) / len(known)}     # no telling: 1/2


if __name__ == "__main__":
    parser = Parser("data.prontoqa", "Prints a problem and what problems are like.")
    parser.add_flags(ProntoQA.FLAGS | SURVEY)
    args = parser.parse()
    n = args.pop("n")
    task, rng, total = ProntoQA(**args), random.Random(0), Counter()
    example = task.sample("train", 0)
    print(*example.question, "->", *sum(example.steps, []), "->", *example.answer)
    for _ in range(n):
        total.update(survey(task.problem(rng, "train")))
    for key, value in total.items():
        print(f"{key:40} {value / n:.3f}")
