#!/bin/sh
# sentencepiece 0.2.3; 2026-11-29
# Expected: a tokenizer with split_digits=True that was trained on 5² = 25 gives it back.
# Seen: normalization, by default nmt_nfkc, makes digits of powers, indices and fractions: it gives
#   back 52 = 25, and so it is trained on; x₁₂ is x12, and 3½ is 31⁄2. With
#   normalization_rule_name="identity" the signs stay.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q sentencepiece==0.2.3
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io
import sys

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

texts = ["5\u00b2 = 25", "x\u2081\u2082 = 3", "3\u00bd cups"]   # squared, index 12, a half
numbers = [f"{i} + {i + 1} = {2 * i + 1}" for i in range(300)]


def back(rule):
    """The texts through a tokenizer that was trained on numbers and on them."""
    file = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(numbers + texts * 20), model_writer=file, vocab_size=100,
        split_digits=True, normalization_rule_name=rule, character_coverage=1.0,
        hard_vocab_limit=False, minloglevel=2)
    tokenizer = SentencePieceProcessor(model_proto=file.getvalue())
    return [tokenizer.decode(tokenizer.encode(text)) for text in texts]


usual, identity = back("nmt_nfkc"), back("identity")
for text, one, other in zip(texts, usual, identity):
    print(f"{text} -> {one}; identity: {other}")
changed = usual != ["52 = 25", "x12 = 3", "31\u20442 cups"] or identity != texts
sys.exit("what is seen has changed" if changed else 0)
END
