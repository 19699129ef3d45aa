"""GSM8K: files, formats, the words of a run, and problems with other numbers."""
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
import runs
import train
from data import formats, gsm8k, gsm8k_files
from data.cli import BadInput
from data.common import first_problems, same
from data.files import digest
from data.formats import parse
from data.gsm8k_files import bare, fetch, official, problems_of
from data.pieces import SLOTS, UNKNOWN, words_of
from data.records import FileTask, LeftOut, read_problems
from data.resample import NUMBER, Untraceable, trace, value
from tests.helpers import fails, stories, write_stories

CLIPS = ("Natalia sold clips to 48 of her friends in April, and then she sold half as many clips "
         "in May. How many clips did Natalia sell altogether in April and May?")


# ---- files ---------------------------------------------------------------------------------------

@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with files that count as the official ones."""
    source = tmp_path / "source"
    source.mkdir()
    write_stories(source)
    monkeypatch.setattr(gsm8k_files, "SHA256", {name: digest(source / name)
                                                for name in gsm8k_files.SHA256})
    return source


def test_files_are_taken_whole_or_not_at_all(own, tmp_path):
    path = fetch("test.jsonl", tmp_path / "to", own)
    assert path.read_bytes() == (own / "test.jsonl").read_bytes()
    (own / "train.jsonl").write_text("something else", encoding="utf-8")
    with pytest.raises(BadInput, match="not the official file"):
        fetch("train.jsonl", tmp_path / "to", own)
    with pytest.raises(BadInput, match="--from .*nowhere: cannot read train.jsonl .No such file"):
        fetch("train.jsonl", tmp_path / "to", tmp_path / "nowhere")
    assert [p.name for p in (tmp_path / "to").iterdir()] == ["test.jsonl"]


@pytest.mark.parametrize("wrong", ["no folder", "no file", "another file", "a folder"])
def test_where_files_are_to_come_from_counts_though_they_are_there(own, tmp_path, monkeypatch,
                                                                   capsys, wrong):
    monkeypatch.setattr(gsm8k_files, "FOLDER", tmp_path / "to")
    there = [fetch(name, source=own) for name in gsm8k_files.SHA256]
    before = [path.read_bytes() for path in there]
    source, file = own, own / "test.jsonl"
    if wrong == "no folder":
        source = tmp_path / "nowhere"
    elif wrong == "another file":
        file.write_text("something else", encoding="utf-8")
    else:
        file.unlink()
        if wrong == "a folder":
            file.mkdir()
    line = fails(["--from", str(source)], capsys, gsm8k.main)
    assert line.startswith(f"data/gsm8k.py: --from {source}: ")
    assert [path.read_bytes() for path in there] == before


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
        fetch("train.jsonl", tmp_path, url=url)
    have = (tmp_path / "train.jsonl.part").stat().st_size
    assert have == (1500 if resumes else 500)
    assert fetch("train.jsonl", tmp_path, url=url).read_bytes() == data
    server.shutdown()
    assert asked == ["bytes=1000-", f"bytes={have}-"]
    (tmp_path / "train.jsonl").rename(tmp_path / "train.jsonl.part")    # complete, not yet named
    nowhere = "http://127.0.0.1:9/"
    for _ in range(2):
        assert fetch("train.jsonl", tmp_path, url=nowhere).exists()       # no need to ask
    with pytest.raises(BadInput, match="cannot get test.jsonl") as error:
        fetch("test.jsonl", tmp_path, url="http://127.0.0.1:9/")
    assert "\n" not in str(error.value)


def test_the_script_copies_counts_and_shows(own, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gsm8k_files, "FOLDER", tmp_path / "to")
    official.cache_clear()
    gsm8k.main(["--from", str(own), "--show", "2"])
    out = capsys.readouterr().out.splitlines()
    official.cache_clear()
    assert out[2] == "{'train': 52, 'val': 2, 'test': 3}"
    assert out[3] == "other numbers for 52 of 52 training problems (100.0%)"
    assert out[4] == "6 training problems left out: in the test set, but for the numbers"
    assert out[5] == "over slots: 100.0% of train, 100.0% of val, 100.0% of test"
    assert out[6].startswith("guesses: the most frequent training answer is right for ")
    shown = [line for line in out[7:] if line]
    assert len(shown) == 8 and len({bare(line.split(" | ")[0]) for line in shown}) == 2
    with pytest.raises(SystemExit) as stop:
        (own / "test.jsonl").unlink()
        (tmp_path / "to/test.jsonl").unlink()
        gsm8k.main(["--from", str(own)])
    assert stop.value.code == 2 and "cannot read test.jsonl" in capsys.readouterr().err


def test_guesses_are_the_most_frequent_training_answers():
    split = {"train": [("", (), answer) for answer in "6 6 6 4 4 10".split()],
             "test": [("", (), answer) for answer in "4 6 6 7".split()]}
    assert [gsm8k.guessed(split, k) for k in (1, 2, 3, 99)] == [1 / 2, 3 / 4, 3 / 4, 3 / 4]


def test_missing_files_are_said_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gsm8k_files, "FOLDER", tmp_path)
    official.cache_clear()
    with pytest.raises(SystemExit) as stop:
        train.main(["--task", "gsm8k", "--vocabulary", "77", "--out", str(tmp_path / "run")])
    assert stop.value.code == 2 and not (tmp_path / "run").exists()
    assert "python data/gsm8k.py downloads it" in capsys.readouterr().err
    official.cache_clear()


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
    ({"sQuestion": "Q", "lEquations": ["X = 70 - 27"], "lSolutions": ["43"]},
     ("Q", ("70-27=43",), "43")),
    ({"original_text": "Q ", "equation": "x=56*9", "ans": 504.0}, ("Q", ("56*9=504",), "504")),
    ({"original_text": "Q", "equation": "X=(2.50*2.0)", "ans": "5"}, ("Q", ("2.5*2=5",), "5")),
    ({"question": "Q", "solution": "so <<3*5=15>>15\n#### 15", "answer": "15"},    # GSM-Plus
     ("Q", ("3*5=15",), "15")),
    ({"question": "Q", "steps": ["Janet has 16 - 3 = <<16-3=13>>13 eggs.", "That is 13.",
                                 "13 * 2 = $<<13*2=26>>26"], "answer": "26"},       # CoLaR
     ("Q", ("16-3=13", "13*2=26"), "26")),
    ({"question": "Q", "steps": ["X=((7.0+5.0)/4.0)"], "answer": "3.0"},
     ("Q", ("(7+5)/4=3.0",), "3.0")),
    ({"question": "Q", "steps": ["( 76.0 - 25.0 )"], "answer": "51"}, ("Q", ("76-25=51",), "51")),
    ({"question": "Q", "steps": [""], "answer": "5"}, ("Q", (), "5")),              # Coconut
    ({"question": "Q", "steps": ["<<>>", " "], "answer": "5"}, ("Q", (), "5")),
    ("Q?|| #### 5", ("Q?", (), "5")),
    ({"question": "Q", "answer": "<<50*20%=10>> <<100%-25%=75%>> <<9/5%=180>>#### 5"},
     ("Q", ("50*0.2=10", "1-0.25=0.75", "9/0.05=180"), "5")),
    ("Q||<<10/3=3.33>> <<3/4=3/4>> <<560//10=56>> <<-2*-(3-1)=4>> #### 1,234.5",
     ("Q", ("10/3=3.33", "3/4=3/4", "560//10=56", "-2*-(3-1)=4"), "1234.5")),
])
def test_formats_of_the_field(record, want):
    parsed = parse(record)
    assert parsed.problem == want and not parsed.no_chain


def short(parameter):
    return str(parameter)[:40]      # as a name of a test


def told(equation, answer):
    return {"sQuestion": "Q", "lEquations": [equation], "lSolutions": [answer]}


@pytest.mark.parametrize("record, why", [
    ({"input": "Q", "code": "...", "target": -1234567.0}, "gives none"),
    ({"question": "Q", "answer": "16 - 3 = 13 eggs.\n#### 13"}, "gives none"),     # GSM-Symbolic
    ({"question": "Q", "solution": "4 * 5 = 20\n#### 20", "answer": "20"}, "gives none"),
    ({"question": "Q", "solution": "<<x*2=2x>>\n#### 20", "answer": "20"}, "not an equation"),
    ({"question": "Q", "steps": ["def solution():\n    return 5"], "answer": "5"}, "not an eq"),
    ({"question": "Q", "steps": ["He has five.", "And two."], "answer": "7"}, "not an equation"),
    ("5 6 * 7 4||5 5 + 0 0 6 #### 5 5", "not an equation"),                         # iCoT
    ("Q||<<2x3=6>> #### 6", "not an equation"),
    (told("35 + X = 56", "21"), "not an equation"), (told("56 = 35 + X", 21), "not an equation"),
    (told("X = 0.32 = 0.21", "0.53"), "not an equation"), (told("hours=4*2", 8), "not an eq"),
    (told("X=3*4", 13), "does not hold"), (told("X=25/4", 6), "does not hold"),
    ({"Body": "B", "Question": "Q", "Equation": "( ( 4.0 - 2.0 ) + 3.0 )", "Answer": 1.0},
     "does not hold"),                                                              # chal-680
    *((f"Q||<<1+1=2>> <<{e}>> #### 6", why) for e, why in (
        ("5 1/2*2=11", "not an equation"), ("3 4+1=35", "not an equation"), ("1,2+3=15", "not an"),
        ("20% 5+1=6", "not an equation"), ("5$3+1=54", "not an equation"), ("7", "not an eq"),
        ("1=1=1", "not an equation"), ("2**3=8", "not an equation"), ("(1+2=3", "not an equation"),
        ("1+2)=3", "not an equation"), ("7(7)=49", "not an equation"), ("1.2.3+1=2", "not an eq"),
        ("1+=1", "not an equation"), ("()=0", "not an equation"), ("(5)%=5", "not an equation"),
        ("50*20%=1000", "does not hold"), ("5/0=0", "does not hold"), ("2+2=5", "does not hold"),
        ("1/3=0.4", "does not hold"), ("10/3=3", "does not hold"),
        ("1" + "+1" * 4000 + "=4001", "more than 300 characters"),
        ("(" * 4000 + "1" + ")" * 4000 + "=1", "more than 300 characters"),
        ("9" * 100_000 + "=1", "more than 300 characters"))),
], ids=short)
def test_a_chain_is_whole_and_true_or_there_is_none(record, why):
    parsed = parse(record)
    assert parsed.problem[1] == () and why in parsed.no_chain


@pytest.mark.parametrize("text, message", [
    ('{"question": "Q", "answer": "5"}', "no ####"), ("Q|5", "neither JSON"), ("[1", "Expecting"),
    ('{"question": "Q", "steps": "7*2=14", "answer": "14"}', "not a list"),
    ('{"question": "Q", "steps": [7], "answer": "14"}', "not a list of texts"),
    ('{"question": "Q"}', "record 0: no known format"), ("[7]", "record 0: neither"),
    ('{"question": null, "answer": "#### 1"}', "question is not a text"),
    *(('{"question": "Q", "steps": ["5+0=5"], "answer": %s}' % a, "record 0: its answer is")
      for a in ('""', '" "', '"$"', '"."', "null", "true", '{"value": 5}', "[5]", "NaN",
                "-Infinity", '"nan"', '"-inf"')),
    *((f'{{"input": "Q", "target": {a}}}', "record 0: its answer is")
      for a in ("NaN", "Infinity", "null", "true", '"x"', '""')),
    ('{"question": "Q", "answer": "#### "}', "its answer is ''"), ("Q||<<1+1=2>> ####", "is ''"),
    ('{"question": "", "steps": [], "answer": "5"}', "question is empty"),
    (" ||<<1+1=2>> #### 2", "question is empty"),
    ('{"Body": "a", "Answer": Infinity, "Question": "b", "Equation": "1"}', "its answer is inf"),
    ('[{"sQuestion": "a", "lSolutions": [NaN], "lEquations": ["X=1"]}]', "its answer is nan"),
    ('{"sQuestion": "Q", "lSolutions": [], "lEquations": ["X=1"]}', "lists that are not empty"),
    ('{"original_text": "Q", "equation": "x=1", "ans": null}', "its answer is"),
    ('{"original_text": "Q", "equation": null, "ans": 1}', "formula is not a text"),
    ("[" * 100_000, "too many brackets"),
    ('Q|| #### 1\n{"a":' + "[" * 100_000, "record 1: brackets in too many"),
    ('Q|| #### 1\n{"question": "Q",', "record 1: Expecting"), ("[]", "no problems")], ids=short)
def test_what_is_no_problem_is_named(tmp_path, text, message):
    path = tmp_path / "bad"
    path.write_text(text, encoding="utf-8")
    for read in (problems_of, lambda path: read_problems(gsm8k.GSM8K(), path)):
        with pytest.raises(BadInput) as error:
            read(path)
        assert message in str(error.value) and "\n" not in str(error.value)
        assert str(path) in str(error.value)


def test_unanswered_problems_are_left_out_and_all_else_is_said_in_one_line(tmp_path):
    records = [
        {"question": "Bo has 3 hats.", "solution": "He has <<3*2=6>>6.\n#### 6", "answer": "6"},
        {"question": "Bo has hats.", "solution": "Unknown.\n#### None", "answer": "None"},
        {"question": "Bo has 4 cats.", "solution": "He has <<4*50%=2>>2.\n#### 2", "answer": "2"},
        {"question": "Bo has 5 pens.", "solution": "He has 5.\n#### 5", "answer": "5"},
        {"question": "Bo has 7 \ud800.", "solution": "<<7+7=15>>\n#### 5", "answer": "5"},
        {"question": "Bo has 8 cans.", "solution": "<<8+1=9>>\n#### \u4e94", "answer": "\u4e94"}]
    path = tmp_path / "plus.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    with pytest.raises(LeftOut):
        parse(records[1])
    examples, line = read_problems(gsm8k.GSM8K(), path)
    assert [len(e.steps) for e in examples] == [1, 1, 0, 0, 1]
    assert line.split("; ")[0] == f"{path}: 5 problems" and set(line.split("; ")[1:]) == {
        "1 left out: no answer (first: record 1)",
        "1 repaired: percentages in equations are written as decimals (first: record 2)",
        "1 repaired: half a character (a lone surrogate) (first: record 4)",
        "1 without a chain: the file gives none (first: record 3)",
        "1 without a chain: an equation does not hold (first: record 4)",
        "1 with an answer of unknown words: no answer to it is right (first: record 5)"}
    path.write_text(json.dumps(records[1:2]), encoding="utf-8")
    for read in (problems_of, lambda path: read_problems(gsm8k.GSM8K(), path)):
        with pytest.raises(BadInput, match="no problems|left out"):
            read(path)


@pytest.mark.parametrize("text", ["Bo 1||<<1+1=2>> #### 2\nBo 2|| #### 3", *(
    sep.join('{"question": "Bo %d", "answer": "<<1+1=2>> #### 2"}' % i for i in (1, 2)).join(ends)
    for sep, ends in ((",", ("[", "]")), ("\n", ("", "")), ("\r\n \t", (" ", "\n"))))])
def test_byte_order_marks_and_indented_lines(tmp_path, text):
    found = []
    for mark in ("", "\ufeff"):
        (tmp_path / "f").write_text(mark + text, encoding="utf-8", newline="")
        found += [problems_of(tmp_path / "f"), read_problems(gsm8k.GSM8K(), tmp_path / "f")[0]]
    assert [q for q, _, _ in found[0]] == ["Bo 1", "Bo 2"] and found[0] == found[2]
    assert found[1] == found[3] and not any(UNKNOWN == e.question[0] for e in found[1])


@pytest.mark.parametrize("value, text", [
    (3.509e-07, "0.0000003509"), (1e16, "10000000000000000"), ("2.0107e-06", "0.0000020107"),
    (12345678901234567891, "12345678901234567891"), ("1E+3", "1000"), ("+7", "7"), (-0.0, "0"),
    (13862.266666666666, "13862.266666666666"), ("0.50", "0.50"), ("-$1,234.", "-1234"),
    ("0,1", "0,1"), ("3 4", "3_4"), ("1,2,3", "1,2,3"), ("5 1/2", "5_1/2"), ("1, 200", "1,_200"),
    ("red  hat", "red hat"), ("1 / 2", "1/2"), ("1,234,5", "1,234,5")])
def test_answers_keep_their_value(value, text):
    record = {"question": "Q", "steps": [], "answer": value}
    assert parse(record).problem == ("Q", (), text)
    if isinstance(value, (int, float)):
        assert parse({"input": "Q", "target": value}).problem == ("Q", (), text)
        assert Fraction(text) == Fraction(str(value))
    e = gsm8k.GSM8K().parse(record)
    assert formats.number(text) is None or gsm8k.GSM8K().check(e, list(text))


@pytest.mark.parametrize("true, said, right", [
    ("1200", "1,200", True), ("72", "72.", True), ("72", "$72.00", True), ("5", "5%", True),
    ("0.5", ".50", True), ("72", "7 2", True), ("-3", "-3", True), ("72", "27", False),
    ("72", "", False), ("72", "1/2", False), ("1/2", "1/2", True), ("72", "72=", False),
    ("72", "7_2", False), ("10", "1e1", True), ("7", "+7", True), ("1e16", "1" + "0" * 16, True),
    ("0.0000003509", "0", False), ("1e16", "1" + "0" * 15 + "1", False), ("0,1", "1", False),
    ("0,1", "0,1", True), ("3 4", "34", False), ("3 4", "3_4", True), ("1,2,3", "123", False),
    ("5 1/2", "51/2", False), ("5 1/2", "5.5", True), ("5 1/2", "11/2", True),
    ("5 1/2", "5_1/2", True), ("-5 1/2", "-5.5", True), ("3,5", "35", False), ("1", "1/0", False),
    ("1", "9e999999999", False), ("1", "9" * 5000, False), ("5", "$", False), ("x", "$.", False)])
def test_the_standard_check(true, said, right):
    task = gsm8k.GSM8K()
    assert task.check(task.example("Q", (), formats.read_answer(true)), list(said)) is right


def test_words_are_right_by_their_letters_and_unknown_ones_never():
    task = gsm8k.GSM8K()
    for true, said, right in (("monday", "Monday.", True), ("monday", "Tuesday", False),
                              ("in april", "in April", True), ("may 5", "May 5.", True),
                              ("\u00a35", "\u00a35", False), ("\u00a35", "\u20ac5", False),
                              ("\u4e94", "\u516d", False)):
        e = task.example("Q", (), formats.read_answer(true))
        assert task.check(e, task.cut(said)) is right
    assert not task.check(task.example("Q", (), "5"), [])


def test_evaluate_equals_python():
    """Random expressions, against Python's own arithmetic with fractions."""
    rng, compared = random.Random(0), 0

    def draw(depth):
        if depth == 0 or rng.random() < 0.2:
            return rng.choice(["7", "0.5", ".25", "12", "3.", "-2", "+4"])
        a, b = draw(depth - 1), draw(depth - 1)
        return rng.choice(["({}){}{}", "{}{}({})", "-({}{}{})"]).format(
            a, rng.choice(["+", "-", "*", "/", "//"]), b)
    for _ in range(300):
        text = draw(4)
        try:
            want = eval(re.sub(r"\d+\.?\d*|\.\d+", lambda m: f"Fraction('{m[0]}')", text))
        except ZeroDivisionError:
            with pytest.raises(ZeroDivisionError):
                formats.evaluate(text)
        else:
            compared += 1
            assert formats.evaluate(text) == want
    assert compared > 200


