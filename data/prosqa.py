"""ProsQA: which of two concepts is somebody? The answer lies several hops deep in a graph of facts.

Coconut (Hao et al. 2024, arXiv 2412.06769); used by Token Assorted (arXiv 2502.03275). By hand:

    Every wumpus is a rompus. Tom is a wumpus. Every yumpus is a gorpus. Every lempus is a zumpus.
    Alex is a yumpus. Every wumpus is a lempus. Is Tom a gorpus or zumpus?
    -> Tom is a wumpus. Every wumpus is a lempus. Every lempus is a zumpus.  -> Tom is a zumpus.

and the same in the compact code, two words per fact (after `?` the options, after `:` the name):

    wumpus rompus Tom wumpus yumpus gorpus lempus zumpus Alex yumpus wumpus lempus ? gorpus zumpus : Tom
    -> Tom wumpus, wumpus lempus, lempus zumpus  -> zumpus

How a problem is made:
1. N nodes in order; 0 and 1 are roots (two names) and found family 1 and family 2.
2. Every later node takes Poisson(1.5) parents: 35% from family 1, 45% from family 2, 20% from all.
3. They are drawn without replacement, with weight 1.5 depth + 1 in a family, else 1. A node belongs to
   the families of its parents: none, one or both. Its depth is its distance from the root.
4. Nodes without any edge go. Nodes without parents get names, the others concepts.
5. The question is about the root whose deepest exclusive leaf (a leaf of its family alone) is deeper.
   target: one of its deepest exclusive leaves. Wrong option: an exclusive leaf of the other root.
The steps are one of the shortest paths to the target, each equally likely; the facts are shuffled.

Differs from the paper:
1. Algorithm 1 of the paper does not make the released data: a classifier on graph features tells its
   graphs from the released ones 87-90% of the time. Steps 1-5 were refitted to the released graphs
   (weights, family shares, the order of the two roots) and the same classifier is at chance, 48-50%.
2. The train set is endless; the paper has 17,886 / 300 / 500 problems. `parse` reads that format.
3. `compact` words; the level "text" has the paper's sentences, and the same problems as "full".
4. `tiny` and `small` are smaller graphs. `ood` has more hops than train, on larger graphs.
5. `balanced`: see below.

Means of the 800 released problems (valid + test) beside 20,000 of --level full:
TABLE1
Shortcuts: how often a rule that hardly reads the question finds the target (ties count half):
TABLE2
By construction the target is the deepest leaf, so depth alone answers 94%, whoever is asked about. With
`balanced` the wrong option is exactly as deep as the target; graphs that have none are rejected, and as
few deep ones are left, a hop count is drawn first, each of the two lowest of the level equally often.
"""
import argparse
import random
import re
from bisect import bisect
from collections import Counter, namedtuple
from functools import partial
from math import exp, factorial

from data.common import Example, draw

NAMES = """Alex Bob Carol Davis Eva Fae Gabriel Jack Max Oliver Polly Rex Sally Sam Stella Tom
    Wren""".split()
CONCEPTS = """bompus boompus brimpus chorpus dumpus felpus fompus gerpus gorpus grimpus gwompus
    hilpus impus jelpus jompus kerpus lempus lorpus numpus quimpus rempus rompus rorpus scrompus
    shumpus sterpus storpus terpus timpus tumpus vumpus worpus wumpus yerpus yimpus yumpus zhorpus
    zumpus""".split()
FACT = re.compile(r"\s*(Every )?(\w+) is a (\w+)\s*")
QUERY = re.compile(r"(.*)\.\s*Is (\w+) a (\w+) or (\w+)\?\s*")
POISSON = [sum(exp(-1.5) * 1.5 ** j / factorial(j) for j in range(k + 1)) for k in range(12)]

Level = namedtuple("Level", "nodes hops ood_nodes ood_hops english")
LEVELS = {
    "tiny": Level(14, (2, 3), 20, (4, 5), False),            # for two CPU cores
    "small": Level(20, (2, 3, 4), 28, (5, 6), False),
    "full": Level(28, (3, 4, 5, 6), 40, (7, 8), False),      # the size of the paper
    "text": Level(28, (3, 4, 5, 6), 40, (7, 8), True),
}

# facts: (parent, child) words in the order of the text; path: the facts from root to target
Problem = namedtuple("Problem", "facts options path")


