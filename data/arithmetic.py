import random

from data.common import Example, draw

NAMES = ("Ann Ben Cid Dan Eva Fay Gus Hal Ida Jon Kim Leo Mia Ned Oda Pam").split()
SHARES = {"half": 2, "third": 3, "quarter": 4, "fifth": 5}
SHARE_OF = {n: word for word, n in SHARES.items()}
STEPS = {1: .055, 2: .295, 3: .29, 4: .194, 5: .107, 6: .038, 7: .021}
OPERATORS = {"*": .38, "+": .29, "-": .17, "/": .16}


class Arithmetic:
    ARGS = {"level": ("tiny", "")}

    def __init__(self, level="tiny", top=20, shuffle=False, steps=None, mod=0):
        self.level, self.top, self.shuffle = level, top, shuffle
        self.k = steps or STEPS
        self.mod = mod
        self.splits = ("train", "val", "test")
        self.words = (NAMES + [str(i) for i in range(top + 1)] + list(SHARES) + list("+-*/=")
                      + "<< >> . ? has more fewer than times of how many".split())
        # every fact (a, op, b, result) with a result in range, per a and op
        ok = {"+": lambda a, b: 1 <= b and a + b <= top, "-": lambda a, b: 1 <= b < a,
              "*": lambda a, b: 2 <= b and a * b <= top and a > 0,
              "/": lambda a, b: b in SHARE_OF and a % b == 0 and a > 0}
        self.facts = {(a, op): [b for b in range(top + 1) if f(a, b)] for a in range(top + 1) for op, f in ok.items()}

    def make(self, rng):
        k = rng.choices(list(self.k), list(self.k.values()))[0]
        who = rng.sample(NAMES, k + 1)
        start = a = rng.randint(2, self.top // 2)
        lines, steps = [[who[0], "has", str(a), "."]], []
        for i in range(k):
            while True:
                op = rng.choices("*+-/", (38, 29, 17, 16))[0]
                if self.facts[a, op]:
                    break
            b = rng.choice(self.facts[a, op])
            r = {"+": a + b, "-": a - b, "*": a * b, "/": a // b}[op]
            x, y = who[i], who[i + 1]
            lines.append({"+": [y, "has", str(b), "more", "than", x, "."],
                          "-": [y, "has", str(b), "fewer", "than", x, "."],
                          "*": [y, "has", str(b), "times", x, "."],
                          "/": [y, "has", SHARE_OF.get(b), "of", x, "."]}[op])
            steps.append([y, "<<", str(a), op, str(b), "=", str(r), ">>"])
            a = r
        if self.shuffle:
            rng.shuffle(lines)
        question = [w for line in lines for w in line] + ["how", "many", "has", who[k], "?"]
        key = " ".join(w for s in steps for w in s[2:7])
        return Example(question, steps, [str(a)], k), key

    def sample(self, split, index):
        return draw(self.make, f"arithmetic/{self.level}", split, index)

    def check(self, example, words):
        return words == example.answer


if __name__ == "__main__":
    import time, collections
    t = Arithmetic()
    for i in range(3):
        e = t.sample("train", i); print(" ".join(e.question)); print(" ".join(w for s in e.steps for w in s), "->", e.answer)
    t0 = time.time(); es = [t.sample("train", i) for i in range(20000)]; print((time.time() - t0) / 20000 * 1e6, "us")
    print(collections.Counter(s[3] for e in es for s in e.steps), sum(len(e.question) for e in es) / 2e4, sum(8 * len(e.steps) for e in es) / 2e4)
    print(collections.Counter(e.answer[0] for e in es).most_common(8))
