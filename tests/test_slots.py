"""GSM8K over slots: numbers get names, equations are written in these, and computed exactly."""
import argparse
import json
import random
from fractions import Fraction

import pytest

import eval as evaluation
import look
import runs
from data import gsm8k, slots
from data.common import END, EOS
from data.gsm8k import GSM8K
from data.gsm8k_files import official
from data.pieces import UNKNOWN
from data.records import FileTask, read_problems
from data.resample import Untraceable
from lab import controls
from tests.helpers import fails, run, stories

CLIPS = ("Natalia sold clips to 48 of her friends in April, and then she sold half as many clips "
         "in May. How many clips did Natalia sell altogether in April and May?")
VALUES = {"n0": Fraction(48), "n1": Fraction(1, 3)}


def over_slots(question, equations, answer):
    """Steps and answer as texts."""
    steps, said = slots.write(slots.mask(question), equations, answer)
    return [" ".join(step) for step in steps], " ".join(said)


def test_the_worked_example():
    assert over_slots(CLIPS, ("48/2=24", "48+24=72"), "72") == (
        ["<< n0 / 2 = r0 >>", "<< n0 + r0 = r1 >>"], "r1")
    task = GSM8K(numbers="slots")
    e = task.example(CLIPS, ("48/2=24", "48+24=72"), "72")
    assert "n0" in e.question and not {*e.question} & {*"0123456789"}
    assert e.state == ({"n0": 48}, ["7", "2"]) and e.difficulty == 2
    said = task.compute(e, sum(e.steps, []), e.answer)
    assert said == ["7", "2"] and task.check(e, said) and not task.check(e, e.answer)


@pytest.mark.parametrize("question, text, names, values", [
    ("2 cats, 1,200.5 dogs and 2 hens", "0 cats, 0 dogs and 0 hens", "n0 n1 n0", [2, "1200.5"]),
    ("1/2 of .5, at 7:30 on the 5th", "0/0 of 0, at 0:0 on the 0th", "n0 n1 n2 n3 n4 n5",
     [1, 2, ".5", 7, 30, 5]),
    ("2.0 or 2", "0 or 0", "n0 n0", [2]), ("no number", "no number", "", []),
    ("9" * 16 + " and 3", "0 and 0", "None n0", [3])])
def test_numbers_get_names_in_order(question, text, names, values):
    """Equal ones the same; a number of too many characters gets none."""
    masked = slots.mask(question)
    assert masked.text == text and " ".join(map(str, masked.names)) == names
    assert [*masked.values.values()] == [Fraction(v) for v in values]


@pytest.mark.parametrize("text, want", [
    ("Two cats and twelve dogs", "2 cats and 12 dogs"), ("one of them, anyone, tone", None),
    ("twenty-five, Ninety-One and sixty", "25, 91 and 60"), ("two-thirds of ten", "2-thirds of 10"),
    ("twosome, often, seventeenth, weight", None), ("twenty-ten", "20-10"), ("a hundred", None),
    ("two dozen", "2 dozen"), ("half of 3", None), ("twenty five cats", "25 cats"),
    ("twenty two-hour days", "20 2-hour days"), ("a sixty-two-year loan", "a 62-year loan"),
    ("two hundred or two-thousand", None), ("twenty-two hundred", None),
    ("a hundred and two, one hundred fifty", None)])
def test_numbers_in_letters_are_numbers(text, want):
    assert slots.in_digits(text) == (text if want is None else want)


def test_all_numbers_below_a_hundred_are_known():
    small = "one two three four five six seven eight nine".split()
    for ten, value in slots.TENS.items():
        for i, word in enumerate(small, 1):
            assert slots.in_digits(f"{ten}-{word}") == str(value + i)
    assert sorted([*slots.SMALL.values(), *slots.TENS.values()]) == [
        *range(2, 20), *range(20, 100, 10)]


def test_a_number_in_letters_has_the_name_of_its_digits():
    assert over_slots("Two boys eat 2 of 12 eggs each.", ("2*2=4", "12-4=8"), "8") == (
        ["<< n0 * n0 = r0 >>", "<< n1 - r0 = r1 >>"], "r1")