# ---- splits --------------------------------------------------------------------------------------

def test_splits_share_no_problem_even_with_other_numbers():
    split = official()
    texts = {name: {bare(q) for q, _, _ in problems} for name, problems in split.items()}
    assert not texts["test"] & (texts["train"] | texts["val"]) and not texts["train"] & texts["val"]
    assert all(texts.values())
    records = [parse(r).problem for r in stories(60)]
    assert any(bare(q) in texts["test"] for q, _, _ in records)      # left out of train
    task = gsm8k.GSM8K()
    drawn = {bare(" ".join(task.sample("train", i).question)) for i in range(200)}
    held = {bare(" ".join(task.sample(s, i).question)) for s in ("val", "test") for i in range(3)}
    assert not drawn & held and len(drawn) > 20


def test_extra_files_and_stand_ins_join_train_only(tmp_path):
    extra = tmp_path / "more.txt"
    known = official()["test"][0][0]
    extra.write_text(f"A fox has 3 hens.||<<3+1=4>> #### 4\n{known}||<<1+1=2>> #### 2\n",
                     encoding="utf-8")
    task = gsm8k.GSM8K(extra=str(extra))
    assert len(task.problems["train"]) == len(official()["train"]) + 1
    assert ("A fox has 3 hens.", ("3+1=4",), "4") in task.problems["train"]
    mixed = gsm8k.GSM8K(mix=1.0).sample("train", 5)
    want = runs.TASKS["arithmetic"]("full").sample("train", 5)
    assert mixed.answer == want.answer and len(mixed.steps) == len(want.steps)
    assert [w for w in mixed.question if w.isdigit()] == [w for w in want.question if w.isdigit()]
    assert mixed.steps[-1][-len(want.answer) - 1:] == [*want.answer, ">>"]


