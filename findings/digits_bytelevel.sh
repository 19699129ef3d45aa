#!/bin/sh
# tokenizers 0.23.3; 2026-11-29
# Expected: Digits(individual_digits=True) before ByteLevel(add_prefix_space=True) makes a token of
#   each of 0 to 9 and puts one space at the beginning of the text.
# Seen: each piece gets a space: 12+34 comes back as " 1 2 + 3 4", and 1 +2 has the tokens of 1+2.
#   Superscripts, fractions and Roman numerals of one sign are digits, too.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q tokenizers==0.23.3
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

digits = pre_tokenizers.Digits(individual_digits=True)


def there_and_back(text, add_prefix_space):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([], trainers.BpeTrainer(
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return tokenizer.decode(tokenizer.encode(text).ids)


back = {text: [there_and_back(text, add) for add in (False, True)]
        for text in ("12+34", "1+2", "1 +2")}
pieces = [piece for piece, _ in digits.pre_tokenize_str("x\u00b2y\u00bdz\u2163w")]
print(back, [ascii(piece) for piece in pieces])
changed = (any(plain != text for text, (plain, _) in back.items())
           or [spaced for _, spaced in back.values()] != [" 1 2 + 3 4", " 1 + 2", " 1 + 2"]
           or pieces != ["x", "\u00b2", "y", "\u00bd", "z", "\u2163", "w"])
sys.exit("what is seen has changed" if changed else 0)
END
