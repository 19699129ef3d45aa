#!/bin/sh
# x-transformers 2.31.10, torch 2.13.0; 2026-11-29
# Expected: generate() writes after a prompt what it writes after it alone, also if the prompt is
#   handed over with longer ones and prompt_lens.
# Seen: so without memory tokens. With num_memory_tokens the mask of the padding is not moved by
#   their number: it hides the memory tokens of a shorter prompt and shows the padding, and
#   other tokens are written.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 x-transformers==2.31.10
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import torch
from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

LENGTHS = torch.tensor([12, 9, 6, 3])


def same(num_memory_tokens):
    """The share of 16 greedy tokens that are those after the prompt alone, for each prompt."""
    torch.manual_seed(0)
    layers = Decoder(dim=32, depth=2, heads=2, attn_dim_head=16)
    model = AutoregressiveWrapper(TransformerWrapper(
        num_tokens=32, max_seq_len=64, num_memory_tokens=num_memory_tokens, attn_layers=layers))
    prompts = torch.randint(1, 32, (4, 12))             # (prompts, tokens)
    together = model.generate(prompts, 16, prompt_lens=LENGTHS, temperature=0.0, cache_kv=False)
    shares = []
    for prompt, length, written in zip(prompts, LENGTHS, together):
        alone = model.generate(prompt[None, :length], 16, temperature=0.0, cache_kv=False)[0]
        shares.append((written == alone).float().mean().item())
    return shares


seen = {number: same(number) for number in (0, 4)}
for number, shares in seen.items():
    print(f"{number} memory tokens: prompts of {LENGTHS.tolist()} tokens have "
          f"{[f'{share:.0%}' for share in shares]} of their tokens alone")
changed = min(seen[0]) < 1 or seen[4][0] < 1 or max(seen[4][1:]) > 0.9
sys.exit("what is seen has changed" if changed else 0)
END
