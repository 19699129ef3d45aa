"""Keys-Finding Maze, the search task of Token Assorted (arXiv 2502.03275).

An agent in a grid of rooms must reach a goal behind locked doors. It holds one key at a time: an
empty hand takes the key of the cell it enters and never drops it; a door lets in only the key of
its colour, uses it up and stays open. Example 34 of split train, level tiny:

    #####   @ agent, * goal, b blue-key, B blue-door
    #bRr#   question  these 25 cells row by row: wall wall wall wall wall wall blue-key red-door ...
    #.#.#   steps     one per node A* creates: cell, key in the hand, cost g so far
    #@B*#             x1 y3 none c0 | x1 y2 none c1 | x1 y1 blue-key c2 | x1 y2 blue-key c3 |
    #####             x1 y3 blue-key c4 | x2 y3 none c5 | x1 y3 none c6 | x3 y3 none c6
            answer    the plan, x1 y3 x1 y2 x1 y1 x1 y2 x1 y3 x2 y3 x3 y3

Cell x1 y3 comes three times: empty-handed, with the key, and with the blue door open behind it.
`difficulty` is the number of doors the plan opens, at least 1. train, val and test have up to K - 1
and drop the longest traces, about 5%; ood has all K, and traces up to twice that limit. The board
decides the split, so no board is in two of them (a rotated or recoloured one is another board).

Measured on 1,000 examples of train (paper: 300); words, mean (95% are no longer), CPU time:
    level    side  prompt   trace         plan       trace, plan in ood    ms in train, val, ood
    tiny        5      25     35 (44)     13 (18)      58, 21                .3    .8   1.5
    open        7      49     80 (128)    19 (28)     159, 32                .4   1.0   3.4
    small       7      49     96 (200)    24 (42)     249, 48                .5   1.7    17
    medium     10     100    238 (536)    36 (64)     665, 79               .9   1.9    40
    paper      19     404   1217 (3208)   73 (136)   4163, 182              3.6   4.6   144
Level tiny, for trying out, has only 365, 66, 73 and 30 boards in train, val, test and ood. Level
open, of rooms with four cells, is the easiest that never runs out of boards.

Ours, where the paper is silent or we differ:
1. The generator: doorways along a random spanning tree of the rooms and, with p = .3, elsewhere;
   locked doors on edges of the tree. All positions and colours uniform. The paper fixes 100k mazes.
2. A step names the held key, but no "create" and no h. The raster prompt (paper: `thing x y` list).
3. Of equal f, A* takes the node with fewer opened doors, and tosses a coin only between those.
4. The split ood, and so the limit to K - 1 doors elsewhere.
5. Plans of level paper are a ninth as long as the paper's Sol-Only outputs (645 tokens in its Table
   4.1; trace and plan together, 1,312, agree): the plan is shorter here, or that model rambles.
`python -m data.maze --level small` prints an example and the means, and draws maze-small.png.
"""
from functools import cache
from heapq import heappop, heappush
from itertools import count, product

from data.cli import Flag, Parser, choice
from data.common import Example, draw, shown
from data.records import texts

COLOURS = ("red", "green", "blue")
KEYS = {f"{colour}-key": colour for colour in COLOURS}
DOORS = {f"{colour}-door": colour for colour in COLOURS}
CELLS = ["free", "agent", "goal", *KEYS, *DOORS, "wall"]     # the words a board is made of
LEVELS = {  # m x m rooms, of n x n cells, K keys and doors, most nodes in a trace, prompt
    "tiny": (2, 1, 2, 15, "raster"),
    "open": (2, 2, 2, 35, "raster"),
    "small": (3, 1, 3, 60, "raster"),
    "medium": (3, 2, 3, 160, "raster"),
    "paper": (3, 5, 3, 1000, "list"),
}
PAINT = {"red": "#d1343f", "green": "#2f9e58", "blue": "#2f6fd0", None: "#4a4a4a"}