@pytest.mark.parametrize("flag", ["--mix", "--word-dropout"])
def test_shares_are_at_most_1(flag, capsys):
    argv = ["--task", "gsm8k", flag, "1.5"]
    assert fails(argv, capsys).endswith(f"{flag} 1.5: must be at most 1")


def test_extra_problems_without_a_chain_are_not_trained_on(tmp_path, capsys):
    hard = tmp_path / "hard.jsonl"
    hard.write_text('{"input": "Bo has 7 cans.", "target": 7}\n'
                    '{"question": "Bo has 7 pens.", "steps": [], "answer": 7}', encoding="utf-8")
    known = official()["val"][0][0]
    more = tmp_path / "more.txt"
    more.write_text(f"A fox has 3 hens.||<<3+1=4>> #### 4\n{known}||<<1+1=2>> #### 2\n"
                    "A fox has 3 cans.||<<3+1=5>> #### 5", encoding="utf-8")
    task = gsm8k.GSM8K(extra=f"{hard},{more}")
    assert task.problems["train"] == official()["train"] + [
        ("Bo has 7 pens.", (), "7"), ("A fox has 3 hens.", ("3+1=4",), "4")]
    assert capsys.readouterr().out.splitlines() == [
        f"--extra {hard}: 1 of 2 problems to train on; 1 without a chain: the file gives none "
        "(first: record 0)",
        f"--extra {more}: 1 of 3 problems to train on; 1 left out: in the validation or test set, "
        "but for the numbers (first: record 1); 1 without a chain: an equation does not hold "
        "(first: record 2)"]
    task = gsm8k.GSM8K(extra=str(tmp_path / "gone"))
    assert task.sample("test", 0) and task.sample("val", 0)     # these need no extra file
    with pytest.raises(BadInput, match="gone"):
        task.sample("train", 0)


