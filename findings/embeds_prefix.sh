#!/bin/sh
# transformers 5.24.0 with torch 2.13.0; 2026-11-29
# Expected: generate() with the cache of a prompt's beginning and the embeddings of its rest goes
#   on as from the whole prompt, or is an error.
# Seen: it writes other tokens, with a mask of the whole prompt, too. It cuts the embeddings as if
#   they held the beginning: of three after four in the cache, two are left. With embeddings of the
#   whole prompt, anything in the places of the cache, it goes on as it should.
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
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(
    vocab_size=40, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
    num_attention_heads=2, initializer_range=0.5, bos_token_id=None, eos_token_id=None,
    pad_token_id=0)).eval()
embeds = torch.randn(16, 7, 32)                         # (problems, length, width)
lengths = []                                            # of embeddings that the model was given


def note_length(model, args, options):
    if options.get("inputs_embeds") is not None:
        lengths.append(options["inputs_embeds"].shape[1])


def beginning():
    """The cache of the first four of the seven."""
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        model(inputs_embeds=embeds[:, :4], cache=cache)
    return cache


def write(embeds, **options):
    return model.generate(inputs_embeds=embeds, do_sample=False, max_new_tokens=8, **options)


model.register_forward_pre_hook(note_length, with_kwargs=True)
whole, rest = write(embeds), embeds[:, 4:]
padded = torch.cat([torch.zeros(16, 4, 32), rest], 1)
seen = {"the rest": write(rest, cache=beginning()),
        "the rest, a mask of the whole": write(rest, cache=beginning(),
                                               attention_mask=torch.ones(16, 7).long()),
        "zeros and the rest": write(padded, cache=beginning())}
same = [(tokens == whole).all(1).float().mean().item() for tokens in seen.values()]
for name, rows, length in zip(seen, same, lengths[2::2]):
    print(f"{name}: {length} embeddings used, {rows:.0%} of the rows as from the whole prompt")
changed = max(same[:2]) > 0.5 or same[2] < 0.9 or lengths != [7, 4, 2, 4, 2, 4, 3]
sys.exit("what is seen has changed" if changed else 0)
END
