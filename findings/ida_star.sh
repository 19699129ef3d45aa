#!/bin/sh
# slidingpuzzle 0.1.5; 2026-11-30
# Expected: IDA* with a heuristic that never says too much, as linear conflicts or the Manhattan
#   distance, finds a shortest solution, as A* does.
# Seen: of the 360 boards of two rows and three columns, 20 are solved in more moves than needed
#   with linear conflicts (the default), by up to six, and 59 with the Manhattan distance, by up
#   to ten. A* is right on all, and neither heuristic says too much on any. A state once visited
#   is not visited again by a shorter way (detect_dupes=True is the default).
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q slidingpuzzle==0.1.5
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import collections
import sys

from slidingpuzzle import from_rows, linear_conflict_distance, manhattan_distance, search

rows, columns = 2, 3


def next_boards(board):
    """The boards that are one move away; a board is its numbers, row by row, 0 the blank."""
    blank = board.index(0)
    y, x = divmod(blank, columns)
    for dy, dx in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        if 0 <= y + dy < rows and 0 <= x + dx < columns:
            tile = (y + dy) * columns + x + dx
            moved = list(board)
            moved[blank], moved[tile] = moved[tile], moved[blank]
            yield tuple(moved)


goal = (1, 2, 3, 4, 5, 0)
moves, queue = {goal: 0}, collections.deque([goal])            # how many moves each board needs
while queue:
    board = queue.popleft()
    for other in next_boards(board):
        if other not in moves:
            moves[other] = moves[board] + 1
            queue.append(other)

boards = {board: from_rows(list(board[:columns]), list(board[columns:])) for board in moves}
longer, too_much = {}, {}
for heuristic in (linear_conflict_distance, manhattan_distance):
    name = heuristic.__name__
    too_much[name] = sum(heuristic(boards[board]) > moves[board] for board in moves)
    for way in ("ida*", "a*"):
        found = {board: len(search(boards[board], way, heuristic=heuristic).solution)
                 for board in moves}
        more = [found[board] - moves[board] for board in moves if found[board] > moves[board]]
        longer[name, way] = len(more)
        print(f"{way} with {name} (too much on {too_much[name]} boards): {len(more)} of "
              f"{len(moves)} not shortest, by up to {max(more, default=0)} moves")
changed = (len(moves) != 360 or any(too_much.values())
           or min(longer[name, "ida*"] for name in too_much) < 10
           or any(longer[name, "a*"] for name in too_much))
sys.exit("what is seen has changed" if changed else 0)
END