def test_a_file_without_some_chains_is_trained_on_the_others(tmp_path):
    """Of --data FILE. Where no problem has a chain, all are kept."""
    path, task = tmp_path / "f.txt", gsm8k.GSM8K()
    for every in (2, 1):
        lines = [f"Bo has {i} hats.||{'2 + 2' if i % every == 0 else ''} #### 4" for i in range(99)]
        path.write_text("\n".join(lines), encoding="utf-8")
        split = FileTask(task, path).examples
        lacking = [e for e in split["train"] if e.no_chain]
        assert lacking == ([] if every == 2 else split["train"])
        assert any(e.no_chain for e in split["val"] + split["test"])


def test_a_task_knows_what_it_was_trained_on(tmp_path):
    extra = tmp_path / "more.txt"
    extra.write_text("A fox has 3 hens.||<<3+1=4>> #### 4\nA dog has 3 hens.||<<3=3>> #### 4\n"
                     "A cat has 3 hens.||<<3=4>> #### 4", encoding="utf-8")
    task = gsm8k.GSM8K(extra=str(extra))
    asked = [task.example(q, (), "4") for q in (
        "A fox  has 7 Hens.", "A dog has 3 hens.", "A cat has 3 hens.", "A fox has seven hens.")]
    assert task.trained_on(asked) == [True, True, False, False]
    for split, seen in (("train", True), ("val", True), ("test", False)):
        some = [task.sample(split, i) for i in range(5)]
        assert task.trained_on(some) == [seen] * 5
    assert gsm8k.GSM8K().trained_on(asked) == [False] * 4