@cache
def places(side):
    """The number of every cell, row by row: {("x0", "y0"): 0, ("x1", "y0"): 1, ...}."""
    return {(f"x{x}", f"y{y}"): y * side + x for y in range(side) for x in range(side)}


class Board:
    """A maze, given as its cells row by row (one word each), and the rules of moving in it.

    A state is (cell, colour of the held key or None, frozenset of opened doors). A key leaves the
    hand only by opening its door, so a state also tells which keys still lie on the floor.
    """

    def __init__(self, raster, side):
        if len(raster) != side * side or not set(raster) <= set(CELLS):
            raise ValueError(f"a board has {side * side} cells, each one of {' '.join(CELLS)}")
        things = [word for word in raster if word not in ("wall", "free")]
        if len(set(things)) < len(things) or not {"agent", "goal"} <= set(things):
            raise ValueError("a board has one agent, one goal, at most one key and door per colour")
        if {*raster[:side], *raster[-side:], *raster[::side], *raster[side - 1::side]} != {"wall"}:
            raise ValueError("the border of a board is walls")       # so that no move can leave it
        self.raster, self.side = raster, side
        self.walls = {cell for cell, word in enumerate(raster) if word == "wall"}
        self.keys = {cell: KEYS[word] for cell, word in enumerate(raster) if word in KEYS}
        self.doors = {cell: DOORS[word] for cell, word in enumerate(raster) if word in DOORS}
        self.goal = raster.index("goal")
        self.start = (raster.index("agent"), None, frozenset())

    def moves(self, state):
        """Every state one move away: all the rules, for the search and for the checker."""
        at, held, opened = state
        after = []
        for cell in (at + 1, at - 1, at + self.side, at - self.side):
            door, key = self.doors.get(cell), self.keys.get(cell)
            if cell in self.walls:
                continue
            if door and door not in opened:
                if held == door:                         # uses the key up; the door stays open
                    after.append((cell, None, opened | {door}))
            elif key and not held and key not in opened:             # an empty hand takes the key
                after.append((cell, key, opened))
            else:
                after.append((cell, held, opened))
        return after

    def walk(self, words):
        """The states along the plan `words`, up to the first word or move that is not legal."""
        states, nexts = [], [self.start]
        for place in zip(words[::2], words[1::2]):
            nexts = [state for state in nexts if state[0] == places(self.side).get(place)]
            if not nexts:
                break
            states += nexts
            nexts = self.moves(nexts[0])
        return states


def search(board, rng):
    """Non-deterministic A*: every created (state, g) in order and the states of a shortest plan.

    Children are shuffled and equal f = g + h is decided by a coin, so one board has many traces.
    Before the coin, fewer opened doors go first: the plan opens as few as a shortest plan can,
    which makes the difficulty a fact of the board. An unsolvable board has an empty plan.
    """
    side, (goal_y, goal_x) = board.side, divmod(board.goal, board.side)
    cost, parent = {board.start: 0}, {}
    trace, heap = [(board.start, 0)], [(0, 0, 0, board.start)]
    while heap:
        state = heappop(heap)[-1]
        if state[0] == board.goal:
            plan = [state]
            while plan[-1] in parent:
                plan.append(parent[plan[-1]])
            return trace, plan[::-1]
        g, children = cost[state] + 1, board.moves(state)
        rng.shuffle(children)
        for child in children:
            if g < cost.get(child, g + 1):               # new, or now reached by a shorter way
                cost[child], parent[child] = g, state
                trace.append((child, g))
                y, x = divmod(child[0], side)
                h = abs(x - goal_x) + abs(y - goal_y)    # Manhattan: never too high
                heappush(heap, (g + h, len(child[2]), rng.random(), child))
    return trace, []


