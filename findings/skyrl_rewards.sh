#!/bin/sh
# skyrl-gym 0.4.0; 2026-11-29
# Expected: the reward of a right GSM8K answer is 1, with a full stop behind it or a dollar before
#   it, too; and the search environment gives 0 for -5 and for 1.5, where 5 and 15 are right.
# Seen: "#### 18" has 1, "#### 18." and "#### $18" have 0, and so has "#### 18.00". Of two answers
#   the first is taken, where the last is the usual one. In search, -5 is right for 5 and 1.5 for
#   15: all punctuation is taken out.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q skyrl-gym==0.4.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

from skyrl_gym.envs.gsm8k.env import GSM8kEnv
from skyrl_gym.envs.search.utils import compute_score

endings = ["#### 18", "#### 18.", "#### $18", "#### 18.00", "#### 1\nNo:\n#### 18"]
rewards = []
for ending in endings:
    environment = GSM8kEnv(extras={"reward_spec": {"method": "rule", "ground_truth": "18"}})
    rewards.append(environment.step("She has 9 + 9 = 18 left.\n" + ending)["reward"])
search = {(answer, truth): compute_score(f"<answer>{answer}</answer>", {"target": [truth]})
          for answer, truth in (("5", "5"), ("-5", "5"), ("1.5", "15"), ("6", "5"))}
for ending, reward in zip(endings, rewards):
    print(f"gsm8k, 18 is right: {ending!r} has {reward:g}")
for (answer, truth), score in search.items():
    print(f"search, {truth} is right: {answer} has {score:g}")
changed = rewards != [1, 0, 0, 0, 0] or list(search.values()) != [1, 1, 1, 0]
sys.exit("what is seen has changed" if changed else 0)
END
