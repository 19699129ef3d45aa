"""data/maze.py: its rules against hand-made plans, its A* against a brute-force search."""
import random
import runpy
import sys
from collections import deque

import pytest

import data.maze
from data.common import split_of
from data.maze import LEVELS, Board, Maze, draw_png, places, search

MAZES = {level: Maze(level) for level in LEVELS}
WORD = {"#": "wall", ".": "free", "@": "agent", "*": "goal", "r": "red-key", "g": "green-key",
        "b": "blue-key", "R": "red-door", "G": "green-door", "B": "blue-door"}
LETTER = {word: letter for letter, word in WORD.items()}
PICTURE = ("#######"
           "#r.@.b#"
           "###R###"
           "#..g..#"
           "#B#####"
           "#*...G#"
           "#######")
FETCH_RED = "31 21 11 21 31 "                 # short for x3 y1 x2 y1 ...
FETCH_BLUE = "41 51 41 31 "
BEST = FETCH_RED + "32 31 " + FETCH_BLUE + "32 33 23 13 14 15"


def plan(cells):
    return [word for x, y in cells.split() for word in (f"x{x}", f"y{y}")]


def record(picture=PICTURE, cells=BEST):
    question = " ".join(WORD[letter] for letter in picture)
    return {"question": question, "steps": ["x3 y1 none c0"], "answer": " ".join(plan(cells))}


# ---- an independent account of the rules: states are (cell, held, keys on the floor, shut doors)

def start_state(raster):
    letters = [LETTER[word] for word in raster]
    keys, doors = (frozenset(k for k in letters if k in kind) for kind in ("rgb", "RGB"))
    return letters, (letters.index("@"), "", keys, doors)


def after_moves(letters, side, state):
    at, held, floor, shut = state
    for cell in (at - side, at - 1, at + 1, at + side):
        here = letters[cell]
        if here == "#" or (here in shut and here != held.upper()):
            continue
        if here in shut:
            yield cell, "", floor, shut - {here}
        elif here in floor and held == "":
            yield cell, here, floor - {here}, shut
        else:
            yield cell, held, floor, shut


def brute_force(raster, side):
    """Every reachable state with its distance."""
    letters, start = start_state(raster)
    distance, queue = {start: 0}, deque([start])
    while queue:
        state = queue.popleft()
        for child in after_moves(letters, side, state):
            if child not in distance:
                distance[child] = distance[state] + 1
                queue.append(child)
    return letters, distance


def in_our_terms(raster, state):
    cell, held, opened = state
    _, (_, _, keys, doors) = start_state(raster)
    held = held[0] if held else ""
    opened = {colour[0] for colour in opened}
    return cell, held, keys - opened - {held}, doors - {colour.upper() for colour in opened}


def random_boards(maze, n, seed=0):
    rng = random.Random(seed)
    return [maze.make(rng)[0][0] for _ in range(n)]


# ---- the rules

def optimal(maze, example, words):
    """Is the plan right and as short as a plan can be?"""
    return (maze.check(example, words)
            and len(words) == 2 * len(search(example.state, random.Random(0))[1]))


@pytest.fixture(scope="module")
def by_hand():
    return MAZES["small"].parse(record())


def test_the_hand_made_plan_is_right_and_shortest(by_hand):
    maze, words = MAZES["small"], plan(BEST)
    assert maze.check(by_hand, words) and optimal(maze, by_hand, words)
    assert by_hand.difficulty == 2                              # red and blue, not green
    held = [state[1] for state in by_hand.state.walk(words)]
    assert held == [None] * 2 + ["red"] * 3 + [None] * 3 + ["blue"] * 7 + [None] * 2


@pytest.mark.parametrize("cells", [
    "31 41 " + BEST,                                            # a detour
    FETCH_RED + "41 51 41 31 32 31 " + FETCH_BLUE + "32 33 23 13 14 15",  # red leaves blue alone
    BEST + " 25 15",                                            # past the goal and back
])
def test_longer_legal_plans_are_right_but_not_optimal(by_hand, cells):
    maze = MAZES["small"]
    assert maze.check(by_hand, plan(cells)) and not optimal(maze, by_hand, plan(cells))


