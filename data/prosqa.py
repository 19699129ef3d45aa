"""ProsQA: which of two concepts is somebody? The answer lies several hops deep in a graph of facts.

Coconut (Hao et al. 2024, arXiv 2412.06769); used by Token Assorted (arXiv 2502.03275). By hand:

    Every wumpus is a rompus. Tom is a wumpus. Alex is a yumpus. Every yumpus is a gorpus.
    Every lempus is a zumpus. Every wumpus is a lempus. Is Tom a gorpus or zumpus?
    -> Tom is a wumpus. Every wumpus is a lempus. Every lempus is a zumpus. -> Tom is a zumpus.

The same in the compact code, two words per fact, then `?` and the options, `:` and the name:

    wumpus rompus Tom wumpus Alex yumpus yumpus gorpus lempus zumpus wumpus lempus ? gorpus zumpus
    : Tom -> Tom wumpus, wumpus lempus, lempus zumpus -> zumpus

How a problem is made:
1. Nodes come one by one. 0 and 1 are roots, two names, and found family 1 and family 2.
2. Each later node takes Poisson(1.5) parents: 35% from family 1, 45% from family 2, 20% from all.
3. They are drawn without replacement, with weight 1.5 depth + 1 inside one family, 1 elsewhere. A
   node joins the families of its parents (none, one, both); depth is the distance from the root.
4. Nodes without an edge go. Nodes without parents are given names, the others concepts.
5. The question is about the root whose deepest exclusive leaf (a leaf of its family only) is
   deeper. Target: one of the deepest. Wrong option: any exclusive leaf of the other root.
   The steps are one of the shortest paths, all equally likely. The facts are shuffled.

Differs from the paper:
1. Its Algorithm 1 does not make its released file: a classifier on graph features tells the two
   apart 87-90% of the time. Steps 1-5 are refitted to that file and bring the classifier to chance.
2. Endless fresh problems, not 17,886 / 300 / 500 (`parse` reads those), and the compact code. The
   levels "text" and "tiny-text" have the paper's sentences, on the problems of "full" and "tiny".
3. "tiny" and "small" are smaller graphs. "ood" has more hops than train, on larger graphs; "dense"
   has Poisson(2.5) parents. The split test-4 is like test (or ood, for its hop counts) with 4 hops.
4. `balanced` makes the wrong option as deep as the target. Asking about the other root is then as
   likely, so a rule that does not read the name is right half of the time. It rejects most graphs
   with many hops; so the hops are drawn first, one of the level's two lowest, ood being one more.

Means, and how often a shortcut finds the target (a tie counts half); 20,000 problems each
(python -m data.prosqa --level full --n 20000 ...); released = valid and test, 800:
                                 released  full       balanced   tiny       balanced
    nodes, edges                 22.8 36.0  22.8 36.2  23.1 35.9  11.6 15.4  12.0 15.2
    % with 2, 3, 4 hops           0 41 44    0 41 41    0 50 50   54 46  0   50 50  0
    depth of wrong option         2.11       2.13       3.50       1.45       2.50
    first option                  .505       .496       .497       .498       .503
    fewer mentions                .664       .678       .499       .597       .500
    more ancestors                .707       .686       .501       .706       .501
    deeper below nearest name     .916       .909       .501       .869       .500
    deeper below its own root     .943       .941       .500       .884       .500
By construction the target is the deepest leaf, so depth alone gives 94%, whoever is asked about.
"""
import random
import re
from bisect import bisect
from collections import Counter, namedtuple
from functools import partial
from math import exp, factorial

from data.cli import DRAWN, Flag, Parser, choice
from data.common import Example, draw, shown
from data.records import texts

NAMES = """Alex Bob Carol Davis Eva Fae Gabriel Jack Max Oliver Polly Rex Sally Sam Stella Tom
    Wren""".split()
CONCEPTS = [word + "pus" for word in """bom boom brim chor dum fel fom ger gor grim gwom hil im jel
    jom ker lem lor num quim rem rom ror scrom shum ster stor ter tim tum vum wor wum yer yim yum
    zhor zum""".split()]