def test_another_text_has_the_names_of_its_question_and_no_others():
    question = slots.mask("2 cats and 3 dogs")
    answer = slots.mask("3.0 of 5, or three", question)
    assert answer.text == "0 of 0, or 0" and answer.names == ["n1", None, "n1"]
    assert answer.values == question.values


def test_names_run_out():
    question = " ".join(map(str, range(100, 130)))
    masked = slots.mask(question)
    assert masked.names[:20] == slots.NAMES and masked.names[20:] == [None] * 10
    e = GSM8K(numbers="slots").example(question, ("100+129=229",), "229")
    assert [w for w in e.question if w != "_"] == [*slots.NAMES, *[UNKNOWN] * 10]
    assert e.steps == [["<<", "n0", "+", "1", "2", "9", "=", "r0", ">>"]]
    with pytest.raises(Untraceable, match="more results than names"):
        slots.write(masked, ("100+100=200",) * 21, "200")


@pytest.mark.parametrize("question, equations, answer, want", [
    ("A $40 hat is 20% off", ("40*.2=8", "40-8=32"), "32", "n0 * n1 %, n0 - r0"),
    ("A $40 hat is 20% off", ("40*0.80=32",), "32", "n0 * ( 1 - n1 % )"),
    ("A $40 hat, 20 percent tax", ("40*1.2=48",), "48", "n0 * ( 1 + n1 % )"),
    ("A $40 hat is 20% off", ("100-20=80", "40*80/100=32"), "32", "100 - n1, n0 * r0 / 100"),
    ("20% are red and 40 are not", ("40/80=.5", "100*.5=50"), "50",
     "n1 / ( 100 - n0 ), r0 * 100"),
    ("3 days of 17 dozen", ("17*12=204", "204*3*23=14076"), "14076", "n1 * 12, n0 * r0 * 2 3"),
    ("5 jars of 8, 40 lids", ("5*8=40", "40+40=80"), "80", "n0 * n1, n2 + r0"),     # new, then 40
    ("6 hats", ("6-3=3", "6-3=3", "3+3=6"), "6", "n0 - 3, n0 - r0, r1 + r1"),
    ("3 for 10", ("10/3=3.33", "3.33*6=19.98"), "20", "n1 / n0, r0 * 6"),       # exact is right
    ("3 of 8 and 9", ("2+9+8+3=22", "9-8=1", "1*22*3=66", "66+2*3=72"), "72",
     "n0 + n1 + n2 + 2, n2 - n1, n0 * r0 * r1, r2 + 2 * n0"),
    ("0.5 of 8", ("(8+1)*0.5=4.5",), "4.5", "( n1 + 1 ) * n0")])
def test_operands_are_followed(question, equations, answer, want):
    steps, said = over_slots(question, equations, answer)
    assert steps == [f"<< {left} = r{i} >>" for i, left in enumerate(want.split(", "))]
    assert said == f"r{len(steps) - 1}"


@pytest.mark.parametrize("equations, answer", [
    (("48/2=24",), "25"), ((), "25"), (("48/2=24",), "48"), (("48/7=6.86",), "6.86"),
    (("48/2=24",), "many"), ((), "many")])
def test_what_cannot_be_written(equations, answer):
    """The answer is no result, is rounded, or is no number: no chain, and the answer in signs."""
    with pytest.raises(Untraceable, match="no result"):
        slots.write(slots.mask(CLIPS), equations, answer)
    task = GSM8K(numbers="slots")
    e = task.example(CLIPS, equations, answer)
    assert e.steps == [] and e.answer == task.cut(answer, CLIPS) == e.state.answer
    assert e.no_chain == "not over slots: the answer is no result" and e.remarks


def test_without_equations_the_answer_is_a_number_of_the_question():
    assert over_slots(CLIPS, (), "48") == ([], "n0")


