"""data/prosqa.py against the statistics of the released data and a path search of our own."""
import random
import zlib
from collections import Counter

import pytest

from data.prosqa import CONCEPTS, LEVELS, NAMES, Problem, ProsQA

TASKS = {f"{level}-{balanced}": ProsQA(level, balanced)
         for level in LEVELS for balanced in (False, True)}
RECORD = {
    "question": "Every wumpus is a rompus. Tom is a wumpus. Alex is a yumpus. "
                "Every yumpus is a gorpus. Every lempus is a zumpus. Every wumpus is a lempus. "
                "Is Tom a gorpus or zumpus?",
    "steps": ["Tom is a wumpus.", "Every wumpus is a lempus.", "Every lempus is a zumpus."],
    "answer": "Tom is a zumpus."}
COMPACT = ("wumpus rompus Tom wumpus Alex yumpus yumpus gorpus lempus zumpus wumpus lempus "
           "? gorpus zumpus : Tom").split()


def read(example):
    """(facts, options, root, target, path) of an example in the compact code."""
    *code, _, a, b, _, root = example.question
    return (list(zip(code[::2], code[1::2])), [a, b], root, example.answer[0],
            [tuple(step) for step in example.steps])


def distances(facts, start):
    """Bellman-Ford, so that nothing is shared with the code under test."""
    distance = {start: 0}
    for _ in facts:
        for parent, child in facts:
            if parent in distance and distance.get(child, 99) > distance[parent] + 1:
                distance[child] = distance[parent] + 1
    return distance


def paths(facts, start, end, length):
    """All paths of this length."""
    if length == 0:
        return [[]] if start == end else []
    return [[(p, c)] + rest for p, c in facts if p == start
            for rest in paths(facts, c, end, length - 1)]


def sample(n, split="train", **args):
    task = ProsQA(**args)
    return [task.sample(split, i) for i in range(n)]


@pytest.fixture(scope="module")
def full():
    return [read(e) for e in sample(2500, level="full")]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_sample_is_pure_and_in_its_words(task):
    again = [task.sample("train", i) for i in range(20)]
    assert [task.sample("train", i) for i in range(20)] == again
    assert again[0] != again[1] != task.sample("val", 1)
    assert len(set(task.words)) == len(task.words) == (62 if task.english else 57)
    for e in again:
        assert set(e.question + sum(e.steps, []) + e.answer) <= set(task.words)


def test_sample_is_the_same_on_every_machine():
    """A change that moves these numbers makes new data: trained runs no longer compare."""
    for balanced, expected in ((False, 800890426), (True, 1571298299)):
        examples = [ProsQA(balanced=balanced).sample("train", i) for i in range(10)]
        assert zlib.crc32(repr(examples).encode()) == expected


def test_splits_share_no_problem():
    seen = {}
    for split in ("train", "val", "test", "test-2"):
        for e in sample(300, split):
            facts, options, root, _, _ = read(e)
            content = (frozenset(facts), frozenset(options), root)
            assert seen.setdefault(content, split)[:4] == split[:4]
    assert len(seen) >= 1190


def test_the_split_ignores_the_order_of_sentences_and_options():
    task = ProsQA()
    problem = task.problem(random.Random(1), "train")
    facts, options, path = problem
    task.problem = lambda rng, split: rng       # so that `make` takes the problem itself
    example, key = task.make("train", problem)
    turned, same_key = task.make("train", Problem(facts[::-1], options[::-1], path))
    assert turned != example and same_key == key
    assert task.make("train", Problem(facts[1:], options, path))[1] != key


def test_graphs_have_the_statistics_of_the_released_data(full):
    """Against all 800 of them; the tolerance is about 4 standard errors of the difference."""
    total, inward, outward = Counter(), Counter(), Counter()
    for facts, options, root, target, path in full:
        children, parents = Counter(c for _, c in facts), Counter(p for p, _ in facts)
        concepts = [w for w in children | parents if w in CONCEPTS]
        inward.update(children[w] for w in concepts)
        outward.update(parents[w] for w in concepts)
        total.update({
            "nodes": len(children | parents), "edges": len(facts), "hops": len(path),
            "names": sum(w in NAMES for w in parents),
            "leaves": sum(w not in parents for w in children),
            "paths": len(paths(facts, root, target, len(path))), "root": parents[root],
            **{h: len(path) == h for h in (3, 4, 5, 6)}})
    mean = {key: value / len(full) for key, value in total.items()}
    for key, released, tolerance in (
            ("nodes", 22.81, .33), ("edges", 36.00, .93), ("names", 2.56, .13),
            ("leaves", 7.37, .30), ("hops", 3.77, .13), ("paths", 1.59, .20), ("root", 2.94, .25),
            (3, .407, .08), (4, .438, .08), (5, .131, .06), (6, .024, .03)):
        assert mean[key] == pytest.approx(released, abs=tolerance), key
    for degrees, released in ((inward, {1: .493, 2: .313, 3: .137, 4: .043}),
                              (outward, {0: .364, 1: .235, 2: .172, 3: .118, 4: .067})):
        for degree, share in released.items():
            assert degrees[degree] / sum(degrees.values()) == pytest.approx(share, abs=.02)


