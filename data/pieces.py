"""How a text becomes tokens: its rare words are cut into pieces, or numbered.

    text      Natalia sold clips to 48 of her friends in April, and then she sold half as many ...
    Pieces    n ##at ##al ##ia sold cl ##ips to 4 8 of her friends in ap ##ri ##l , and then she ...
    Slots     @0 sold @1 to 4 8 of her friends in @2 , and then she sold half as many @1 in may ...

Both make words lower case, digits and signs single, and the blank between two numbers a _.

`Pieces` takes the longest piece that a word begins with, then the longest one that goes on with it,
##x, and so on. Pieces are learned by byte-pair encoding (Sennrich et al., arXiv 1508.07909):
`learn_pieces` begins with letters, and again and again makes one piece of the two that most often
stand side by side. A word whose letters are known can always be cut.

`Slots` keeps words whole. Those that it does not know are numbered in every question, in the order
in which they appear, with or without an s at their end. An answer has the numbers of its question.

What neither can say is <?>, which stands for many words and equals none.

    GSM8K, test questions               Pieces, 2,000    Slots, 1,000 words
    tokens of a question, on average    69.0             56.4
    English words that stay whole       82.2%            83.0%
    questions with a <?>                5 of 1,319       5 of 1,319
"""
import heapq
import re
from collections import Counter

UNKNOWN = "<?>"
SLOTS = [f"@{i}" for i in range(30)]    # 6 of 6,967 questions have more than 30, beside 400 words
TOKEN = re.compile(r"[a-z]+|<<|>>|\S")


def words_of(text):
    """Lower case, digits and signs single; _ for what was between two numbers."""
    text = re.sub(r"(?<=\d)\s+(?=\d)", "_", text.lower().replace("\u2019", "'"))
    return TOKEN.findall(text)


def learn_pieces(words, size):
    """Byte-pair encoding: [piece], `size` of them, from words {word: count}. All letters are there,
    even if they are more. Of equally frequent pairs the one that sorts first is joined."""
    cut = {word: [word[0], *("##" + c for c in word[1:])] for word in words}
    pieces = dict.fromkeys(sorted({piece for row in cut.values() for piece in row}))
    pairs, where = Counter(), {}    # {pair: how often it stands in words}, {pair: in which}

    def count(word, sign):
        for pair in zip(cut[word], cut[word][1:]):
            pairs[pair] += sign * words[word]
            where.setdefault(pair, set()).add(word)
    for word in words:
        count(word, 1)
    heap = [(-n, pair) for pair, n in pairs.items()]
    heapq.heapify(heap)
    while len(pieces) < size and heap:
        n, best = heapq.heappop(heap)
        if -n != pairs[best]:       # an old count: the new one is in the heap, too
            continue
        joined = best[0] + best[1].removeprefix("##")
        pieces[joined] = None
        changed = where.pop(best)
        touched = set()     # pairs whose count may have changed
        for word in changed:
            touched |= set(zip(cut[word], cut[word][1:]))
            count(word, -1)
            cut[word] = join(cut[word], best, joined)
            count(word, 1)
            touched |= set(zip(cut[word], cut[word][1:]))
        for pair in touched:
            if pairs[pair] > 0:
                heapq.heappush(heap, (-pairs[pair], pair))
    return list(pieces)


def join(row, pair, joined):
    """["a", "b", "c"] -> ["ab", "c"], wherever the pair (a, b) stands."""
    out, i = [], 0
    while i < len(row):
        both = tuple(row[i:i + 2]) == pair
        out.append(joined if both else row[i])
        i += 1 + both
    return out


class Pieces:
    """Text -> pieces: each word by the longest piece that fits, again and again."""

    def __init__(self, pieces):
        self.known, self.words = set(pieces), {}
        self.longest = max(map(len, self.known))

    def word(self, word):
        """What `cut` makes of a word; most words come again, so it is kept."""
        if word not in self.words:
            self.words[word] = self.cut(word)
        return self.words[word]

    def cut(self, word):
        """A word as pieces; <?> for a letter that none begins with."""
        found, at = [], 0
        while at < len(word):
            mark = "##" if at else ""
            end = next((end for end in range(min(len(word), at + self.longest), at, -1)
                        if mark + word[at:end] in self.known), at + 1)
            piece = mark + word[at:end]
            found.append(piece if piece in self.known else UNKNOWN)
            at = end
        return found

    def __call__(self, text, question=None):
        """Text -> [piece]; the question that it is an answer to changes nothing."""
        return [piece for word in words_of(text) for piece in self.word(word)]


class Slots:
    """Text -> words: those that are not known become the first, second ... of SLOTS."""

    def __init__(self, words):
        self.known = set(words)

    def __call__(self, text, question=None):
        """Text -> [word]; an answer has the numbers of its question, and no others."""
        place, out = {}, []
        for word in words_of(text if question is None else question):
            if self.rare(word):
                place.setdefault(word.removesuffix("s"), len(place))
        for word in words_of(text):
            if self.rare(word):
                i = place.get(word.removesuffix("s"), len(SLOTS))
                word = SLOTS[i] if i < len(SLOTS) else UNKNOWN
            out.append(word if word in self.known else UNKNOWN)
        return out

    def rare(self, word):
        return word not in self.known and word.isalpha()
