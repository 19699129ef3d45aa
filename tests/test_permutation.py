"""The permutation task: its moves are a group, its chains follow them, its splits are disjoint."""
import itertools

import pytest

from data.cli import BadInput
from data.common import PER_SEED
from data.permutation import GROUPS, Permutation, moves_of
from runs import limits, load_run
from tests.helpers import fails, run


def moved(row, move):
    """A string after a move, by slices."""
    if move == "turn":
        return row[1:] + row[0]
    if move == "back":
        return row[-1] + row[:-1]
    i, j = int(move[4]) - 1, int(move[5]) - 1
    return row[:i] + row[j] + row[i + 1:j] + row[i] + row[j + 1:]


@pytest.mark.parametrize("move, want", [
    ("turn", "bcdea"), ("back", "eabcd"), ("swap12", "bacde"), ("swap15", "ebcda"),
    ("swap34", "abdce"), ("swap25", "aecdb")])
def test_moves_by_hand(move, want):
    """What the module's docstring says about each kind of move."""
    e = Permutation("s5").example([move])
    assert want == moved("abcde", move)
    assert (e.question, e.steps, e.answer) == (["start", move], [[move, want]], [want])


def test_worked_examples():
    """The docstring's, and two in S5 that differ in their order only."""
    e = Permutation().example(["turn", "swap12", "back"])
    assert " ".join(e.question) == "start turn swap12 back" and e.difficulty == 3
    assert sum(e.steps, []) == "turn bca swap12 cba back acb".split() and e.answer == ["acb"]
    s5 = Permutation("s5")
    assert s5.example(["swap12", "turn", "turn"]).answer == ["cdeba"]
    assert s5.example(["turn", "turn", "swap12"]).answer == ["dceab"]


@pytest.mark.parametrize("group", GROUPS)
def test_chain_follows_from_the_question(group):
    """Every row is the one before after one move, and the last one is the answer."""
    task = Permutation(group)
    for i in range(300):
        e = task.sample("train", i)
        row, (start, *moves) = "abcde"[:GROUPS[group]], e.question
        assert start == "start" and len(moves) == e.difficulty
        for move, step in zip(moves, e.steps, strict=True):
            row = moved(row, move)
            assert step == [move, row]
        assert e.answer == [row] and task.check(e, e.answer)


@pytest.mark.parametrize("group, size, count", [("s3", 6, 5), ("s5", 120, 12)])
def test_words_are_the_moves_and_the_rows(group, size, count):
    """n (n - 1) / 2 swaps and two turns, n! rows; all of them occur in training."""
    task = Permutation(group)
    assert len(task.moves) == count and len(task.words) == len(set(task.words)) == 1 + count + size
    examples = [task.sample("train", i) for i in range(1500)]
    used = {w for e in examples for w in e.question + sum(e.steps, []) + e.answer}
    assert used == set(task.words)
    assert {w for e in examples for w in e.answer} == used - {"start", *task.moves}


@pytest.mark.parametrize("group", GROUPS)
def test_moves_compose_as_permutations(group):
    """After moves p, then q, place i holds what p put at q[i]; turns and swaps undo each other."""
    task, letters = Permutation(group), "abcde"[:GROUPS[group]]
    for (a, p), (b, q) in itertools.product(task.moves.items(), repeat=2):
        assert task.example([a, b]).answer == ["".join(letters[p[i]] for i in q)]
    for move in task.moves:
        inverse = {"turn": "back", "back": "turn"}.get(move, move)
        assert task.example([move, inverse]).answer == [letters]
    assert task.example(["turn"] * len(letters)).answer == [letters]
    assert task.example(["turn", "swap12"]).answer != task.example(["swap12", "turn"]).answer


@pytest.mark.parametrize("n, size", [(3, 6), (5, 120)])
def test_moves_generate_the_whole_group(n, size):
    """All products of moves: n! permutations."""
    moves = moves_of(n)
    assert all(sorted(move) == list(range(n)) for move in moves.values())
    found = new = {tuple(range(n))}
    while new:
        new = {tuple(row[i] for i in move) for row in new for move in moves.values()} - found
        found = found | new
    assert len(found) == size


@pytest.mark.parametrize("group", GROUPS)
def test_splits_share_no_problem(group):
    """Train, val, test and all of long: no question is in two of them."""
    task = Permutation(group, 4)
    seen = {s: {" ".join(task.sample(s, i).question) for i in range(400)} for s in task.splits}
    assert len(seen) == 6
    for a, b in itertools.combinations(seen, 2):
        assert not seen[a] & seen[b]


def test_sample_is_pure():
    """The same split and index give the same example in any order; others differ."""
    task, again = Permutation("s5"), Permutation("s5")
    examples = [task.sample("val", i) for i in range(20)]
    assert [again.sample("val", i) for i in reversed(range(20))] == examples[::-1]
    assert len({" ".join(e.question) for e in examples}) > 15
    assert task.sample("train", 0) != task.sample("val", 0)
    assert task.sample("train", 0) != Permutation("s5", 9).sample("train", 0)