@pytest.mark.parametrize("chain, answer, want", [
    ("<< n0 / 2 = r0 >> << r0 + n0 = r1 >>", "r1", "72"), ("", "n0", "48"), ("", "n1", "1/3"),
    ("<< n0 * n1 % = r0 >>", "r0", "4/25"), ("<< 4 / n0 % = r0 >>", "r0", "25/3"),
    ("<< ( 1 - n0 % ) * 1 2 . 5 = r3 >>", "r3", "13/2"), ("<< n0 - 100 = r0 >>", "r0", "-52"),
    ("<< n0 - 100 = r0 >> << - r0 / 0.5 = r1 >>", "r1", "104"), ("", "7 2", "7 2"), ("", "", ""),
    ("<< n0 / 5 = r0 >> << r0 / / 2 = r1 >>", "r1", "4"), ("", "many", "many"),
    *((chain, "r0", "") for chain in (
        "", "<< n0 / 0 = r0 >>", "<< n2 = r0 >>", "<< r0 = r0 >>", "<< n0 n1 = r0 >>",
        "<< n0 2 = r0 >>", "<< 2 n0 = r0 >>", "<< % = r0 >>", "<< n0 + % = r0 >>", "<< n0 % % = r0",
        "<< n0 * = r0 >>", "<< n0 = r1 >>", "<< n0 = n0 = r0 >>", "<< n0 = 48 >>", "<< n0 >>",
        "<< = r0 >>", "= r0", "<< n0 = r0", "<< n0 / ( 2 - 2 ) = r1 >> << n0 = r0 >>",
        "<< << n0 = r0 >> >>", "<< yes = r0 >>", "<< . = r0 >>", "<< ( n0 = r0 >>"))])
def test_compute(chain, answer, want):
    """Exactly, and without an exception whatever a model writes."""
    said = slots.compute(VALUES, chain.split(), answer.split())
    assert "".join(said) == want.replace(" ", "")


def test_powers_of_powers_end():
    chain = "<< n0 * n0 = r0 >> " + "<< r0 * r0 = r0 >> " * 60
    assert slots.compute(VALUES, chain.split(), ["r0"]) == []


def test_whatever_is_written_is_wrong_and_no_exception():
    rng, task = random.Random(0), GSM8K(numbers="slots")
    e = task.example(CLIPS, ("48/2=24", "48+24=72"), "72")
    words = [*"+-*/()%=.259", "<<", ">>", "n0", "n1", "r0", "r1", "100", "half", UNKNOWN]
    for _ in range(3000):
        chain, answer = (rng.choices(words, k=rng.randrange(k)) for k in (25, 3))
        task.check(e, task.compute(e, chain, answer))


# ---- the task ------------------------------------------------------------------------------------

def test_gold_chains_compute_to_the_official_answer():
    task, digits = GSM8K(numbers="slots"), GSM8K()
    for split in ("train", "val", "test"):
        for i in range(30):
            e = task.sample(split, i)
            said = task.compute(e, [w for step in e.steps for w in step], e.answer)
            assert task.check(e, said) and e.answer[0] in slots.RESULTS
            assert all(w in task.words for w in (*e.question, *sum(e.steps, []), *e.answer))
    e, d = task.sample("test", 1), digits.sample("test", 1)
    assert e.key == d.key and e.difficulty == d.difficulty and e.state.answer == d.answer
    assert task.compute(e, [], d.answer) == d.answer == digits.compute(d, [], d.answer)


def test_number_variants_are_not_drawn():
    task = GSM8K(numbers="slots", variants=1000)
    texts = {task.sample("train", i).key for i in range(300)}
    assert texts <= {" ".join(q.lower().split()) for q, _, _ in official()["train"]}


@pytest.mark.parametrize("value, word", [
    ("0", "#2"), ("2", "#2"), ("3", "#5"), ("1000", "#1000"), ("1001", "#more"), ("1/4", "#<1"),
    ("0.99", "#<1"), ("1.5", "#1.5"), ("2000.5", "#1.5")])
def test_a_size_is_a_bound_or_a_fraction(value, word):
    assert slots.size_of(Fraction(value)) == word


def test_with_sizes_each_number_of_a_question_has_its_own_before_it():
    """And of a question, its chain and answer nothing else changes."""
    plain = GSM8K(numbers="slots", told=0.3)
    task = GSM8K(numbers="slots", told=0.3, sizes=True)
    for i in range(100):
        e, without = task.sample("test", i), plain.sample("test", i)
        assert [w for w in e.question if w not in slots.SIZES] == without.question
        assert (e.steps, e.answer, e.state) == (without.steps, without.answer, without.state)
        e = task.sample("train", i)     # some in the words of a solution
        for before, word in zip(["", *e.question], e.question):
            value = e.state.values.get(word)
            assert (before in slots.SIZES) == (value is not None)
            assert value is None or before == slots.size_of(value)
        assert not any(w in slots.SIZES for step in e.steps for w in step)
        assert task.check(e, task.compute(e, sum(e.steps, []), e.answer))


