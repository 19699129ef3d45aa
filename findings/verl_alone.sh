#!/bin/sh
# verl 0.9.1; 2026-11-28
# Expected: in GRPO an answer that is alone in its group has nothing to be compared with, so its
#   advantage is 0.
# Seen: its advantage is its reward, 1; two equally right answers get 0 each. In the same
#   package's GSM8K reward, 18. and 18.00 are wrong for 18.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 ray==2.49.0 omegaconf==2.3.1 \
    codetiming==1.4.0 tensordict==0.10.0 hydra-core==1.3.8 transformers==5.10.4
"$folder/venv/bin/pip" install -q --no-deps verl==0.9.1
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import numpy as np
import torch
from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage
from verl.utils.reward_score.gsm8k import compute_score

rewards, mask = torch.ones(3, 1), torch.ones(3, 1)      # (answers, tokens)
group = np.array([0, 0, 1])                             # (answers)
advantages = compute_grpo_outcome_advantage(rewards, mask, group)[0][:, 0].tolist()
scores = [compute_score(f"so it is\n#### {answer}", "18")
          for answer in ("18", "1,8", "18.", "18.00")]
print("advantages", advantages, "rewards of 18, 1,8, 18., 18.00:", scores)
changed = [round(a, 4) for a in advantages] != [0, 0, 1] or scores != [1, 1, 0, 0]
sys.exit("what is seen has changed" if changed else 0)
END