@pytest.mark.parametrize("moves, longest", [(8, 12), (5, 8), (4, 6)])
def test_number_of_moves(moves, longest):
    """3 to `moves` in the ordinary splits, up to half as many again (rounded up) in the long."""
    task = Permutation("s5", moves)
    for split in task.splits:
        lengths = {task.sample(split, i).difficulty for i in range(300)}
        want = range(moves + 1, longest + 1) if split.startswith("long") else range(3, moves + 1)
        assert lengths == set(want)


@pytest.mark.parametrize("group", GROUPS)
def test_parse_round_trip(group):
    """A record of texts gives the example back; its chain follows from the question alone."""
    task = Permutation(group)
    for i in range(20):
        e = task.sample("long", i)
        record = {"question": " ".join(e.question), "steps": [" ".join(s) for s in e.steps],
                  "answer": " ".join(e.answer)}
        assert task.parse(record) == e == task.parse({"question": record["question"]})


@pytest.mark.parametrize("question", [
    "start", "turn", "begin turn", "start hop", "start turn swap45", "start turn start turn"])
def test_parse_says_what_a_question_is(question):
    """ValueError for anything else, naming the moves of this group."""
    with pytest.raises(ValueError, match="a question is 'start MOVE ...', with turn, back, swap12"):
        Permutation().parse({"question": question})
    with pytest.raises(ValueError):
        Permutation().parse({"question": ""})


@pytest.mark.parametrize("wrong, message", [
    ({"answer": "acb"}, "its answer is bca, not 'acb'"),
    ({"answer": "abc bca"}, "its answer is bca"),
    ({"steps": ["turn cab"]}, "its steps are not one for each move"),
    ({"steps": ["turn bca", "turn cab"]}, "its steps are not one for each move")])
def test_parse_takes_no_false_answer_or_chain(wrong, message):
    good = {"question": "start turn", "steps": ["turn bca"], "answer": "bca"}
    task = Permutation()
    assert task.parse(good) == task.parse(good | {"steps": []})
    with pytest.raises(ValueError, match=message):
        task.parse(good | wrong)


def test_check():
    """The row and nothing more."""
    task = Permutation()
    e = task.example(["turn"])
    assert task.check(e, ["bca"])
    for wrong in (["abc"], ["bca", "bca"], ["b", "c", "a"], ["turn"], []):
        assert not task.check(e, wrong)


def test_unknown_group():
    """The user's mistake."""
    with pytest.raises(BadInput, match="unknown group 's4' .known: s3, s5"):
        Permutation("s4")


@pytest.mark.parametrize("group", GROUPS)
def test_no_prefix_of_training_is_a_question_of_another_split(group):
    """Prefixes have the row after their move, but for those that val or test may ask."""
    task = Permutation(group, 6)
    asked = {" ".join(task.sample(split, i).question) for split in ("val", "test")
             for i in range(400)}
    left_out = 0
    for i in range(300):
        e = task.sample("train", i)
        assert e.prefixes[0] == "" and len(e.prefixes) == len(e.question)
        for t, (prefix, step) in enumerate(zip(e.prefixes[1:], e.steps), 2):
            assert prefix in ("", step[1])
            assert not (prefix and " ".join(e.question[:t]) in asked)
            left_out += not prefix
    assert left_out > 100
    assert Permutation(group, 6, prefixes=False).sample("train", 0).prefixes == []


def test_too_few_moves(capsys):
    """The user's mistake."""
    line = fails(["--task", "permutation", "--moves", "2"], capsys)
    assert line.endswith("--moves 2: must be at least 3")


@pytest.mark.parametrize("seed", [0, 2])
def test_training_lengths_grow(seed):
    """From one move to all of them over the first N training problems, whatever the seed; then,
    and in all other splits, problems are those of the plain task."""
    plain, grown = Permutation("s5", 6), Permutation("s5", 6, grow=600)
    begin = seed * PER_SEED
    lengths = [grown.sample("train", begin + i).difficulty for i in range(600)]
    assert [max(lengths[i:i + 120]) for i in range(0, 600, 120)] == [1, 2, 3, 4, 5]
    assert min(lengths[480:]) == 1
    for split, index in (("train", begin + 600), ("val", begin), ("test", begin), ("long", begin)):
        assert grown.sample(split, index) == plain.sample(split, index)


def test_a_chain_may_be_as_long_as_when_lengths_have_grown():
    """Not only as long as those of the first problems, which have one move."""
    assert limits(Permutation("s5", 6, grow=6000)) == limits(Permutation("s5", 6))


def test_the_problems_of_a_run_that_is_opened_have_grown(tmp_path):
    """rl.py would begin with one move again, and the probe of lab.controls see nothing else."""
    out = run(tmp_path, "--method", "nocot", "--task", "permutation", "--grow", "999",
              "--steps", "1")
    task, method, _ = load_run(out)
    assert min(task.sample("train", i).difficulty for i in range(9)) >= 3
    assert method.args.grow == 999
