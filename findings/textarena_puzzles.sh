#!/bin/sh
# textarena 0.7.4; 2026-11-29
# Expected: a fifteen puzzle can be solved, another seed of reset() draws another Countdown, and
#   a Cryptarithm whose letters are wrong is worth little.
# Seen: tiles are shuffled, so that half of the fifteen puzzles have no solution. Countdown draws
#   its numbers when it is made, before any seed: every reset is the same puzzle, and with the same
#   seed a new environment has another. Cryptarithm counts letters that have a digit, whichever:
#   seven of eight, 0.875.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q nltk==3.10.4 requests==2.34.2 websockets==17.4 \
    rich==15.0.0
"$folder/venv/bin/pip" install -q --no-deps textarena==0.7.4
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import random
import sys

from textarena.envs.Countdown.env import CountdownEnv
from textarena.envs.Cryptarithm.env import CryptarithmEnv
from textarena.envs.FifteenPuzzle.env import FifteenPuzzleEnv


def solvable(board):
    """Each move of the gap by a row changes the parity of the pairs out of order."""
    cells = [tile for row in board for tile in row]
    tiles = [tile for tile in cells if tile]
    pairs = sum(a > b for place, a in enumerate(tiles) for b in tiles[place:])
    return (pairs + cells.index(None) // 4) % 2 == 1    # solved: no pair, gap in row 3


puzzle = FifteenPuzzleEnv()
count = 0
for seed in range(1000):
    puzzle.reset(num_players=1, seed=seed)
    count += solvable(puzzle.board)
print(f"fifteen puzzles with a solution: {count} of 1000")

random.seed(0)
drawn = []
for environment in (CountdownEnv(), CountdownEnv()):
    for seed in (1, 2):
        environment.reset(num_players=1, seed=seed)
        drawn.append((*environment.numbers, environment.target))
        print(f"Countdown after reset(seed={seed}): {environment.numbers} to {environment.target}")

letters = CryptarithmEnv("SEND + MORE = MONEY", max_turns=6)
letters.reset(num_players=1, seed=0)
for action in ("[S 1]", "[E 2]", "[N 3]", "[D 4]", "[M 5]", "[O 6]", "[R 7]"):
    letters.step(action)                                # right: 9, 5, 6, 7, 1, 0, 8
reward = letters.state.rewards[0]
print(f"Cryptarithm, seven wrong digits: reward {reward}")
changed = (not 400 < count < 600 or drawn[0] != drawn[1] or drawn[2] != drawn[3]
           or drawn[0] == drawn[2] or reward != 0.875)
sys.exit("what is seen has changed" if changed else 0)
END
