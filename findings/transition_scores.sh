#!/bin/sh
# transformers 5.24.0; 2026-11-28
# Expected: compute_transition_scores of a sampled batch can be added up to the log-probability of
#   each row.
# Seen: with top_k a row that ended early mostly gets -inf at its padded places, where the padding
#   token is not among the k: then its sum is -inf. No row that ran to the end has one.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 transformers==5.24.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from transformers import GPT2Config, GPT2LMHeadModel

torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=64, n_embd=32, n_layer=1, n_head=2,
                                   initializer_range=0.5, bos_token_id=1, eos_token_id=1,
                                   pad_token_id=0)).eval()
prompt = torch.randint(2, 40, (64, 4))                  # (problems, length)
out = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=True, top_k=5,
                     max_new_tokens=12, output_scores=True, eos_token_id=[1, 2, 3],
                     return_dict_in_generate=True)
scores = model.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
ended = out.sequences[:, -1] == 0                       # (problems): padded at the end?
infinite = scores.sum(1) == float("-inf")
print(f"rows that ended early: {ended.sum()}; sums of -inf among them: {infinite[ended].sum()}, "
      f"among the {(~ended).sum()} others: {infinite[~ended].sum()}")
changed = (not ended.any() or ended.all() or infinite[ended].float().mean().item() < 0.5
           or infinite[~ended].any().item())
sys.exit("what is seen has changed" if changed else 0)
END
