"""How words are cut into pieces, and how rare ones are numbered."""
import random
from collections import Counter

from data.gsm8k import GSM8K
from data.pieces import SLOTS, UNKNOWN, Pieces, Slots, learn_pieces


def test_pieces_equal_a_naive_byte_pair_encoding():
    rng = random.Random(0)
    words = {"".join(rng.choices("abcd", k=rng.randint(1, 7))): rng.randint(1, 9)
             for _ in range(60)}
    cut = {word: [word[0], *("##" + c for c in word[1:])] for word in words}
    pieces = dict.fromkeys(sorted({p for row in cut.values() for p in row}))
    while len(pieces) < 40:
        pairs = Counter()
        for word, row in cut.items():
            for pair in zip(row, row[1:]):
                pairs[pair] += words[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        pieces[best[0] + best[1][2:]] = None
        for word, row in cut.items():
            out = []
            for piece in row:
                out.append(piece)
                if tuple(out[-2:]) == best:
                    out[-2:] = [best[0] + best[1][2:]]
            cut[word] = out
    assert learn_pieces(words, 40) == list(pieces)


def test_words_are_cut_by_the_longest_piece():
    cut = Pieces(["a", "b", "ab", "##a", "##b", "##bab", "1", "2", "_", "."])
    assert cut("Abbab ba.") == ["ab", "##bab", "b", "##a", "."]
    assert cut("1 2 12") == ["1", "_", "2", "_", "1", "2"]      # else they would be one number
    assert cut("ax") == ["a", UNKNOWN] and cut("é") == [UNKNOWN]
    for word in ("pages", "monday", "beans"):
        pieces = GSM8K().cut(word)
        assert "".join(p.removeprefix("##") for p in pieces) == word


def test_rare_words_are_numbered_in_every_question():
    cut = Slots(["has", "s", "and", "4", "_", "'", ".", *SLOTS[:3]])
    assert cut("Zoe has 4 jars and Bo's jar. Zoes") == [
        "@0", "has", "4", "@1", "and", "@2", "'", "s", "@1", ".", "@0"]
    assert cut("Bo's jars, Zoe, and Kai", "Zoe has 4 jars and Bo's jar.") == [
        "@2", "'", "s", "@1", UNKNOWN, "@0", UNKNOWN, "and", UNKNOWN]
    assert cut("4 4 @0 has") == ["4", "_", "4", UNKNOWN, UNKNOWN, "has"]
    words = [chr(97 + i) * 2 for i in range(26)] + ["cab", "bac", "abc", "cba", "bca"]
    assert Slots(SLOTS)(" ".join(words)) == [*SLOTS, UNKNOWN]