def test_target_is_the_deepest_exclusive_leaf_and_steps_lead_to_it(full):
    for facts, options, root, target, path in full[:400]:
        wrong = options[options[0] == target]
        below = {p: distances(facts, p) for p, _ in facts if p in NAMES}
        leaves = {c for _, c in facts} - {p for p, _ in facts}
        assert {target, wrong} <= leaves and wrong not in below[root]
        assert below[root][target] == len(path)
        assert path in paths(facts, root, target, len(path))

        def fits(other):        # is it the other root? then its exclusive leaves are no deeper
            own, theirs = leaves & set(below[root]), leaves & set(below[other])
            return (wrong in theirs and target not in theirs
                    and max(below[root][w] for w in own - theirs) == len(path)
                    and max(below[other][w] for w in theirs - own) <= len(path))
        assert any(fits(other) for other in below if other != root)


def test_every_shortest_path_is_as_likely(full):
    ranks = Counter()
    for facts, _, root, target, path in full:
        every = sorted(paths(facts, root, target, len(path)))
        if len(every) == 2:
            ranks[every.index(path)] += 1
    assert ranks.total() > 500 and ranks[0] / ranks.total() == pytest.approx(.5, abs=.08)


def test_words_order_and_options_say_nothing(full):
    targets = Counter(target for _, _, _, target, _ in full)
    assert len(targets) == len(CONCEPTS) and max(targets.values()) < 2500 / 38 * 1.6
    assert len({root for _, _, root, _, _ in full}) == len(NAMES)
    first = sum(options[0] == target for _, options, _, target, _ in full)
    assert first / len(full) == pytest.approx(.5, abs=.04)
    # three facts are in order by chance in 1/6 of the problems, four in 1/24 (released: 9.5%)
    in_order = [sorted(path, key=facts.index) == path for facts, _, _, _, path in full]
    assert sum(in_order) / len(full) == pytest.approx(.095, abs=.025)
    places = [facts.index(f) / (len(facts) - 1) for facts, _, _, _, path in full for f in path]
    assert sum(places) / len(places) == pytest.approx(.5, abs=.015)


def depth_shortcut(problems):
    """Take the option that is deeper below the nearest name; the query is not read."""
    score = 0
    for facts, options, _, target, _ in problems:
        below = [distances(facts, name) for name in {p for p, _ in facts if p in NAMES}]
        a, b = [min(d[option] for d in below if option in d) for option in options]
        score += .5 if a == b else options[b > a] == target
    return score / len(problems)


def test_depth_gives_the_answer_away_unless_balanced(full):
    assert depth_shortcut(full[:1000]) == pytest.approx(.916, abs=.03)       # released: .916
    balanced = [read(e) for e in sample(400, level="full", balanced=True)]
    assert depth_shortcut(balanced) == pytest.approx(.5, abs=.02)


@pytest.mark.parametrize("level", ["tiny", "full"])
def test_balanced_options_are_equally_deep(level):
    hops = Counter()
    for e in sample(200, level=level, balanced=True):
        facts, options, root, target, path = read(e)
        wrong = options[options[0] == target]
        below = [distances(facts, p) for p in {p for p, _ in facts if p in NAMES} - {root}]
        assert wrong not in distances(facts, root)
        assert len(path) in [d.get(wrong) for d in below]
        hops[len(path)] += 1
    low, high = sorted(hops)
    assert (low, high) == LEVELS[level][1][:2] and 75 < hops[low] < 125


