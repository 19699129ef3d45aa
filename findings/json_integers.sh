#!/bin/sh
# lm-format-enforcer 0.11.3, outlines-core 0.2.14; 2026-11-30
# Expected: a decoder that is held to a JSON schema writes what the schema allows: for an integer
#   from 0 to 10 those eleven numbers, and for a number 1e3, too. llguidance 1.9.1 does so.
# Seen: neither knows minimum and maximum: both allow -5 and 11. lm-format-enforcer also allows
#   -0.5 for an integer, but not 0.5 or -1.5, and 1e-3. outlines-core wants a sign in an exponent:
#   1e+3 is a number, 1e3 none.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q lm-format-enforcer==0.11.3 outlines-core==0.2.14 llguidance==1.9.1
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import json
import re
import sys

from llguidance import LLMatcher, LLTokenizer
from lmformatenforcer import JsonSchemaParser
from outlines_core.json_schema import build_regex_from_schema


def enforcer(schema, text):
    parser = JsonSchemaParser(schema)
    for character in text:
        if character not in parser.get_allowed_characters():
            return False
        parser = parser.add_character(character)
    return parser.can_end()


def outlines(schema, text):
    return bool(re.fullmatch(build_regex_from_schema(json.dumps(schema)), text))


def guidance(schema, text):
    tokenizer = LLTokenizer("byte")
    matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_json_schema(json.dumps(schema)),
                        log_level=0)
    return matcher.consume_tokens(tokenizer.tokenize_str(text)) and matcher.is_accepting()


schemas = [{"type": "integer", "minimum": 0, "maximum": 10}, {"type": "number"}]
texts = ["0", "10", "11", "-5", "0.5", "-0.5", "-1.5", "1e3", "1e+3", "1e-3"]
allowed = {}
for name, allows in (("llguidance", guidance), ("lm-format-enforcer", enforcer),
                     ("outlines-core", outlines)):
    allowed[name] = [[text for text in texts if allows(schema, text)] for schema in schemas]
    for schema, ones in zip(schemas, allowed[name]):
        print(f"{name}, {json.dumps(schema)}: of {' '.join(texts)} it allows {' '.join(ones)}")
changed = (allowed["llguidance"] != [["0", "10"], texts]
           or allowed["lm-format-enforcer"] != [
               ["0", "10", "11", "-5", "-0.5", "1e3", "1e+3", "1e-3"], texts]
           or allowed["outlines-core"] != [
               ["0", "10", "11", "-5"], [text for text in texts if text != "1e3"]])
sys.exit("what is seen has changed" if changed else 0)
END