class Maze:
    FLAGS = {"level": Flag("small", f"size of the maze: {', '.join(LEVELS)}", tuple(LEVELS))}
    splits = ("train", "val", "test", "ood")

    def __init__(self, level="small"):
        m, n, self.K, self.most_nodes, self.prompt = choice(level, LEVELS, "level")
        self.level = level
        self.side = side = m * (n + 1) + 1
        self.most_cells = 10 * side                      # in a plan; it bounds the words of g
        self.words = CELLS + ["none"] + [f"{axis}{i}" for axis in "xy" for i in range(side)]
        self.words += [f"c{g}" for g in range(self.most_cells + 1)]
        self.rooms, self.borders = ["wall"] * side ** 2, {}          # {two rooms: cells between}
        self.part = list(range(m * m))                   # no room is connected to another yet
        for y, x in product(range(1, side - 1), repeat=2):
            if x % (n + 1) and y % (n + 1):
                self.rooms[y * side + x] = "free"
            elif x % (n + 1) or y % (n + 1):             # where two walls cross is no doorway
                pair = [v // (n + 1) * m + u // (n + 1) for u, v in ((x - 1, y - 1), (x, y))]
                self.borders.setdefault(tuple(pair), []).append(y * side + x)

    def make(self, rng):
        """A random board, fit or not, with the rng for its search: ((raster, rng), key)."""
        raster, part, tree = self.rooms[:], self.part, []
        floor = [cell for cell, word in enumerate(raster) if word == "free"]
        for (a, b), wall in rng.sample(list(self.borders.items()), len(self.borders)):
            way = rng.choice(wall)
            if part[a] != part[b]:                       # Kruskal: a random spanning tree ...
                part = [part[a] if p == part[b] else p for p in part]
                tree.append(way)
                raster[way] = "free"
            elif rng.random() < .3:                      # ... and some ways around it
                raster[way] = "free"
        colours = rng.sample(COLOURS, self.K)
        for way, colour in zip(rng.sample(tree, self.K), colours):
            raster[way] = f"{colour}-door"
        things = ["agent", "goal"] + [f"{colour}-key" for colour in colours]
        for cell, thing in zip(rng.sample(floor, len(things)), things):
            raster[cell] = thing
        return (raster, rng), " ".join(raster)

    def sample(self, split, index):
        """Draw boards of the split until one is fit; boards of other splits are never searched."""
        ood = split == "ood"
        for attempt in count():
            raster, rng = draw(self.make, f"maze/{self.level}/{attempt}", split, index)
            board = Board(raster, self.side)
            trace, plan = search(board, rng)
            doors = len(plan[-1][2]) if plan else 0
            if ((doors == self.K if ood else 0 < doors < self.K)
                    and len(trace) <= self.most_nodes * (1 + ood) and len(plan) <= self.most_cells):
                place = list(places(self.side))
                steps = [[*place[cell], f"{held}-key" if held else "none", f"c{g}"]
                         for (cell, held, _), g in trace]
                answer = [word for cell, *_ in plan for word in place[cell]]
                return Example(self.question(raster), steps, answer, doors, board)

    def question(self, raster):
        """The raster itself, or the list `thing x y` of agent, goal, keys, doors and walls."""
        if self.prompt == "raster":
            return raster
        things = [(word, *at) for word, at in zip(raster, places(self.side)) if word != "free"]
        things.sort(key=lambda thing: CELLS.index(thing[0]))
        return [word for thing in things for word in thing]

    def raster(self, question):
        """The inverse of `question`."""
        if self.prompt == "raster":
            return question
        cells = dict.fromkeys(places(self.side), "free")
        for thing, *place in (question[i:i + 3] for i in range(0, len(question), 3)):
            if cells.get(tuple(place)) != "free":
                found = shown(" ".join([thing, *place]))
                raise ValueError(f"{found} is no new thing with its x and y")
            cells[tuple(place)] = thing
        return list(cells.values())

    def parse(self, record):
        """An Example from {question: str, steps: [str], answer: str}, words separated by blanks."""
        question, steps, answer = texts(record)
        question, steps, answer = question.split(), [s.split() for s in steps], answer.split()
        unknown = set(question + answer).union(*steps) - set(self.words)
        if unknown:
            raise ValueError(f"not a word of level {self.level}: {shown(min(unknown))}")
        board = Board(self.raster(question), self.side)
        example = Example(question, steps, answer, 0, board)
        if not self.check(example, answer):
            raise ValueError("the answer is no legal plan from the agent to the goal")
        example.difficulty = len(board.walk(answer)[-1][2])
        return example

    def check(self, example, words):
        """Is the plan `words` legal from the agent's cell to the goal? Any such plan is right."""
        states = example.state.walk(words)
        return 0 < len(words) == 2 * len(states) and states[-1][0] == example.state.goal


def draw_cell(ax, word, x, y):
    """Draw one cell, 36 points wide. The walls are the background."""
    paint = PAINT[(KEYS | DOORS).get(word)]
    if word != "wall":
        ax.plot(x, y, "s", ms=34.5, color="#fbfaf5")
    if word in DOORS:
        ax.plot(x, y, "s", ms=29, mfc=paint, mec="black")
        ax.plot([x, x], [y - .12, y + .2], "k-o", ms=7, lw=3, markevery=[0])         # the keyhole
    elif word in KEYS:
        for width, colour in ((6.5, "black"), (3.5, paint)):         # an outline, then the key
            ax.plot(x - .2, y, "o", ms=10, mfc="none", mec=colour, mew=width)
            ax.plot([x + dx for dx in (0, .18, .18, .18, .34, .34)],
                    [y + dy for dy in (0, 0, .14, 0, 0, .14)], color=colour, lw=width)
    elif word in ("agent", "goal"):
        marker, face = ("o", "white") if word == "agent" else ("*", "#f2b705")
        ax.plot(x, y, marker, ms=24, mfc=face, mec="black", mew=1.5)


def draw_png(example, path, words=None):
    """Save a picture of the maze and the plan `words` (default: the answer), to its first error."""
    from matplotlib.figure import Figure                 # a Figure of its own: no pyplot, no window
    board, words = example.state, example.answer if words is None else words
    side, states = board.side, board.walk(words)
    figure = Figure(figsize=(side / 2, side / 2))        # half an inch per cell is 36 points
    ax = figure.add_axes((0, 0, 1, 1), facecolor="#39414f")
    for cell, word in enumerate(board.raster):
        draw_cell(ax, word, cell % side, cell // side)
    leg = 0       # the route has the colour of the held key; every key or door starts a new leg
    for before, after in zip(states, states[1:]):
        (x, y), (x2, y2) = [(cell % side + .09 * leg - .27, cell // side + .09 * leg - .27)
                            for cell in (before[0], after[0])]           # legs lie side by side
        ax.annotate("", (x2, y2), (x, y), arrowprops={
            "arrowstyle": "-|>", "color": PAINT[before[1]], "lw": 2, "shrinkA": 0, "shrinkB": 0})
        if before[1:] != after[1:]:                      # took a key or opened a door
            leg += 1
            ax.text((x + x2) / 2, (y + y2) / 2, leg, size=7, ha="center", va="center",
                    bbox={"boxstyle": "circle,pad=.2", "fc": "white", "ec": PAINT[before[1]]})
    wrong = " ".join(words[2 * len(states):][:2])
    arrived = [cell for cell, *_ in states[-1:]] == [board.goal]
    ax.set_title(f"{max(len(states) - 1, 0)} legal moves, goal {'' if arrived else 'not '}reached"
                 + (f"\nillegal: {wrong}" if wrong else ""))
    ax.set(xlim=(-.5, side - .5), ylim=(side - .5, -.5), xticks=range(side), yticks=range(side))
    figure.savefig(path, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    parser = Parser("data.maze", "Prints one maze, draws it, measures its level.")
    parser.add_flags(Maze.FLAGS)
    maze = Maze(**parser.parse())
    examples = [maze.sample("train", i) for i in range(200)]
    print(*map(" ".join, [examples[0].question, *examples[0].steps, examples[0].answer]), sep="\n")
    lengths = [(len(e.question), 4 * len(e.steps), len(e.answer)) for e in examples]
    print("mean words in prompt, trace, plan:", *(sum(column) / 200 for column in zip(*lengths)))
    draw_png(examples[0], f"maze-{maze.level}.png")