LEVELS = {  # nodes before step 4, hops; for ood; English?  words (ood), ms in train, test, ood
    "tiny": (14, (2, 3), 20, (4, 5), False),        #  36  (50)  .1 1.0  3; balanced 1.4  9  80
    "tiny-text": (14, (2, 3), 20, (4, 5), True),    #  97 (140)
    "small": (20, (2, 3, 4), 28, (5, 6), False),    #  53  (74)  .2 1.3  6;          1.0  6  28
    "full": (28, (3, 4, 5, 6), 40, (7, 8), False),  #  77 (108)  .3 1.6 39;          1.9 11  49
    "text": (28, (3, 4, 5, 6), 40, (7, 8), True)}   # 217 (309)  .5 2.1 37;          2.0 12  56
SPARSE, DENSE = ([sum(exp(-mean) * mean ** j / factorial(j) for j in range(k + 1))
                  for k in range(16)] for mean in (1.5, 2.5))   # Poisson distribution functions
SURVEY = {"n": Flag(2000, "problems to average over", least=1)}
FACT = re.compile(r"\s*(Every )?(\w+) is a (\w+)\.?\s*")
QUERY = re.compile(r"(.*)\.\s*Is (\w+) a (\w+) or (\w+)\?\s*")

Problem = namedtuple("Problem", "facts options path")   # a fact is (parent, child), both words


def grow(rng, size, poisson):
    """Steps 1-3: each node's parents, family (1, 2, 3 = both, 0 = none) and depth."""
    parents, family, depth = [[], []], [1, 2], [0, 0]
    # what parents are drawn from: nodes and their cumulative weights
    everyone, members = ([0, 1], [1.0, 2.0]), {1: ([0], [1.0]), 2: ([1], [1.0])}
    for i in range(2, size):
        count, u = bisect(poisson, rng.random()), rng.random()
        nodes, weights = members[1] if u <= .35 else members[2] if u <= .80 else everyone
        mine, own = [], 0
        while len(mine) < min(count, len(nodes)):       # a parent drawn twice is drawn again
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
    """All shortest paths, as lists of nodes, to `node` from the root of its only family."""
    if depth[node] == 0:
        return [[node]]
    back = [p for p in parents[node] if family[p] == family[node] and depth[p] == depth[node] - 1]
    return [path + [node] for p in back for path in shortest(parents, family, depth, p)]


def pose(rng, size, hops, balanced, poisson=SPARSE):
    """Steps 4-5 on a fresh graph: a problem with one of these hop counts, or None (try again)."""
    parents, family, depth = grow(rng, size, poisson)
    inner = {p for mine in parents for p in mine}
    leaves = {r: [i for i in range(2, size) if family[i] == r and i not in inner] for r in (1, 2)}
    if not (leaves[1] and leaves[2]):
        return None
    deepest = {r: max(depth[i] for i in leaves[r]) for r in leaves}
    root = max(leaves, key=lambda r: (deepest[r], rng.random()))        # a tie: toss a coin
    wrong = [i for i in leaves[3 - root] if depth[i] == deepest[root] or not balanced]
    if deepest[root] not in hops or not wrong:
        return None
    target = rng.choice([i for i in leaves[root] if depth[i] == deepest[root]])
    path = rng.choice(shortest(parents, family, depth, target))
    options = rng.sample([target, rng.choice(wrong)], 2)
    named = [i for i in sorted(inner) if not parents[i]]
    kinds = [i for i in range(size) if parents[i]]
    words = rng.sample(NAMES, len(named)) + rng.sample(CONCEPTS, len(kinds))
    word = dict(zip(named + kinds, words))
    facts = [(word[p], word[i]) for i in kinds for p in parents[i]]
    rng.shuffle(facts)
    return Problem(facts, [word[i] for i in options],
                   [(word[p], word[i]) for p, i in zip(path, path[1:])])


def sentence(parent, child):
    return ["Every"] * (parent in CONCEPTS) + [parent, "is", "a", child, "."]


def read_fact(text):
    """(parent, child) of a sentence."""
    match = FACT.fullmatch(text)
    if not match:
        raise ValueError(f"not a ProsQA sentence: {shown(text)}")
    every, parent, child = match.groups()
    if parent not in (CONCEPTS if every else NAMES) or child not in CONCEPTS:
        raise ValueError(f"a name or concept that ProsQA does not have: {shown(text)}")
    return parent, child


