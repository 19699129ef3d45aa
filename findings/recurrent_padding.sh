#!/bin/sh
# transformers 5.24.0 with torch 2.13.0; 2026-11-29
# Expected: beside a longer prompt, a prompt that is padded on the left and has its attention mask
#   is continued with the logits that it has alone, in recurrent models, too.
# Seen: so in Mamba. In RecurrentGemma the convolution reads the padding, and all logits are others.
#   In MiniMax, where its first layer is a linear one, the first token's are right, those after it
#   are not, unless use_cache is False. Nothing is said of it.
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
from torch import nn
from transformers import (MambaConfig, MambaForCausalLM, MiniMaxConfig, MiniMaxForCausalLM,
                          RecurrentGemmaConfig, RecurrentGemmaForCausalLM, logging)

logging.set_verbosity_error()
common = {"vocab_size": 64, "hidden_size": 32, "eos_token_id": None, "pad_token_id": 0}
attention = {"intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
             "head_dim": 8}
mamba = MambaConfig(num_hidden_layers=2, state_size=8, **common)
gemma = RecurrentGemmaConfig(num_hidden_layers=3, lru_width=32, attention_window_size=16,
                             **attention, **common)
minimax = MiniMaxConfig(num_hidden_layers=2, layer_types=["linear_attention", "full_attention"],
                        num_local_experts=2, num_experts_per_tok=1, block_size=8, **attention,
                        **common)


def padding_error(model, use_cache):
    """By how much a longer prompt beside it changes a prompt's first and second logits."""
    torch.manual_seed(0)
    for p in model.parameters():
        if p.dim() > 1:
            nn.init.normal_(p, std=0.2)
    prompts = torch.randint(3, 64, (2, 12))
    prompts[0, :5] = 0                                  # seven tokens and twelve
    logits = []
    for tokens in (prompts[:1, 5:], prompts):
        found = model.eval().generate(tokens, attention_mask=(tokens > 0).long(), do_sample=False,
                                      max_new_tokens=2, use_cache=use_cache, output_logits=True,
                                      return_dict_in_generate=True)
        logits.append(torch.stack(found.logits)[:, 0])  # (new tokens, vocabulary)
    return (logits[0] - logits[1]).abs().amax(1).tolist()


changed = False
for name, model, use_cache, wrong in (
        ("Mamba", MambaForCausalLM(mamba), True, [False, False]),
        ("RecurrentGemma", RecurrentGemmaForCausalLM(gemma), True, [True, True]),
        ("MiniMax", MiniMaxForCausalLM(minimax), True, [False, True]),
        ("MiniMax uncached", MiniMaxForCausalLM(minimax), False, [False, False])):
    first, second = padding_error(model, use_cache)
    print(f"{name}: the logits are off by {first:.2f} and {second:.2f}")
    changed |= [first > 0.1, second > 0.1] != wrong or min(first, second) > 0.001 and not any(wrong)
sys.exit("what is seen has changed" if changed else 0)
END