def test_odd_extra_files_train(tmp_path):
    """Half characters, numbers that floats do not hold, huge words: nothing stops or takes long."""
    large, blank = 900719925474099, " " * 20_000
    path = tmp_path / "odd.jsonl"
    records = [
        ("A \ud800 fox has 3 hens.", "3+1=4", 4),
        ("Bo has 1e-07 or 0.0000001", "0.0000001*2=0.0000002", 2e-07),
        (f"Bo has {large} hats", f"{large}*{large}={large ** 2}", "1" * 3000),
        ("a" * 20_000 + blank + "9" * 20_000, "2*3=6", "6" + blank + "x")]
    path.write_text("\n".join(json.dumps({"question": q, "steps": [e], "answer": a})
                              for q, e, a in records), encoding="utf-8")
    task = gsm8k.GSM8K(extra=str(path))
    assert len(task.problems["train"]) == len(official()["train"]) + 4
    extra = task.problems["train"][-4:]
    task.problems["train"] = extra
    drawn = [task.sample("train", i) for i in range(40)]
    assert {e.key for e in drawn} >= {" ".join(q.lower().split()) for q, _, _ in extra[1:]}
    for e in drawn:
        for step in e.steps:
            assert formats.equation("".join(step)[2:-2])        # it holds
    assert "\ufffd" in extra[0][0] and not any("\ud800" in e.key for e in drawn)


