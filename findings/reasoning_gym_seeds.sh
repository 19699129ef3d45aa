#!/bin/sh
# reasoning_gym 0.1.25; 2026-11-29
# Expected: data sets of different seeds hold different problems, up to a few met twice by chance,
#   so one seed can be for training and the next for testing.
# Seen: problem i of seed s is problem 0 of seed s + i. A test set of seed 43 is all within a
#   training set of seed 42 that is longer, in chain_sum, lcm, maze and most others.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q reasoning_gym==0.1.25
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import reasoning_gym

TRAIN, TEST = 200, 50


def questions(name, size, seed):
    return [p["question"] for p in reasoning_gym.create_dataset(name, size=size, seed=seed)]


seen = {}
for name in ("chain_sum", "lcm", "maze", "knights_knaves", "shortest_path"):
    train = questions(name, TRAIN, 42)
    seen[name] = [sum(q in set(train) for q in questions(name, TEST, seed))
                  for seed in (43, 42 + TRAIN - 10, 42 + TRAIN)]
    print(f"{name}: of {TEST} test problems, in the {TRAIN} of seed 42: {seen[name][0]} of seed "
          f"43, {seen[name][1]} of seed {42 + TRAIN - 10}, {seen[name][2]} of seed {42 + TRAIN}")
changed = any(near != TEST or far >= TEST // 2 or middle < 10
              for near, middle, far in seen.values())
sys.exit("what is seen has changed" if changed else 0)
END
