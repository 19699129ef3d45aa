#!/bin/sh
# py-sudoku 2.0.0; 2026-11-29
# Expected: a puzzle has one solution, the board that it was made from, as a Sudoku has by
#   definition.
# Seen: squares are emptied at random and nothing is checked. Of 20 puzzles of difficulty 0.5, 11
#   have several solutions, and of difficulty 0.6 all have; solve() finds another board than their
#   own for 7 and for 14, so against either a right answer may count as wrong.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q py-sudoku==2.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

from sudoku import Sudoku

seen = {}
for difficulty in (0.5, 0.6):
    several = others = 0
    for seed in range(20):
        board = Sudoku(3, seed=seed).solve().board
        puzzle = Sudoku(3, seed=seed).difficulty(difficulty)
        several += puzzle.has_multiple_solutions()
        others += puzzle.solve().board != board
    seen[difficulty] = several, others
    print(f"difficulty {difficulty}: {several} of 20 have several solutions, "
          f"{others} are solved as another board")
changed = seen != {0.5: (11, 7), 0.6: (20, 14)}
sys.exit("what is seen has changed" if changed else 0)
END
