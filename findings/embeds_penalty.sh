#!/bin/sh
# transformers 5.24.0; 2026-11-28
# Expected: generate() of a prompt's embeddings writes what it writes of the prompt's tokens, or
#   refuses what it cannot do.
# Seen: greedily it does; with repetition_penalty or no_repeat_ngram_size it writes other tokens
#   and says nothing: they do not see a prompt given as embeddings.
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
model = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=64, n_embd=32, n_layer=2, n_head=2,
                                   initializer_range=0.5, bos_token_id=None, eos_token_id=None,
                                   pad_token_id=0)).eval()
tokens = torch.randint(1, 40, (32, 15))                 # (problems, length)


def same(**options):
    options |= dict(do_sample=False, max_new_tokens=8,
                    attention_mask=torch.ones_like(tokens))
    a = model.generate(tokens, **options)[:, 15:]
    b = model.generate(inputs_embeds=model.get_input_embeddings()(tokens), **options)
    return (a == b).all(1).float().mean().item()


plain, penalty, ngram = same(), same(repetition_penalty=3.0), same(no_repeat_ngram_size=1)
print(f"rows that are the same: greedy {plain:.0%}, repetition_penalty {penalty:.0%}, "
      f"no_repeat_ngram_size {ngram:.0%}")
changed = plain < 0.9 or penalty > 0.5 or ngram > 0.5
sys.exit("what is seen has changed" if changed else 0)
END