@pytest.mark.parametrize("cells, legal", [
    ("31 32", 1),                                               # a locked door, empty-handed
    ("31 " + FETCH_BLUE + "32", 5),                             # a key of the wrong colour
    ("31 " + FETCH_BLUE + "21 11 21 31 32", 9),                 # a full hand does not swap keys
    (FETCH_RED + "32 33 23 13 14 15", 9),                       # red is used up, green is in hand
    (FETCH_RED + "32 33 32 31 " + FETCH_BLUE + "32 33 23 13 14 15", 17),   # no dropping of green
    ("31 30", 1), ("31 21 22", 2),                              # walls
    ("31 11", 1), ("31 22", 1), ("31 31", 1),                   # a jump, a diagonal, standing still
    ("21 11 21 31", 0), ("15", 0),                              # not from the agent's cell
    (BEST + " 17", 17),                                         # off the board, after the goal
])
def test_illegal_plans_are_wrong_from_their_first_illegal_move(by_hand, cells, legal):
    assert not MAZES["small"].check(by_hand, plan(cells))
    assert len(by_hand.state.walk(plan(cells))) == legal


@pytest.mark.parametrize("words", [
    [], plan(BEST)[:-1], plan(BEST)[:-2], plan(BEST) + ["x1"], plan(BEST) + ["goal"],
    plan(BEST + " 25"), plan(BEST)[::-1], ["y1", "x3"] + plan(BEST)[2:], ["wall"] * 34,
    ["31"] + plan(BEST)[2:], ["X3", "y1"] + plan(BEST)[2:],
])
def test_unfinished_and_malformed_plans_are_wrong(by_hand, words):
    assert not MAZES["small"].check(by_hand, words) and not optimal(MAZES["small"], by_hand, words)


# ---- the search

@pytest.mark.parametrize("level, n", [("tiny", 150), ("open", 150), ("small", 300), ("medium", 60),
                                      ("paper", 8)])
def test_astar_finds_the_shortest_plan_that_opens_the_fewest_doors(level, n):
    maze, solved = MAZES[level], 0
    for i, raster in enumerate(random_boards(maze, n)):
        letters, distance = brute_force(raster, maze.side)
        goals = [(d, -len(state[3])) for state, d in distance.items() if letters[state[0]] == "*"]
        _, found = search(Board(raster, maze.side), random.Random(i))
        assert bool(found) == bool(goals)
        if goals:
            solved += 1
            assert (len(found) - 1, len(found[-1][2]) - maze.K) == min(goals)
    assert 0 < solved < n


@pytest.mark.parametrize("level, n", [("tiny", 60), ("open", 40), ("small", 40), ("medium", 10)])
def test_every_created_node_is_one_legal_move_from_an_earlier_one(level, n):
    maze = MAZES[level]
    for raster in random_boards(maze, n, seed=1):
        letters, start = start_state(raster)
        trace, found = search(Board(raster, maze.side), random.Random(0))
        cost, reach = {}, {(start, 0)}           # reach: what one move from an earlier node creates
        for state, g in trace:
            state = in_our_terms(raster, state)
            assert (state, g) in reach and g < cost.get(state, g + 1)    # again only if cheaper
            cost[state] = g
            reach |= {(child, g + 1) for child in after_moves(letters, maze.side, state)}
        walked = [in_our_terms(raster, state) for state in found]
        assert [cost[state] for state in walked] == list(range(len(walked)))


