"""data/prontoqa.py: answers by forward chaining of our own, the measured structure, parsing."""
import random
import zlib
from collections import Counter

import pytest

from data.prontoqa import ADJECTIVES, CONCEPTS, FAMILIES, LEVELS, NAMES, ProntoQA

TASKS = {f"{level}-{debiased}": ProntoQA(level, debiased)
         for level in LEVELS for debiased in (False, True)}
RECORD = {
    "question": "Tumpuses are blue. Each wumpus is a yumpus. Every rompus is sweet. "
                "Wumpuses are rompuses. Lempuses are gorpuses. Every yumpus is not blue. "
                "Each dumpus is hot. Wumpuses are small. Yumpuses are dumpuses. "
                "Every yumpus is a zumpus. Each lempus is kind. Max is a lempus. "
                "Max is a wumpus. True or false: Max is blue.",
    "steps": ["Max is a wumpus. Each wumpus is a yumpus.",
              "Max is a yumpus. Every yumpus is not blue.", "Max is not blue."],
    "answer": "False"}
COMPACT = ("tumpus is blue wumpus is yumpus rompus is sweet wumpus is rompus lempus is gorpus "
           "yumpus not blue dumpus is hot wumpus is small yumpus is dumpus yumpus is zumpus "
           "lempus is kind Max is lempus Max is wumpus ? Max is blue").split()


def read(example):
    """(statements, query, proof, answer) of an example in the compact code."""
    *code, mark, name, link, adjective = example.question
    assert mark == "?" and len(code) % 3 == 0
    statements = [tuple(code[i:i + 3]) for i in range(0, len(code), 3)]
    return statements, (name, link, adjective), example.steps, example.answer[0]


def closure(statements, name):
    """Everything that follows about `name`, as (link, predicate)."""
    known, size = {("is", name)}, 0
    while len(known) > size:
        size = len(known)
        known |= {(link, p) for s, link, p in statements if ("is", s) in known}
    return known


def sample(n, split="train", **args):
    task = ProntoQA(**args)
    return [read(task.sample(split, i)) for i in range(n)]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_sample_is_pure_and_in_its_words(task):
    again = [task.sample("train", i) for i in range(20)]
    assert [task.sample("train", i) for i in range(20)] == again
    assert again[0] != again[1] != task.sample("val", 1)
    assert len(set(task.words)) == len(task.words) == (118 if task.english else 76)
    for e in again:
        assert set(e.question + sum(e.steps, []) + e.answer) <= set(task.words)


def test_sample_is_the_same_on_every_machine():
    """A change that moves these numbers makes new data: trained runs no longer compare."""
    for debiased, expected in ((False, 941057645), (True, 2390309418)):
        examples = [ProntoQA(debiased=debiased).sample("train", i) for i in range(10)]
        assert zlib.crc32(repr(examples).encode()) == expected


def test_splits_share_no_problem():
    seen = {}
    for split in ("train", "val", "test", "test-2"):
        for statements, (name, _, adjective), _, _ in sample(300, split):
            content = (frozenset(statements), name, adjective)
            assert seen.setdefault(content, split)[:4] == split[:4]
    assert len(seen) >= 1190


def test_the_split_ignores_order_style_and_the_sign_of_the_question():
    task = ProntoQA("text")
    told, query, proof = problem = task.problem(random.Random(1), "train")
    task.problem = lambda rng, split: rng       # so that `make` takes the problem itself
    example, key = task.make("train", problem)
    opposite = query._replace(link="is" if query.link == "not" else "not")
    for same in ((told[::-1], query, proof), (told, opposite, proof),
                 ([s._replace(style=s.style and "Each") for s in told], query, proof)):
        turned, same_key = task.make("train", same)
        assert turned != example and same_key == key
    assert task.make("train", (told[1:], query, proof))[1] != key


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("level", ["tiny", "full"])
def test_answers_and_steps_follow_from_the_rules(level, debiased):
    for split in ("train", "ood"):
        for statements, (name, link, adjective), proof, answer in sample(
                150, split, level=level, debiased=debiased):
            known = closure(statements, name)
            assert not any(("is", p) in known and ("not", p) in known for p in ADJECTIVES)
            assert answer == str((link, adjective) in known)
            assert (answer == "False") == (("is" if link == "not" else "not", adjective) in known)
            at = [p for s, _, p in statements if s == name]      # walk the steps, from a fact on
            for subject, *end in proof:
                assert subject in at and (subject, *end) in statements
                at = [end[1]]
            assert at == [adjective]