# ---- words ---------------------------------------------------------------------------------------

def test_the_words_that_stay_whole_are_the_most_frequent_ones():
    task = gsm8k.GSM8K(rare="slots", vocabulary=5)
    counts = Counter(w for question, _, _ in official()["train"]
                     for w in words_of(question) if w.isalpha())
    kept = task.pieces.split()[:5]
    assert task.pieces.split()[5:] == SLOTS
    assert min(counts[w] for w in kept) >= max(n for w, n in counts.items() if w not in kept)


def test_rare_words_in_answers_are_those_of_the_question(tmp_path):
    """Every rare word was @0, so that all names were right. And questions that differ only in
    names were one."""
    task = gsm8k.GSM8K(rare="slots", vocabulary=5)
    zoe, bo = (task.parse({"question": "Zoe has 3 hats and Bo has 5. Who has more?", "steps": [],
                           "answer": name}) for name in ("Zoe", "bo."))
    assert zoe.answer == ["@0"] and not task.check(bo, zoe.answer)
    assert task.check(zoe, zoe.answer) and task.check(bo, bo.answer) and zoe.answer != bo.answer
    coins = [{"question": f"A coin lies heads up. {name} flips it. Is it heads up?", "steps": [],
              "answer": answer}
             for name, answer in (("Zoe", "yes"), ("Bo", "no"), ("Kai", "yes"), ("Ann", "no"))]
    path = tmp_path / "coins.json"
    path.write_text(json.dumps(coins), encoding="utf-8")
    examples, line = read_problems(task, path)
    assert "4 with an answer of unknown words: no answer to it is right" in line
    assert not any(task.check(e, words) for e in examples for words in (e.answer, ["@0"], []))
    assert len({" ".join(e.question) for e in examples}) == 1 and len(set(map(same, examples))) == 4
    task.sample = lambda split, index: examples[index % 4]
    assert len(first_problems(task, "test", 8)) == 4
    pieces = gsm8k.GSM8K()
    e, other = (pieces.example(f"{sign}5?", (), "5") for sign in "\u00a3\u20ac")
    assert e.question == other.question and same(e) != same(other)


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
    monkeypatch.setattr(gsm8k_files, "FOLDER", tmp_path / "gone")
    official.cache_clear()
    evaluation.main([run, "--data", str(tmp_path / "svamp.json"), "--json", str(tmp_path / "o")])
    assert json.loads((tmp_path / "o").read_text(encoding="utf-8"))[0]["rows"][0]["n"] == 1
    official.cache_clear()


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
    ("Bo has 7 hats.", ("7*2=14",), "1,4", "not a number"),
    ("Bo has 0.00005 hats.", ("0.00005*2=0.0001",), "0.0001", "too small or too large"),
    ("Bo has 7 hats.", (f"7*{10 ** 16}={7 * 10 ** 16}",), str(7 * 10 ** 16), "small or too large"),
    *(("Bo has 7 hats.", (e,), "14", "not an equation") for e in (
        "7**2=49", "7" + "+1" * 5000 + "=14", "(" * 5000 + "7+7" + ")" * 5000 + "=14",
        "7+x=14", "14=14", "7(7)=14", "7/(7-7)=14", "(7+7=14", "7..5=14", "7+=14", "7*2=1.4.",
        "=14")),
    ("Bo has 7 hats.", ("7*2=14",), "yes", "not a number"),
    ("Bo has " + "7" * 400, ("7*2=14",), "14", "floats"),
    ("In 1999 Bo ate 1/4 of it at 7:30 and 8 pm, on the 5th.",
     ("1999-4=1995", "7*5=35", "35*8=280"), "280", "no free")], ids=short)
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
            assert bare(drawn[0]) == bare(question)
            new = [value(s) for s in NUMBER.findall(drawn[0])]
            seen.update({a for a, b in zip(old, new) if a != b})
            assert len({(a, b) for a, b in zip(old, new)}) == len(set(old))     # equal stay equal
    assert set(seen) == moving