def grow(rng, size):
    """Parents, family and depth of `size` nodes: steps 1-3 above. Nodes 0 and 1 are the roots."""
    parents, family, depth = [[], []], [1, 2], [0, 0]
    # what parents are drawn from: nodes and their cumulative weights
    everyone, members = ([0, 1], [1.0, 2.0]), {1: ([0], [1.0]), 2: ([1], [1.0])}
    for i in range(2, size):
        count, u = bisect(POISSON, rng.random()), rng.random()
        nodes, weights = members[1] if u <= .35 else members[2] if u <= .80 else everyone
        mine, own = [], 0
        while len(mine) < min(count, len(nodes)):    # a repeated parent is drawn again
            p = nodes[bisect(weights, rng.random() * weights[-1])]
            if p not in mine:
                mine.append(p)
                own |= family[p]
        parents.append(mine)
        family.append(own)
        depth.append(1 + min((depth[p] for p in mine if family[p]), default=0))
        weight = 1.5 * depth[i] + 1 if own in members else 1.0
        for nodes, weights in (everyone, members[own]) if own in members else (everyone,):
            nodes.append(i)
            weights.append(weights[-1] + weight)
    return parents, family, depth


def shortest(parents, family, depth, node):
    """All shortest paths, as lists of nodes, from the root of `node`'s family to it."""
    if depth[node] == 0:
        return [[node]]
    back = [p for p in parents[node] if family[p] == family[node] and depth[p] == depth[node] - 1]
    return [path + [node] for p in back for path in shortest(parents, family, depth, p)]


def pose(rng, size, hops, balanced):
    """A problem on a fresh graph with one of these hop counts (steps 4-5), or None: try again."""
    parents, family, depth = grow(rng, size)
    inner = {p for mine in parents for p in mine}
    leaves = {r: [i for i in range(2, size) if family[i] == r and i not in inner] for r in (1, 2)}
    if not (leaves[1] and leaves[2]):
        return None
    deepest = {r: max(depth[i] for i in leaves[r]) for r in leaves}
    root = max(leaves, key=lambda r: (deepest[r], rng.random()))    # a tie is decided by a coin
    target = rng.choice([i for i in leaves[root] if depth[i] == deepest[root]])
    wrong = [i for i in leaves[3 - root] if depth[i] == deepest[root] or not balanced]
    if deepest[root] not in hops or not wrong:
        return None
    options = [target, rng.choice(wrong)]
    path = rng.choice(shortest(parents, family, depth, target))
    named = [i for i in inner if not parents[i]]
    kinds = [i for i in range(size) if parents[i]]
    word = dict(zip(named + kinds, rng.sample(NAMES, len(named)) + rng.sample(CONCEPTS, len(kinds))))
    facts = [(word[p], word[i]) for i in kinds for p in parents[i]]
    rng.shuffle(facts)
    rng.shuffle(options)
    return Problem(facts, [word[i] for i in options], [(word[p], word[i]) for p, i in zip(path, path[1:])])


def sentence(parent, child):
    return ["Every"] * (parent in CONCEPTS) + [parent, "is", "a", child, "."]


def read_fact(text):
    """(parent, child) of `Every wumpus is a lempus` or `Tom is a lempus`."""
    match = FACT.fullmatch(text)
    if not match:
        raise ValueError(f"not a ProsQA sentence: {text!r}")
    every, parent, child = match.groups()
    if parent not in (CONCEPTS if every else NAMES) or child not in CONCEPTS:
        raise ValueError(f"a word outside the vocabulary of ProsQA: {text!r}")
    return parent, child