def test_with_sizes_other_numbers_are_another_text():
    task = GSM8K(numbers="slots", variants=1000, sizes=True)
    own = {" ".join(q.lower().split()) for q, _, _ in official()["train"]}
    texts = {task.sample("train", i).key for i in range(300)}
    assert len(texts - own) > 100


def test_training_leaves_out_what_cannot_be_written(tmp_path, capsys):
    path = tmp_path / "more.txt"
    path.write_text("A fox has 3 hens.||<<3+1=4>> #### 4\nA cat has 3 hens.||<<3+1=4>> #### 7\n"
                    "A fox has 3 hens.||<<3+1=4>> #### 4", encoding="utf-8")
    task = GSM8K(numbers="slots", extra=str(path))
    assert len(task.problems["train"]) == len(official()["train"]) + 1
    assert capsys.readouterr().out.strip() == (
        f"--extra {path}: 1 of 3 problems to train on; 1 left out: not over slots: the answer is "
        "no result (first: record 1); 1 left out: the same as an earlier one (first: record 2)")
    examples, line = read_problems(task, path)      # to test on, all count
    assert len(examples) == 2 and "1 without a chain: not over slots" in line
    assert [e.answer for e in examples] == [["r0"], ["7"]]


def test_a_file_is_trained_on_and_tested(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text("\n".join(map(json.dumps, stories(80))), encoding="utf-8")
    task = FileTask(GSM8K(numbers="slots"), str(path))
    for i in range(20):
        e = task.sample("train", i)
        assert task.check(e, task.compute(e, sum(e.steps, []), e.answer))


def test_hidden_words_are_no_slots():
    hides = GSM8K(numbers="slots", word_dropout=1.0)
    for i in range(20):
        assert {w for w in hides.sample("train", i).question} <= {*gsm8k.KEPT, UNKNOWN}


def test_stand_ins_are_over_slots():
    task = GSM8K(numbers="slots", mix=1.0)
    for i in range(50):
        e = task.sample("train", i)
        assert e.steps and task.check(e, task.compute(e, sum(e.steps, []), e.answer))


@pytest.mark.parametrize("method", [name for name in runs.METHODS if name != "cot"])
def test_methods_without_a_written_chain_refuse(method, capsys):
    line = fails(["--task", "gsm8k", "--numbers", "slots", "--method", method], capsys)
    assert line.endswith("--numbers slots: for --method cot alone; others hide their equations")


def test_a_run_over_slots_from_training_to_its_table(tmp_path, capsys, monkeypatch):
    """It is trained, and tested; a model that wrote the true chains would be right."""
    out = run(tmp_path, "--task", "gsm8k", "--method", "cot", "--numbers", "slots")
    evaluation.main([str(out), "--k", "1,2", "--show", "1", "--n", "3"])
    assert "truth  " + " ".join(official()["test"][0][2]) in capsys.readouterr().out
    task, method, _ = runs.load_run(out)
    for e in (task.sample("test", i) for i in range(3)):
        chain = sum(e.steps, [])
        ids = [*method.vocab.encode(chain), END, *method.vocab.encode(e.answer), EOS]
        solved = method.solved(ids)
        assert method.right(task, e, solved) and not task.check(e, solved.answer)
        assert not method.right(task, e, method.solved(ids[1:]))
        monkeypatch.setattr(method, "solve", lambda batch, **knobs: [solved])
        look.thinking(argparse.Namespace(question="", run=""), task, method, e, {}, {})
        said = capsys.readouterr().out.splitlines()[-1]
        assert said.endswith(f"it answers {' '.join(task.compute(e, chain, e.answer))}   right")
    with pytest.raises(SystemExit):
        controls.main([str(out)])
    assert "an answer means nothing without its chain" in capsys.readouterr().err


def test_only_a_chain_in_words_can_be_computed():
    """All other methods hide at least a part of it: their problems are in digits."""
    assert [name for name, cls in runs.METHODS.items() if cls.IN_WORDS] == ["cot"]
    for name, cls in runs.METHODS.items():
        config = runs.parse(["--task", "gsm8k", "--method", name])
        assert config["numbers"] == ("slots" if cls.IN_WORDS else "digits")