def exact(expression):
    """The value of an expression, with fractions in place of floats."""
    return eval(re.sub(r"\d*\.\d+|\d+", lambda m: f"Fraction('{m[0]}')", expression))


def test_every_variant_holds():
    """Equations are true, whole results stay whole, positive ones positive, percentages sane."""
    records = [parse(r).problem for r in stories(30)]
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
    plain, hides = gsm8k.GSM8K(), gsm8k.GSM8K(word_dropout=0.3)
    hidden = total = 0
    for i in range(200):
        a, b = plain.sample("train", i), hides.sample("train", i)
        assert (a.steps, a.answer) == (b.steps, b.answer)
        for before, after in zip(a.question, b.question, strict=True):
            assert after == before or (after == UNKNOWN and before not in gsm8k.SIGNS)
            hidden, total = hidden + (after != before), total + (before not in gsm8k.SIGNS)
    assert abs(hidden / total - 0.3) < 0.03
    assert hides.sample("test", 0) == plain.sample("test", 0)


def test_variants_are_as_many_as_asked_and_pure():
    few, none = gsm8k.GSM8K(variants=2), gsm8k.GSM8K(variants=0)
    split = official()["train"]
    seen = {tuple(few.sample("train", i).question) for i in range(1500)}
    assert len(split) * 2 < len(seen) <= len(split) * 3
    assert {tuple(none.sample("train", i).question) for i in range(800)} == {
        tuple(none.cut(q)) for q, _, _ in split}
    assert few.sample("train", 5) == gsm8k.GSM8K(variants=2).sample("train", 5)
    text = str([few.sample("train", i) for i in range(20)])
    assert hashlib.sha256(text.encode()).hexdigest()[:8] == "91971216"     # on every machine