def test_out_of_distribution_has_more_hops():
    for task in TASKS.values():
        trained = {task.sample("train", i).difficulty for i in range(60)}
        ood = {task.sample("ood", i).difficulty for i in range(2)}
        assert min(ood) > max(task.shapes["train"][1]) >= max(trained)
    tiny = ProsQA()
    assert tiny.splits == ("train", "val", "test", "ood", "dense",
                           "test-2", "test-3", "test-4", "test-5")
    for hops in (2, 3, 4, 5):
        for i in range(5):
            e = tiny.sample(f"test-{hops}", i)
            facts, _, root, target, path = read(e)
            assert e.difficulty == len(path) == hops == distances(facts, root)[target]


def test_dense_graphs_have_more_facts_per_node():
    """Poisson(2.5) instead of (1.5) parents, at most as many as there are nodes before."""
    ratio = {}
    for split in ("test", "dense"):
        problems = [read(e)[0] for e in sample(100, split)]
        nodes = sum(len({word for fact in facts for word in fact}) for facts in problems)
        ratio[split] = sum(map(len, problems)) / nodes
    assert 1.2 < ratio["test"] < 1.45 and ratio["dense"] > 1.3 * ratio["test"]


def test_parse_the_worked_example():
    e = ProsQA("full").parse(RECORD)
    assert e.question == COMPACT and e.answer == ["zumpus"] and e.difficulty == 3
    assert e.steps == [["Tom", "wumpus"], ["wumpus", "lempus"], ["lempus", "zumpus"]]
    e = ProsQA("text").parse({**RECORD, "edges": [[0, 1]], "target": 7})
    assert " ".join(e.question).replace(" .", ".").replace(" ?", "?") == RECORD["question"]
    assert e.answer == "Tom is a zumpus .".split() and len(e.steps) == 3


@pytest.mark.parametrize("level, english", [("full", "text"), ("tiny", "tiny-text")])
def test_text_is_full_in_english_and_parses_back(level, english):
    full, text = ProsQA(level), ProsQA(english)
    for split, i in (("train", 0), ("train", 1), ("val", 0), ("test-5", 0)):
        e = text.sample(split, i)
        question, *steps, answer = [" ".join(words).replace(" .", ".").replace(" ?", "?")
                                    for words in (e.question, *e.steps, e.answer)]
        record = {"question": question, "steps": steps, "answer": answer}
        assert text.parse(record) == e and full.parse(record) == full.sample(split, i)


@pytest.mark.parametrize("change, message", [
    ({"question": RECORD["question"].replace("gorpus", "cat")}, "does not have: ' Every yumpus is"),
    ({"question": RECORD["question"].replace("Every wumpus is a rompus", "Wumpuses are rompuses")},
     "not a ProsQA sentence: 'Wumpuses are"),
    ({"question": RECORD["question"].replace("Tom is", "Every Tom is")}, "does not have: ' Ev"),
    ({"question": RECORD["question"][:-20]}, "no query ends"),
    ({"steps": RECORD["steps"][1:]}, "do not lead to the answer"),
    ({"steps": RECORD["steps"][:1] + ["Every wumpus is a zumpus."]}, "do not lead"),
    ({"steps": []}, "do not lead"),
    ({"answer": "Tom is a rompus."}, "do not lead"),
    ({"question": RECORD["question"].replace("Is Tom", "Is Alex")}, "do not lead"),
    ({"question": RECORD["question"].replace("or zumpus", "or rompus")}, "do not lead"),
    ({"question": RECORD["question"].replace("a gorpus or", "a cat or")}, "have: 'Tom is a cat'"),
    ({"answer": "zumpus"}, "not a ProsQA sentence: 'zumpus'"),
    ({"answer": None}, "has question, steps"),
    ({"steps": None}, "has question, steps"),
])
def test_parse_refuses_in_one_line(change, message):
    with pytest.raises(ValueError) as error:
        ProsQA("full").parse({**RECORD, **change})
    assert message in str(error.value) and "\n" not in str(error.value)


def test_other_errors():
    with pytest.raises(ValueError, match="has question"):
        ProsQA().parse({"question": RECORD["question"]})
    with pytest.raises(ValueError, match="unknown level 'huge' .known: tiny, tiny-text, small"):
        ProsQA("huge")


def test_check_wants_the_whole_answer_and_nothing_else():
    task = ProsQA("text")
    e = task.parse(RECORD)
    assert task.check(e, "Tom is a zumpus .".split())
    assert not task.check(e, "Tom is a gorpus .".split())
    assert not task.check(e, "Tom is a zumpus".split())
    assert not task.check(e, [])
