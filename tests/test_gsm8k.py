"""GSM8K: files, formats, pieces of words, and problems with other numbers."""
import hashlib
import json
import random
import re
import threading
from collections import Counter
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import eval as evaluation
import train
from data import gsm8k
from data.common import BadInput, read_problems
from data.resample import NUMBER, Untraceable, trace, value
from tests.conftest import stories, write_stories

CLIPS = ("Natalia sold clips to 48 of her friends in April, and then she sold half as many clips "
         "in May. How many clips did Natalia sell altogether in April and May?")


# ---- files ---------------------------------------------------------------------------------------

@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with files that count as the official ones."""
    source = tmp_path / "source"
    source.mkdir()
    write_stories(source)
    monkeypatch.setattr(gsm8k, "SHA256", {name: gsm8k.digest(source / name)
                                          for name in gsm8k.SHA256})
    return source


def test_files_are_taken_whole_or_not_at_all(own, tmp_path):
    path = gsm8k.fetch("test.jsonl", tmp_path / "to", own)
    assert path.read_bytes() == (own / "test.jsonl").read_bytes()
    (own / "train.jsonl").write_text("something else", encoding="utf-8")
    with pytest.raises(BadInput, match="not the official file"):
        gsm8k.fetch("train.jsonl", tmp_path / "to", own)
    with pytest.raises(BadInput, match="cannot get train.jsonl .*--from DIR"):
        gsm8k.fetch("train.jsonl", tmp_path / "to", tmp_path / "nowhere")
    assert [p.name for p in (tmp_path / "to").iterdir()] == ["test.jsonl"]


@pytest.mark.parametrize("resumes", [True, False])
def test_a_download_goes_on_where_it_stopped(own, tmp_path, resumes):
    """Half of the file is there; a server that knows ranges sends the rest, another all of it.
    First the connection breaks off."""
    data, asked = (own / "train.jsonl").read_bytes(), []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers["Range"])
            start = int(re.findall(r"\d+", asked[-1])[0]) if resumes else 0
            self.send_response(206 if resumes else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start:start + 500] if len(asked) == 1 else data[start:])

        def log_message(self, *_):
            pass
    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "train.jsonl.part").write_bytes(data[:1000])
    url = f"http://127.0.0.1:{server.server_port}/"
    with pytest.raises(BadInput, match="broken off"):
        gsm8k.fetch("train.jsonl", tmp_path, url=url)
    have = (tmp_path / "train.jsonl.part").stat().st_size
    assert have == (1500 if resumes else 500)
    assert gsm8k.fetch("train.jsonl", tmp_path, url=url).read_bytes() == data
    server.shutdown()
    assert asked == ["bytes=1000-", f"bytes={have}-"]
    (tmp_path / "train.jsonl").rename(tmp_path / "train.jsonl.part")    # complete, not yet named
    nowhere = "http://127.0.0.1:9/"
    for _ in range(2):
        assert gsm8k.fetch("train.jsonl", tmp_path, url=nowhere).exists()       # no need to ask
    with pytest.raises(BadInput, match="cannot get test.jsonl") as error:
        gsm8k.fetch("test.jsonl", tmp_path, url="http://127.0.0.1:9/")
    assert "\n" not in str(error.value)


def test_the_script_copies_counts_and_shows(own, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gsm8k, "FOLDER", tmp_path / "to")
    gsm8k.official.cache_clear()
    gsm8k.main(["--from", str(own), "--show", "2"])
    out = capsys.readouterr().out.splitlines()
    gsm8k.official.cache_clear()
    assert out[2] == "{'train': 52, 'val': 2, 'test': 3}"
    assert out[3] == "other numbers for 52 of 52 training problems (100.0%)"
    shown = [line for line in out[4:] if line]
    assert len(shown) == 8 and len({gsm8k.bare(line.split(" | ")[0]) for line in shown}) == 2
    with pytest.raises(SystemExit) as stop:
        (own / "test.jsonl").unlink()
        (tmp_path / "to/test.jsonl").unlink()
        gsm8k.main(["--from", str(own)])
    assert stop.value.code == 2 and "cannot get test.jsonl" in capsys.readouterr().err


def test_missing_files_are_said_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gsm8k, "FOLDER", tmp_path)
    gsm8k.official.cache_clear()
    with pytest.raises(SystemExit) as stop:
        train.main(["--task", "gsm8k", "--vocabulary", "77", "--out", str(tmp_path / "run")])
    assert stop.value.code == 2 and not (tmp_path / "run").exists()
    assert "python data/gsm8k.py downloads it" in capsys.readouterr().err
    gsm8k.official.cache_clear()


# ---- formats -------------------------------------------------------------------------------------

@pytest.mark.parametrize("record, want", [
    ("Two and 3?||<<2+3=5>> <<5*1,000=5,000>> #### 5,000.",
     ("Two and 3?", ("2+3=5", "5*1000=5000"), "5000")),
    ({"question": "Q", "answer": "so <<1.5*2=3>>3\n#### $3"}, ("Q", ("1.5*2=3",), "3")),
    ({"question": "Q", "steps": ["<<1+1=2>>", "2 * 3 = 6"], "answer": "6%"},
     ("Q", ("1+1=2", "2*3=6"), "6")),
    ({"Body": "Dan had $ 3", "Question": "How many?", "Equation": "( ( 3.0 + 4.5 ) * 2.0 )",
      "Answer": 15.0}, ("Dan had $ 3, How many?", ("(3+4.5)*2=15",), "15")),
    ({"Body": "It is so.", "Question": "Why?", "Equation": "( 3.0 - 1.0 ) / ( 2.0 + 2.0 )",
      "Answer": 0.5}, ("It is so. Why?", ("(3-1)/(2+2)=0.5",), "0.5")),
    ({"sQuestion": " Q ", "lEquations": ["X=(7.0+(2.0*3.0))"], "lSolutions": [13.0]},
     ("Q", ("7+(2*3)=13",), "13")),
    ({"input": "Q", "code": "...", "target": -1234567.0}, ("Q", (), "-1234567")),
])
def test_formats_of_the_field(record, want):
    assert gsm8k.problem(record) == want


@pytest.mark.parametrize("text, message", [
    ('{"question": "Q", "answer": "5"}', "no ####"), ("Q|5", "neither JSON"), ("[1", "Expecting"),
    ('{"question": "Q", "steps": "7*2=14", "answer": "14"}', "not a list"),
    ('{"question": "Q"}', "KeyError"), ('{"question": null, "answer": "#### 1"}', "Attribute"),
    ("Q||<<2x3=6>> #### 6", "not an equation: 2x3=6"),
    ('{"sQuestion": "Q", "lSolutions": []}', "IndexError"),
    ('{"input": "Q", "target": "x"}', "could not convert")])
def test_what_is_no_problem_is_named(tmp_path, text, message):
    path = tmp_path / "bad"
    path.write_text(text, encoding="utf-8")
    for read in (gsm8k.problems_of, lambda path: read_problems(gsm8k.GSM8K(), path)):
        with pytest.raises(BadInput) as error:
            read(path)
        assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("true, said, right", [
    ("1200", "1,200", True), ("72", "72.", True), ("72", "$72.00", True), ("5", "5%", True),
    ("0.5", ".50", True), ("72", "7 2", True), ("-3", "-3", True), ("72", "27", False),
    ("72", "", False), ("72", "1/2", False), ("1/2", "1/2", True), ("72", "72=", False),
    ("72", "7_2", False), ("10", "1e1", False)])
def test_the_standard_check(true, said, right):
    task = gsm8k.GSM8K()
    assert task.check(task.example("Q", (), gsm8k.clean(true)), list(said)) is right


# ---- splits --------------------------------------------------------------------------------------

def test_splits_share_no_problem_even_with_other_numbers():
    split = gsm8k.official()
    texts = {name: {gsm8k.bare(q) for q, _, _ in problems} for name, problems in split.items()}
    assert not texts["test"] & (texts["train"] | texts["val"]) and not texts["train"] & texts["val"]
    assert all(texts.values())
    records = [gsm8k.problem(r) for r in stories(60)]
    assert any(gsm8k.bare(q) in texts["test"] for q, _, _ in records)      # left out of train
    task = gsm8k.GSM8K()
    drawn = {gsm8k.bare(" ".join(task.sample("train", i).question)) for i in range(200)}
    held = {gsm8k.bare(" ".join(task.sample(s, i).question)) for s in ("val", "test")
            for i in range(3)}
    assert not drawn & held and len(drawn) > 20


def test_extra_files_and_stand_ins_join_train_only(tmp_path):
    extra = tmp_path / "more.txt"
    known = gsm8k.official()["test"][0][0]
    extra.write_text(f"A fox has 3 hens.||<<3+1=4>> #### 4\n{known}||<<1+1=2>> #### 2\n",
                     encoding="utf-8")
    task = gsm8k.GSM8K(extra=str(extra))
    assert len(task.problems["train"]) == len(gsm8k.official()["train"]) + 1
    assert ("A fox has 3 hens.", ("3+1=4",), "4") in task.problems["train"]
    mixed = gsm8k.GSM8K(mix=1.0).sample("train", 5)
    want = train.TASKS["arithmetic"]("full").sample("train", 5)
    assert mixed.answer == want.answer and len(mixed.steps) == len(want.steps)
    assert [w for w in mixed.question if w.isdigit()] == [w for w in want.question if w.isdigit()]
    assert mixed.steps[-1][-len(want.answer) - 1:] == [*want.answer, ">>"]
    with pytest.raises(BadInput, match="--mix"):
        gsm8k.GSM8K(mix=1.5)


# ---- pieces --------------------------------------------------------------------------------------

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
    assert gsm8k.learn_pieces(words, 40) == list(pieces)


def test_words_are_cut_by_the_longest_piece():
    cut = gsm8k.Pieces(["a", "b", "ab", "##a", "##b", "##bab", "1", "2", "_", "."])
    assert cut("Abbab ba.") == ["ab", "##bab", "b", "##a", "."]
    assert cut("1 2 12") == ["1", "_", "2", "_", "1", "2"]      # else they would be one number
    assert cut("ax") == ["a", gsm8k.UNKNOWN] and cut("é") == [gsm8k.UNKNOWN]
    for word in ("pages", "monday", "beans"):
        pieces = gsm8k.GSM8K().cut(word)
        assert "".join(p.removeprefix("##") for p in pieces) == word


def test_rare_words_are_numbered_in_every_question():
    cut = gsm8k.Slots(["has", "s", "and", "4", "_", "'", ".", *gsm8k.SLOTS[:3]])
    assert cut("Zoe has 4 jars and Bo's jar. Zoes") == [
        "@0", "has", "4", "@1", "and", "@2", "'", "s", "@1", ".", "@0"]
    assert cut("4 4 @0 has") == ["4", "_", "4", gsm8k.UNKNOWN, gsm8k.UNKNOWN, "has"]
    words = [chr(97 + i) * 2 for i in range(26)] + ["cab", "bac", "abc", "cba", "bca"]
    assert gsm8k.Slots(gsm8k.SLOTS)(" ".join(words)) == [*gsm8k.SLOTS, gsm8k.UNKNOWN]
    task = gsm8k.GSM8K(rare="slots", vocabulary=5)
    counts = Counter(w for question, _, _ in gsm8k.official()["train"]
                     for w in gsm8k.words_of(question) if w.isalpha())
    kept = task.pieces.split()[:5]
    assert task.pieces.split()[5:] == gsm8k.SLOTS
    assert min(counts[w] for w in kept) >= max(n for w, n in counts.items() if w not in kept)


@pytest.mark.parametrize("rare, size, n", [("pieces", "90", 90), ("slots", "20", 50)])
def test_a_run_keeps_its_pieces_and_needs_no_files_to_be_tested(rare, size, n, tmp_path,
                                                                  monkeypatch):
    """Trained on the files, then evaluated on another one with the files gone."""
    run = str(tmp_path / "run")
    train.main(["--task", "gsm8k", "--method", "cot", "--size", "nano", "--steps", "2",
                "--out", run, "--vocabulary", size, "--rare", rare])
    config = json.loads((tmp_path / "run/config.json").read_text(encoding="utf-8"))
    kept = json.loads((tmp_path / "run/results.json").read_text(encoding="utf-8"))["config"]
    assert len(config["pieces"].split()) == n and "pieces" not in kept
    problem = {"Body": "Bo read 9 pages.", "Question": "And 2?", "Equation": "9+2", "Answer": 11.0}
    (tmp_path / "svamp.json").write_text(json.dumps([problem]), encoding="utf-8")
    monkeypatch.setattr(gsm8k, "FOLDER", tmp_path / "gone")
    gsm8k.official.cache_clear()
    evaluation.main([run, "--data", str(tmp_path / "svamp.json"), "--json", str(tmp_path / "o")])
    assert json.loads((tmp_path / "o").read_text(encoding="utf-8"))[0]["rows"][0]["n"] == 1
    gsm8k.official.cache_clear()


# ---- other numbers -------------------------------------------------------------------------------

def test_the_worked_example_gets_other_numbers():
    template = trace(CLIPS, ("48/2=24", "48+24=72"), "72")
    question, (half, total), answer = template.draw(random.Random(0))
    n = int(re.findall(r"\d+", question)[0])
    assert n != 48 and n % 2 == 0 and 24 <= n <= 96
    assert (half, total, answer) == (f"{n}/2={n // 2}", f"{n}+{n // 2}={n + n // 2}",
                                     str(n + n // 2))
    assert question == CLIPS.replace("48", str(n))


@pytest.mark.parametrize("question, equations, answer, reason", [
    ("Bo has 7 hats.", ("7+8=15",), "15", "nowhere"),
    ("Bo has 9 hats, and buys 4, and 5 more.", ("9-4=5", "5*9=45"), "45", "two places"),
    ("Bo has 7 hats.", ("7+7=15",), "15", "does not hold"),
    ("Bo has 7 hats.", ("7+7=14",), "13", "not a result"),
    *(("Bo has 7 hats.", (e,), "14", "not an equation") for e in (
        "7+x=14", "14=14", "7(7)=14", "7/(7-7)=14", "(7+7=14", "7..5=14", "7+=14", "7*2=1.4.",
        "=14")),
    ("Bo has 7 hats.", ("7*2=14",), "yes", "not a number"),
    ("Bo has " + "7" * 400, ("7*2=14",), "14", "floats"),
    ("In 1999 Bo ate 1/4 of it at 7:30 and 8 pm, on the 5th.",
     ("1999-4=1995", "7*5=35", "35*8=280"), "280", "no free")])
def test_what_cannot_be_followed_is_no_template(question, equations, answer, reason):
    with pytest.raises(Untraceable, match=reason):
        trace(question, equations, answer)


@pytest.mark.parametrize("question, equations, answer, moving", [
    ("Half of 2 of 30 eggs", ("30/2=15",), "15", {30}),         # the 2 may be the half: it stays
    ("Bo has 20 hats, sells 20% and 3 are red", ("20*.2=4", "20-4=16"), "16", {20}),
    ("A $40 hat is 25% off", ("25/100=0.25", "40*0.25=10", "40-10=30"), "30", {40, 25}),
    ("A $40 hat is 25% off", ("40*0.75=30",), "30", {40, 25}),  # 1 - p/100
    ("Bo earns $1,200 in 4 weeks of 5 days a week", ("1200/4=300", "300/5=60"), "60", {1200, 4, 5}),
    ("5 jars of 8, a result that comes again", ("5*8=40", "40-8=32", "40+32=72"), "72", {5, 8}),
])
def test_only_numbers_that_equations_use_move(question, equations, answer, moving):
    template, seen = trace(question, equations, answer), Counter()
    old = [value(s) for s in NUMBER.findall(question)]
    for i in range(60):
        drawn = template.draw(random.Random(i))
        if drawn:
            assert gsm8k.bare(drawn[0]) == gsm8k.bare(question)
            new = [value(s) for s in NUMBER.findall(drawn[0])]
            seen.update({a for a, b in zip(old, new) if a != b})
            assert len({(a, b) for a, b in zip(old, new)}) == len(set(old))     # equal stay equal
    assert set(seen) == moving


def exact(expression):
    """The value of an expression, with fractions in place of floats."""
    return eval(re.sub(r"\d*\.\d+|\d+", lambda m: f"Fraction('{m[0]}')", expression))


def test_every_variant_holds():
    """Equations are true, whole results stay whole, positive ones positive, percentages sane."""
    records = [gsm8k.problem(r) for r in stories(30)]
    records += [("A $40.50 hat is 20% off for 3 of 8 days a week", (
        "100-20=80", "40.5*80/100=32.4", "32.4*3=97.2"), "97.2")]
    for record in records:
        template, seen = trace(*record), set()
        for i in range(30):
            question, equations, answer = template.draw(random.Random(i))
            seen.add(question)
            for old, new in zip(record[1], equations):
                left, right = new.split("=")
                was, now = Fraction(old.split("=")[1]), Fraction(right)
                assert exact(left) == now and now > 0
                assert len(right.partition(".")[2]) <= len(old.split("=")[1].partition(".")[2])
                assert re.sub(r"[.\d]+", "#", old) == re.sub(r"[.\d]+", "#", new)
            assert answer == equations[-1].split("=")[1]
            numbers = [value(s) for s in NUMBER.findall(question)]
            for a, b in zip([value(s) for s in NUMBER.findall(record[0])], numbers):
                assert a / 2 <= b <= 2 * a
            if "% off" in question:
                assert numbers[1] <= 100 and numbers[3] == 8 and was == Fraction("97.2")
        assert len(seen) > 10


def test_hidden_words_are_as_many_as_asked_and_no_numbers():
    plain, hides = gsm8k.GSM8K(), gsm8k.GSM8K(drop=0.3)
    hidden = total = 0
    for i in range(200):
        a, b = plain.sample("train", i), hides.sample("train", i)
        assert (a.steps, a.answer) == (b.steps, b.answer)
        for before, after in zip(a.question, b.question, strict=True):
            assert after == before or (after == gsm8k.UNKNOWN and before not in gsm8k.SIGNS)
            hidden, total = hidden + (after != before), total + (before not in gsm8k.SIGNS)
    assert abs(hidden / total - 0.3) < 0.03
    assert hides.sample("test", 0) == plain.sample("test", 0)


def test_variants_are_as_many_as_asked_and_pure():
    few, none = gsm8k.GSM8K(variants=2), gsm8k.GSM8K(variants=0)
    split = gsm8k.official()["train"]
    seen = {tuple(few.sample("train", i).question) for i in range(1500)}
    assert len(split) * 2 < len(seen) <= len(split) * 3
    assert {tuple(none.sample("train", i).question) for i in range(800)} == {
        tuple(none.cut(q)) for q, _, _ in split}
    assert few.sample("train", 5) == gsm8k.GSM8K(variants=2).sample("train", 5)
    text = str([few.sample("train", i) for i in range(20)])
    assert hashlib.sha256(text.encode()).hexdigest()[:8] == "91971216"     # on every machine