class ProsQA:
    FLAGS = {
        "level": Flag("tiny", "tiny, small, full (the paper's size); tiny-text, text: in English",
                      tuple(LEVELS)),
        "balanced": Flag(False, "make both options equally deep: depth gives nothing away",
                         idle=DRAWN),
    }

    def __init__(self, level="tiny", balanced=False):
        nodes, hops, ood_nodes, ood_hops, self.english = choice(level, LEVELS, "level")
        if balanced:
            hops, ood_hops = hops[:2], (hops[1] + 1,)
        near, far = (nodes, hops), (ood_nodes, ood_hops)
        self.shapes = {"train": near, "val": near, "test": near, "ood": far, "dense": near}
        self.shapes |= {f"test-{h}": (size, (h,)) for size, some in (near, far) for h in some}
        self.splits = tuple(self.shapes)
        self.words = NAMES + CONCEPTS + ("Every is a . Is or ?" if self.english else "? :").split()
        self.balanced = balanced

    def problem(self, rng, split):
        size, hops = self.shapes[split]
        if self.balanced:
            hops = (rng.choice(hops),)
        poisson = DENSE if split == "dense" else SPARSE
        while not (problem := pose(rng, size, hops, self.balanced, poisson)):
            pass
        return problem

    def write(self, problem):
        """The problem in the words of this level."""
        facts, (a, b), path = problem
        root, target = path[0][0], path[-1][1]
        say = sentence if self.english else lambda *fact: list(fact)
        query = ["Is", root, "a", a, "or", b, "?"] if self.english else ["?", a, b, ":", root]
        return Example(sum((say(*f) for f in facts), []) + query, [say(*f) for f in path],
                       sentence(root, target) if self.english else [target], len(path))

    def make(self, split, rng):
        facts, options, path = problem = self.problem(rng, split)
        return self.write(problem), f"{sorted(facts)} {sorted(options)} {path[0][0]}"

    def sample(self, split, index):
        name = f"prosqa/{self.shapes[split][0]}/{self.balanced}"    # so that text = full
        return draw(partial(self.make, split), name, split, index)

    def check(self, example, words):
        return words == example.answer

    def parse(self, record):
        question, steps, answer = texts(record)
        query, path = QUERY.fullmatch(question), [read_fact(step) for step in steps]
        root, target = read_fact(answer)
        if not query:
            raise ValueError(f"no query ends the question: ...{question[-50:]!r}")
        facts = [read_fact(text) for text in query[1].split(".")]
        options = [read_fact(f"{query[2]} is a {option}")[1] for option in query.groups()[2:]]
        if ([p for p, _ in path] + [target] != [root] + [c for _, c in path] or root != query[2]
                or target not in options or not set(path) <= set(facts)):
            raise ValueError(f"the steps do not lead to the answer: {shown(answer)}")
        return self.write(Problem(facts, options, path))


def depths(facts, start):
    """Distance of every word that can be reached from `start`, breadth first."""
    depth, queue = {start: 0}, [start]
    for word in queue:
        for child in [c for p, c in facts if p == word and c not in depth]:
            depth[child] = depth[word] + 1
            queue.append(child)
    return depth


def survey(problem):
    """The numbers of one problem. Those of shortcuts: 1 if it finds the target, 1/2 for a tie."""
    facts, options, path = problem
    root, target, wrong = path[0][0], path[-1][1], options[options[0] == path[-1][1]]
    children, below = [c for _, c in facts], {p: depths(facts, p) for p, _ in facts if p in NAMES}
    other = max((n for n in below if n != root and wrong in below[n]), key=lambda n: len(below[n]))
    shortcuts = {
        "first option": lambda o: o == options[0],
        "fewer mentions": lambda o: -children.count(o),
        "more ancestors": lambda o: len(depths([(c, p) for p, c in facts], o)),
        "deeper below nearest name": lambda o: min(d[o] for d in below.values() if o in d),
        "deeper below its own root": lambda o: below[root if o == target else other][o]}
    return {
        "nodes": len(set(children)) + len(below), "edges": len(facts), "names": len(below),
        **{f"{h} hops": len(path) == h for h in range(2, 9)}, "depth of wrong": below[other][wrong],
        **{name: ((score(target) > score(wrong)) + (score(target) >= score(wrong))) / 2
           for name, score in shortcuts.items()}}


if __name__ == "__main__":
    parser = Parser("data.prosqa", "Prints a problem and what problems are like.")
    parser.add_flags(ProsQA.FLAGS | SURVEY)
    args = parser.parse()
    n = args.pop("n")
    task, rng, total = ProsQA(**args), random.Random(0), Counter()
    example = task.sample("train", 0)
    print(*example.question, "->", *sum(example.steps, []), "->", *example.answer)
    for _ in range(n):
        total.update(survey(task.problem(rng, "train")))
    for key, value in total.items():
        print(f"{key:30} {value / n:.3f}")