def test_the_constant_structure_of_five_hops():
    family = {adjective: i for i, family in enumerate(FAMILIES) for adjective in family}
    for statements, (name, _, adjective), proof, _ in sample(200, level="full"):
        kinds = [(s, p) for s, _, p in statements[:-2] if p in CONCEPTS]
        properties = [(s, p) for s, _, p in statements[:-2] if p in ADJECTIVES]
        assert (len(statements), len(kinds), len(properties)) == (25, 11, 12)
        assert {s for s, _, _ in statements[-2:]} == {name}       # the facts come last
        assert {proof[0][0]} < {p for _, _, p in statements[-2:]}
        chain = [subject for subject, _, _ in proof]
        up = Counter(s for s, _ in kinds)
        assert len(chain) == 5 and [up[c] for c in chain] == [2] * 5 and len(up) == 6
        assert len({c for rule in kinds for c in rule}) == 13
        (lone, sign), = [(s, link) for s, link, p in statements
                         if p == adjective and s not in chain]
        assert lone not in {c for rule in kinds for c in rule} and sign != proof[-1][1]
        others = [family[p] for s, p in properties if s != lone]
        assert len(set(others)) == len(others) == 11


def test_statistics_of_the_official_program():
    """Against 2,000 of its outputs: question 131.5 words (119-146), steps 54.4 (49-60), ..."""
    task = ProntoQA("text")
    examples = [task.sample("train", i) for i in range(1500)]
    question = [len(e.question) for e in examples]
    steps = [sum(map(len, e.steps)) for e in examples]
    assert sum(question) / 1500 == pytest.approx(131.5, abs=.5)
    assert sum(steps) / 1500 == pytest.approx(54.4, abs=.3)
    assert 110 < min(question) <= 121 and 144 <= max(question) < 155
    assert (min(steps), max(steps)) == (49, 60) and {len(e.steps) for e in examples} == {6}
    words = Counter(word for e in examples for word in e.question)
    styles = [words["are"], words["Each"], words["Every"]]
    assert [n / sum(styles) for n in styles] == pytest.approx([.5, .25, .25], abs=.01)
    compact = sample(1500, level="full")
    negated = [link == "not" for told, _, _, _ in compact for _, link, p in told if p in ADJECTIVES]
    assert sum(negated) / len(negated) == pytest.approx(1 / 3, abs=.02)
    assert sum(p[-1][1] == "not" for _, _, p, _ in compact) / 1500 == pytest.approx(.46, abs=.04)
    assert sum(query[1] == "not" for _, query, _, _ in compact) / 1500 == pytest.approx(.5, abs=.04)
    assert sum(answer == "True" for *_, answer in compact) / 1500 == pytest.approx(.49, abs=.04)


def zero_hops(problems):
    """Of the two rules with the adjective, believe the one whose subject occurs elsewhere too."""
    score = 0
    for statements, (_, link, adjective), _, answer in problems:
        mentions = Counter(word for s in statements for word in s)
        rules = [(mentions[s], sign) for s, sign, p in statements if p == adjective]
        (few, _), (many, sign) = sorted(rules)
        guess = str(sign == link)
        score += .5 if min(few, many) > 1 else guess == answer
    return score / len(problems)


def test_the_zero_hop_shortcut_works_unless_debiased():
    assert zero_hops(sample(300)) == zero_hops(sample(300, level="full")) == 1
    assert zero_hops(sample(300, debiased=True)) == .5
    assert zero_hops(sample(300, level="full", debiased=True)) == .5
    true = sum(answer == "True" for *_, answer in sample(1500, debiased=True)) / 1500
    assert true == pytest.approx(.5, abs=.04)


def shape(statements, name, adjective):
    """Hop by hop from `name`: how many concepts, how many properties, the adjective in question?"""
    layer, counts = {name}, []
    while layer:
        ends = {p for s, _, p in statements if s in layer}
        layer = ends & set(CONCEPTS)
        counts.append((len(layer), len(ends - layer), adjective in ends))
    return counts


@pytest.mark.parametrize("split", ["train", "ood"])
@pytest.mark.parametrize("level", ["tiny", "full"])
def test_debiased_only_the_name_decides(level, split):
    """The same question about the other name looks the same and has the other answer."""
    names = Counter()
    for statements, (name, link, adjective), proof, answer in sample(
            150, split, level=level, debiased=True):
        rival, = {s for s, _, _ in statements if s in NAMES} - {name}
        assert str((link, adjective) in closure(statements, rival)) != answer
        assert shape(statements, name, adjective) == shape(statements, rival, adjective)
        names[statements[-1][0] == name] += 1
        if (level, split) == ("full", "train"):      # every concept of both chains has two parents
            up = Counter(s for s, _, p in statements if s in CONCEPTS and p in CONCEPTS)
            assert len(statements) == 38 and sorted(up.values()) == [2] * 10
    assert 50 < names[True] < 100


