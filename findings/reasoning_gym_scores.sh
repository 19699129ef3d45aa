#!/bin/sh
# reasoning_gym 0.1.25; 2026-11-29
# Expected: score_answer gives a wrong answer nothing or next to nothing.
# Seen: where the right digits are within a wrong number it gives most of a point: for an lcm of
#   620, 0.75 for 1620, 6200 and -620, as for " 620". In game_of_life a board of dead cells has 0.97
#   in the mean.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q reasoning_gym==0.1.25
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import json
import sys

import reasoning_gym


def scores(name, *answers, at=0):
    """What answers to a problem of a data set get, each beside its own text."""
    data = reasoning_gym.create_dataset(name, size=at + 1, seed=3)
    return data[at]["answer"], {a: round(data.score_answer(a, data[at]), 2) for a in answers}


lcm = scores("lcm", "620", " 620", "1620", "6200", "-620", "621", at=1)
print("lcm", *lcm)
data = reasoning_gym.create_dataset("game_of_life", size=20, seed=3)
dead = [data.score_answer(json.dumps([[0] * len(row) for row in json.loads(p["answer"])]), p)
        for p in data]
print(f"game_of_life, all cells dead: {sum(dead) / len(dead):.2f} in the mean of 20")
changed = (lcm != ("620", {"620": 1, " 620": 0.75, "1620": 0.75, "6200": 0.75, "-620": 0.75,
                           "621": 0})
           or sum(dead) / len(dead) < 0.85)
sys.exit("what is seen has changed" if changed else 0)
END