class ProsQA:
    ARGS = {"level": ("tiny", "tiny, small, full (the paper's size) or text (full, in English)"),
            "balanced": (False, "both options equally deep: closes the depth shortcut")}

    def __init__(self, level="tiny", balanced=False):
        if level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
        nodes, hops, ood_nodes, ood_hops, self.english = LEVELS[level]
        if balanced:
            hops, ood_hops = hops[:2], (hops[1] + 1,)
        self.balanced = balanced
        self.shapes = {"train": (nodes, hops), "val": (nodes, hops), "test": (nodes, hops),
                       "ood": (ood_nodes, ood_hops)}
        self.shapes |= {f"test-{h}": (nodes, (h,)) for h in hops}
        self.shapes |= {f"test-{h}": (ood_nodes, (h,)) for h in ood_hops}
        self.splits = tuple(self.shapes)
        self.words = NAMES + CONCEPTS + ("Every is a . Is or ?" if self.english else "? :").split()

    def problem(self, rng, split):
        nodes, hops = self.shapes[split]
        if self.balanced:
            hops = (rng.choice(hops),)
        while True:
            problem = pose(rng, nodes, hops, self.balanced)
            if problem:
                return problem

    def write(self, problem):
        facts, (a, b), path = problem
        root, target = path[0][0], path[-1][1]
        if self.english:
            question = [w for fact in facts for w in sentence(*fact)]
            question += ["Is", root, "a", a, "or", b, "?"]
            return Example(question, [sentence(*f) for f in path], sentence(root, target), len(path))
        question = [w for fact in facts for w in fact] + ["?", a, b, ":", root]
        return Example(question, [list(fact) for fact in path], [target], len(path))

    def make(self, split, rng):
        problem = self.problem(rng, split)
        key = f"{sorted(problem.facts)} {problem.path[0][0]} {sorted(problem.options)}"
        return self.write(problem), key

    def sample(self, split, index):
        nodes, _ = self.shapes[split]
        name = f"prosqa/{nodes}/{'balanced' if self.balanced else 'standard'}"
        return draw(partial(self.make, split), name, split, index)

    def check(self, example, words):
        return words == example.answer

    def parse(self, record):
        try:
            query = QUERY.fullmatch(record["question"])
            path = [read_fact(step.rstrip(". ")) for step in record["steps"]]
            root, target = read_fact(record["answer"].rstrip(". "))
        except (KeyError, TypeError, AttributeError):
            raise ValueError("a ProsQA record needs texts question, steps and answer") from None
        if not query:
            raise ValueError(f"no query at the end of the question: {record['question'][-60:]!r}")
        facts = [read_fact(text) for text in query[1].split(".")]
        chain = [root] + [child for _, child in path]
        if (query[2] != root or target not in query.groups()[2:] or chain[-1] != target or not path
                or [parent for parent, _ in path] != chain[:-1] or not set(path) <= set(facts)):
            raise ValueError(f"the steps do not lead from {query[2]} to {target} by given facts")
        return self.write(Problem(facts, list(query.groups()[2:]), path))


def depths(facts, start):
    """Distance of every word that can be reached from `start` (breadth first)."""
    depth, queue = {start: 0}, [start]
    for word in queue:
        for parent, child in facts:
            if parent == word and child not in depth:
                depth[child] = depth[word] + 1
                queue.append(child)
    return depth


def survey(problem):
    """Numbers of one problem: its sizes, and 1, 0 or (a tie) 1/2 for each shortcut."""
    facts, options, path = problem
    root, target = path[0][0], path[-1][1]
    wrong = options[options[0] == target]
    children, upward = {c for _, c in facts}, [(c, p) for p, c in facts]
    below = {p: depths(facts, p) for p, _ in facts if p in NAMES}
    other = max((n for n in below if n != root and wrong in below[n]), key=lambda n: len(below[n]))

    def prefers(score):
        return (score(target) > score(wrong)) / 2 + (score(target) >= score(wrong)) / 2

    return {
        "nodes": len(children) + len(below), "edges": len(facts), "names": len(below),
        "leaves": len(children - {p for p, _ in facts}), "hops": len(path),
        **{f"{h} hops": len(path) == h for h in range(2, 7)},
        "depth of the wrong option": below[other][wrong],
        "shortcut: first option": options[0] == target,
        "shortcut: fewer mentions": prefers(lambda o: -sum(o == c for _, c in facts)),
        "shortcut: more ancestors": prefers(lambda o: len(depths(upward, o))),
        "shortcut: deeper below the nearest name":
            prefers(lambda o: min(below[n][o] for n in below if o in below[n])),
        "shortcut: deeper below its own root":
            prefers(lambda o: below[root if o == target else other][o]),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print one problem and what problems are like.")
    parser.add_argument("--level", default="tiny", choices=LEVELS)
    parser.add_argument("--balanced", action="store_true")
    parser.add_argument("--n", type=int, default=2000, help="problems to average over")
    args = parser.parse_args()
    task, rng = ProsQA(args.level, args.balanced), random.Random(0)
    example = task.sample("train", 0)
    print(*example.question, "->", *sum(example.steps, []), "->", *example.answer)
    problems = [task.problem(rng, "train") for _ in range(args.n)]
    numbers = [survey(problem) for problem in problems]
    for key in numbers[0]:
        print(f"{key:40} {sum(n[key] for n in numbers) / args.n:.3f}")
    print(f"{'words per question':40} {sum(len(task.write(p).question) for p in problems) / args.n:.1f}")