def test_out_of_distribution_has_more_hops():
    for task in TASKS.values():
        trained = {task.sample("train", i).difficulty for i in range(30)}
        ood = {task.sample("ood", i).difficulty for i in range(30)}
        assert max(trained) < min(ood)
    tiny = ProntoQA()
    assert tiny.splits == ("train", "val", "test", "ood", "test-2", "test-3", "test-4", "test-5")
    for hops in (2, 3, 4, 5):
        e = tiny.sample(f"test-{hops}", 0)
        assert e.difficulty == len(e.steps) == hops


def test_parse_the_worked_example():
    e = ProntoQA("tiny").parse(RECORD)
    assert e.question == COMPACT and e.answer == ["False"] and e.difficulty == 2
    assert e.steps == [["wumpus", "is", "yumpus"], ["yumpus", "not", "blue"]]
    e = ProntoQA("text").parse({**RECORD, "query": "ignored"})
    assert plain(e.question) == RECORD["question"] and e.answer == ["False"]
    assert [plain(step) for step in e.steps] == RECORD["steps"]


def plain(words):
    return " ".join(words).replace(" .", ".").replace(" :", ":")


@pytest.mark.parametrize("level, english, debiased", [
    ("full", "text", False), ("full", "text", True), ("tiny", "tiny-text", False)])
def test_text_is_full_in_english_and_parses_back(level, english, debiased):
    full, text = ProntoQA(level, debiased), ProntoQA(english, debiased)
    for split, i in (("train", 0), ("train", 1), ("val", 0), ("ood", 0)):
        e = text.sample(split, i)
        record = {"question": plain(e.question), "steps": [plain(s) for s in e.steps],
                  "answer": e.answer[0]}
        assert text.parse(record) == e and full.parse(record) == full.sample(split, i)


def swap(old, new, field="question"):
    text = RECORD[field] if field == "question" else "|".join(RECORD[field])
    assert old in text
    text = text.replace(old, new)
    return {field: text if field == "question" else text.split("|")}


@pytest.mark.parametrize("change, message", [
    (swap("Each dumpus is hot", "Each cat is hot"), "not a sentence of ProntoQA: ' Each cat"),
    (swap("Each dumpus is hot", "Each dumpus is tired"), "not a sentence"),
    (swap("Each dumpus is hot", "Each dumpus are hot"), "not a sentence"),
    (swap("Max is a wumpus. True", "Max is a wumpus. Oh no True"), "not a sentence"),
    (swap("True or false: ", ""), "not a sentence of ProntoQA: ''"),
    (swap("Max is a wumpus.", "Sam is a wumpus."), "do not lead to the answer"),
    (swap("Every yumpus is not blue.", ""), "do not lead"),
    (swap("Max is blue", "Max is small"), "do not lead"),
    (swap("Each wumpus is a yumpus", "Wumpuses are rompuses", "steps"), "do not lead"),
    (swap("Every yumpus is not blue", "Yumpuses are not blue", "steps"), "do not lead"),
    (swap("Max is a yumpus. Every", "Max is a tumpus. Every", "steps"), "do not lead"),
    (swap("|Max is not blue.", "|Max is blue.", "steps"), "do not lead"),
    ({"steps": RECORD["steps"][1:]}, "do not lead"),
    ({"steps": RECORD["steps"][:1] + ["Max is a yumpus."]}, "do not lead"),
    ({"answer": "True"}, "do not lead"),
    ({"answer": None}, "has question, steps"),
    ({"steps": []}, "has question, steps (a list) and answer"),
    ({"steps": None}, "has question, steps"),
    ({"question": 3}, "has question, steps"),
])
def test_parse_refuses_in_one_line(change, message):
    with pytest.raises(ValueError) as error:
        ProntoQA("full").parse({**RECORD, **change})
    assert message in str(error.value) and "\n" not in str(error.value)


def test_other_errors():
    with pytest.raises(ValueError, match="has question"):
        ProntoQA().parse({"question": RECORD["question"], "steps": RECORD["steps"]})
    with pytest.raises(ValueError, match="unknown level 'huge' .known: tiny, tiny-text, full"):
        ProntoQA("huge")


def test_check():
    task = ProntoQA()
    e = task.parse(RECORD)
    assert task.check(e, ["False"]) and not task.check(e, ["True"])
    assert not task.check(e, []) and not task.check(e, ["False", "False"])