def test_the_search_is_random_but_its_plan_is_not_longer():
    example = MAZES["small"].sample("train", 0)
    found = [search(example.state, random.Random(seed)) for seed in range(8)]
    assert len({str(trace) for trace, _ in found}) == 8
    assert {len(states) for _, states in found} == {len(example.answer) // 2}
    assert search(example.state, random.Random(3)) == found[3]


# ---- the samples

def test_the_example_in_the_docstring():
    example = MAZES["tiny"].sample("train", 34)
    assert "".join(LETTER[word] for word in example.question) == "######bRr##.#.##@B*######"
    assert " | ".join(map(" ".join, example.steps)) == (
        "x1 y3 none c0 | x1 y2 none c1 | x1 y1 blue-key c2 | x1 y2 blue-key c3 | "
        "x1 y3 blue-key c4 | x2 y3 none c5 | x1 y3 none c6 | x3 y3 none c6")
    assert example.answer == plan("13 12 11 12 13 23 33") and example.difficulty == 1


@pytest.mark.parametrize("level", ["tiny", "open", "small", "medium"])
def test_samples_are_pure(level):
    there = [MAZES[level].sample(split, i) for split in ("train", "val") for i in range(5)]
    again = [Maze(level).sample(split, i) for split in ("val", "train") for i in reversed(range(5))]
    for a, b in zip(there, again[::-1]):
        assert (a.question, a.steps, a.answer, a.difficulty) == (
            b.question, b.steps, b.answer, b.difficulty)
    assert len({str(e.steps) for e in there}) >= 9              # tiny has few boards


def test_level_open_does_not_run_out_of_boards():
    boards = {" ".join(MAZES["open"].sample("test", i).question) for i in range(1000)}
    assert len(boards) > 990


def test_splits_share_no_board():
    keys = {split: {" ".join(MAZES["small"].sample(split, i).state.raster) for i in range(n)}
            for split, n in (("train", 300), ("val", 60), ("test", 60), ("ood", 15))}
    home = {"train": "train", "val": "val", "test": "test", "ood": "test"}
    for split, boards in keys.items():
        assert {split_of(board) for board in boards} == {home[split]}
    assert len(set.union(*keys.values())) == sum(map(len, keys.values())) == 435


@pytest.mark.parametrize("level, n", [("tiny", 60), ("open", 60), ("small", 40), ("medium", 20),
                                      ("paper", 4)])
def test_samples_hold_what_the_levels_promise(level, n):
    maze = MAZES[level]
    for split in ("train", "val", "test"):
        for example in (maze.sample(split, i) for i in range(n)):
            assert 1 <= example.difficulty < maze.K and len(example.steps) <= maze.most_nodes
            assert optimal(maze, example, example.answer)
            assert {len(step) for step in example.steps} == {4}
            assert set(sum(example.steps, example.question + example.answer)) <= set(maze.words)


@pytest.mark.parametrize("level, n", [("tiny", 30), ("open", 30), ("small", 12), ("medium", 8)])
def test_ood_is_harder(level, n):
    maze = MAZES[level]
    usual, ood = ([maze.sample(split, i) for i in range(n)] for split in ("test", "ood"))
    assert {e.difficulty for e in ood} == {maze.K} and max(e.difficulty for e in usual) < maze.K
    assert all(maze.check(e, e.answer) for e in ood)
    assert sum(len(e.answer) for e in ood) > 1.4 * sum(len(e.answer) for e in usual)
    assert sum(len(e.steps) for e in ood) > 1.4 * sum(len(e.steps) for e in usual)
    assert set().union(*(step for e in ood for step in e.steps)) <= set(maze.words)


# The reference numbers hold before any cut, for all boards whose plan opens a door: wall cells,
# words of the prompt, cells of the plan, words of the trace.
@pytest.mark.parametrize("level, draws, walls, prompt, cells, trace", [
    ("tiny", 4000, 18, 25, 8, 42), ("small", 4000, 31, 49, 13, 110),
    ("medium", 2500, 55, 100, 20, 304), ("paper", 500, 127, 405, 39, 1257)])
def test_sizes_match_the_reference_generator(level, draws, walls, prompt, cells, trace):
    maze, rows = MAZES[level], []
    for raster in random_boards(maze, draws, seed=2):
        nodes, found = search(Board(raster, maze.side), random.Random(0))
        if found and found[-1][2]:
            rows.append((raster.count("wall"), len(maze.question(raster)),
                         len(found), 4 * len(nodes)))
    means = [sum(column) / len(rows) for column in zip(*rows)]
    assert means[0] == pytest.approx(walls, rel=.03)
    assert means[1] == pytest.approx(prompt, rel=.01)
    assert means[2] == pytest.approx(cells, rel=.12)
    assert means[3] == pytest.approx(trace, rel=.15 if level != "paper" else .35)   # a heavy tail


def test_words_are_a_closed_list_in_a_fixed_order():
    for level, size in (("tiny", 72), ("open", 96), ("small", 96), ("medium", 132), ("paper", 240)):
        words = MAZES[level].words
        assert len(words) == len(set(words)) == size and words == Maze(level).words
        assert words[:3] == ["free", "agent", "goal"]


# ---- records, pictures, the command line

@pytest.mark.parametrize("level, n", [("tiny", 10), ("open", 10), ("small", 10), ("paper", 2)])
def test_parse_gives_the_sample_back(level, n):
    maze = MAZES[level]
    for example in (maze.sample("val", i) for i in range(n)):
        back = maze.parse({"question": " ".join(example.question),
                           "steps": [" ".join(step) for step in example.steps],
                           "answer": " ".join(example.answer)})
        assert (back.question, back.steps, back.answer, back.difficulty) == (
            example.question, example.steps, example.answer, example.difficulty)
        assert back.state.raster == example.state.raster and optimal(maze, back, back.answer)


@pytest.mark.parametrize("broken, message", [
    ({"question": None}, "has question, steps"), ({"steps": 3}, "has question, steps"),
    ({"answer": "x3 y1"}, "no legal plan"), ({"answer": "x3 y9"}, "not a word .*'y9'"),
    ({"steps": ["x3 y1 purple-key c0"]}, "not a word .*'purple-key'"),
    ({"question": "wall free"}, "has 49 cells"),
    ({"question": record(PICTURE.replace("r", "b"))["question"]}, "at most one key"),
    ({"question": record(PICTURE.replace("@", "."))["question"]}, "one agent"),
    ({"question": record("." + PICTURE[1:])["question"]}, "border"),
    ({"question": record()["question"].replace("goal", "x1")}, "each one of"),
])
def test_parse_says_what_is_wrong(broken, message):
    with pytest.raises(ValueError, match=message) as error:
        MAZES["small"].parse(record() | broken)
    assert "\n" not in str(error.value)


def test_parse_needs_every_field_and_whole_coordinates():
    with pytest.raises(ValueError, match="has question, steps"):
        MAZES["small"].parse({"question": "wall", "steps": []})
    for question in ("agent x1", "agent x1 y1 wall x1 y1", "agent goal x1"):
        with pytest.raises(ValueError, match="no new thing"):
            MAZES["paper"].parse({"question": question, "steps": [], "answer": "x1 y1"})


def test_the_list_prompt_names_every_thing_at_its_place():
    example = MAZES["paper"].sample("train", 0)
    things = [example.question[i:i + 3] for i in range(0, len(example.question), 3)]
    place = places(19)
    assert [thing for thing, *_ in things[:8]] == [
        "agent", "goal", "red-key", "green-key", "blue-key", "red-door", "green-door", "blue-door"]
    assert all(example.state.raster[place[x, y]] == thing for thing, x, y in things)
    assert len(things) == sum(word != "free" for word in example.state.raster)


def test_an_unknown_level_names_the_nearest():
    with pytest.raises(ValueError, match="unknown level 'smal' .*nearest: small"):
        Maze("smal")
    with pytest.raises(ValueError, match="known: tiny, open, small, medium, paper"):
        Maze("9x9")


@pytest.mark.parametrize("words", [None, [], plan(BEST)[:7], plan("31 32"), ["x9", "free"]])
def test_a_picture_of_any_plan_is_written(by_hand, words, tmp_path):
    import matplotlib.pyplot as plt
    draw_png(by_hand, tmp_path / "maze.png", words)
    assert (tmp_path / "maze.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert plt.get_fignums() == []


def test_the_command_line_prints_a_maze_and_saves_its_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["maze.py", "--level", "small"])
    runpy.run_path(data.maze.__file__, run_name="__main__")
    printed = capsys.readouterr().out
    assert printed.startswith(" ".join(MAZES["small"].sample("train", 0).question) + "\n")
    assert "mean words in prompt, trace, plan: 49.0" in printed
    assert (tmp_path / "maze-small.png").exists()
