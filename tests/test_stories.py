"""What written solutions are good for: questions that they ask, and chains in their words."""
import random
from fractions import Fraction

import pytest

from data.formats import evaluate, parse
from data.gsm8k import GSM8K, TOLD
from data.gsm8k_files import official, official_asked, solutions
from data.stories import asked, needed, story_of, told
from tests.test_slots import CLIPS

STORY = CLIPS.partition(" How")[0]
SOLUTION = ("Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n"
            "Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.\n#### 72")


def test_the_worked_example():
    assert asked(CLIPS, SOLUTION) == [
        (f"{STORY} Natalia sold how many clips in May?", ("48/2=24",), "24"),
        (f"{STORY} Natalia sold how many clips altogether in April and May?",
         ("48/2=24", "48+24=72"), "72")]


@pytest.mark.parametrize("question, story", [
    ("He has 3. How many are left?", "He has 3."),
    ("He has 3. If he eats 2, how many are left?", "He has 3. If he eats 2,"),
    ("He has 3. How many are left if he eats 2?", ""), ("He has 3. Say what is left.", ""),
    ("If he has 3 and eats one, what is left?", "If he has 3 and eats one,"),
    ("He has 3. He buys what he needs. How many has he of what he needs?",
     "He has 3. He buys what he needs."),
    ("If 3 are what he has, how many are what he needs?", "If 3 are what he has,"),
    ("If 3 are red, what is the share which is not?", "If 3 are red,"),
    ("Mr. X has 3. How many has Mrs. X?", "Mr. X has 3."),
    ("Is it so?", ""), ("", "")])
def test_a_story_is_what_comes_before_its_question(question, story):
    assert story_of(question) == story


@pytest.mark.parametrize("line, said", [
    ("In May she sold 48 / 2 = <<48/2=24>>24 clips.", "In May she sold how many clips"),
    ("It cost her $48 x 2 = $<<48*2=96>>96 in all.", "It cost her how much in all"),
    ("She then got 48*.25=<<48*.25=12>>12% of them.", "She then got what percentage of them"),
    ("Of the 48 friends 48/2=<<48/2=24>>24 came.", "Of the 48 friends how many came"),
    ("With these 24 she has 48+24=<<48+24=72>>72.", ""),    # an earlier result
    ("2 friends * 24 clips = <<2*24=48>>48 clips sold.", ""), ("48/2=<<48/2=24>>24 clips.", ""),
    ("She sold <<48/2=24>>24 and then <<24/2=12>>12 clips.", ""),
    ("She sold 24 clips in May.", ""),
    ("To the forty-eight she sold 48/2=<<48/2=24>>24.", "To the forty-eight she sold how many"),
    ("With these twenty-four she has 48+24=<<48+24=72>>72.", ""),
    ("She sold to 48 since 2*24 = <<2*24=48>>48 came.", ""),    # the result itself
    ("She has in all 48 friends * 2 = <<48*2=96>>96 clips.", ""),
    ("She has in all 48 friends x 2 = <<48*2=96>>96 clips.", ""),
    ("She now has 48 friends. 48 / 2 = <<48/2=24>>24 of them came.", ""),
    ("She has now 48 friends – 48 foes – 2 <<48-48=0>>0 in all.", ""),
    ("She has now 48 friends - 48 foes <<48-48=0>>0 in all.", ""),
    ("After the tax 48*2=<<48*2=96>>96 clips are left.", "After the tax how many clips are left"),
    ("- Of her friends there are 48/2=<<48/2=24>>24 here.",
     "- Of her friends there are how many here"),
    ("$48/2 = $<<48/2=24>>24 is what she has.", "how much is what she has")])
def test_which_sentences_ask(line, said):
    found = [question for question, _, _ in asked(CLIPS, line)]
    assert found == ([f"{STORY} {said}?"] if said else [])


def test_an_equation_that_is_none_ends_the_chain():
    """What comes after it may need its result."""
    assert len(asked(CLIPS, SOLUTION)) == 2
    assert asked(CLIPS, "So <<48/2=25>>25 clips it is.\n" + SOLUTION) == []


def test_needed_are_the_equations_that_the_result_is_computed_from():
    """By another way: forwards, from each result the set of equations behind it."""
    rng = random.Random(0)
    for _ in range(200):
        behind, chain = {}, []
        for i in range(rng.randint(1, 7)):
            left, right = (rng.choice([*behind, Fraction(rng.randint(2, 9)) / 7 ** (i + 1)])
                           for _ in "ab")
            left, right = (Fraction(f"{float(v):.9f}") for v in (left, right))
            result = left + right
            if result in behind:
                continue
            sides = [f"{float(v):.9f}" for v in (left, right, result)]
            own = {len(chain)}.union(*(behind.get(v, set()) for v in (left, right)))
            behind[result] = own
            chain.append(f"{sides[0]}+{sides[1]}={sides[2]}")
            last = own
        assert needed(chain) == tuple(chain[i] for i in sorted(last))
    assert needed(("1+1=2", "5*5=25", "2*3=6")) == ("1+1=2", "2*3=6")


@pytest.mark.parametrize("question, solution, equations", [
    ("Bo has 18 stamps. Al gives him one fourth of her 72 stamps. How many has he?",
     "Al gives him 72/4=<<72/4=18>>18 stamps.\nBo now has 18+18=<<18+18=36>>36 stamps in all.",
     ("72/4=18", "18+18=36")),
    ("Ada is 12 and 10 years older than Bo. Ed is 2 times as old as Ada. How old is Ed?",
     "So Bo is now 12-10=<<12-10=2>>2.\nThus Ed is now 12*2=<<12*2=24>>24 years old.",
     ("12-10=2", "12*2=24"))])                  # by chance Bo's age is "2 times"
def test_an_equation_stays_if_the_story_has_its_result_too(question, solution, equations):
    """Needed or not: that cannot be told."""
    assert asked(question, solution)[-1][1] == equations


def test_questions_are_those_of_training_problems_and_hold():
    train = {story_of(question) for question, _, _ in official()["train"]}
    others = {story_of(question) for name in ("val", "test") for question, _, _ in official()[name]}
    found = official_asked()
    assert len(found) > 10
    for question, equations, answer in found:
        assert any(question.startswith(story) for story in train if story)
        assert not any(question.startswith(story) for story in others - train if story)
        assert parse({"question": question, "answer": "\n".join(
            f"<<{e}>>" for e in equations) + f"\n#### {answer}"}).no_chain == ""
        left, _, result = equations[-1].partition("=")
        assert evaluate(left) == evaluate(result) == evaluate(answer)


@pytest.mark.parametrize("numbers", ["digits", "slots"])
@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
def test_a_share_of_the_training_problems_asks_more(numbers, share):
    """Those that are no official ones; without them problems are what they were."""
    task, plain = (GSM8K(numbers=numbers, variants=0, asked=a) for a in (share, 0.0))
    own, val = ({plain.example(*problem).key for problem in official()[name]}
                for name in ("train", "val"))
    some = [task.sample("train", i) for i in range(300)]
    assert abs(sum(e.key not in own for e in some) / 300 - share) < 0.1
    if not share:
        assert some == [plain.sample("train", i) for i in range(300)]
    assert all(task.sample("val", i).key in val for i in range(5))


# ---- chains in the words of a solution -----------------------------------------------------------

def test_what_is_told_around_the_equations():
    assert told(SOLUTION) == ["Natalia sold", " clips in May.\nNatalia sold",
                              " clips altogether in April and May.\n"]
    assert told("She has 3.\n#### 3") == ["She has 3.\n"]


@pytest.mark.parametrize("numbers", ["digits", "slots"])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_share_of_the_training_problems_is_told(numbers, share):
    """The same problems, with the same equations and answer, around which the solution stands; and
    the mark that says so. No other split has it."""
    task = GSM8K(numbers=numbers, rare="slots", variants=0, told=share)
    plain = {e.key: e for e in (task.example(*p) for p in official()["train"])}
    some = [task.sample("train", i) for i in range(300)]
    marked = [e for e in some if TOLD in e.question]
    assert abs(len(marked) / 300 - share) < 0.1
    for e in marked:
        same = plain[e.key]
        assert e.question == [*same.question, TOLD] and e.answer == same.answer
        assert [s for s in e.steps if "<<" in s] == same.steps and len(e.steps) > len(same.steps)
        assert set(sum(e.steps, [])) <= set(task.words)
    assert all(TOLD not in task.sample("val", i).question for i in range(5))
    assert TOLD not in GSM8K(numbers=numbers, rare="slots").words


def test_what_is_told_has_the_names_of_its_question():
    """And no numbers of its own; results are said by their equations alone."""
    task = GSM8K(numbers="slots", rare="slots", told=1.0)
    question, _, _ = problem = task.solved[0]
    e = task.in_words(problem)
    texts = [s for s in e.steps if "<<" not in s]
    assert len(texts) == len(problem[1]) + 1 == len(told(solutions()[question]))
    rare = {word for word in sum(texts, []) if word.startswith("@")}
    assert rare <= set(e.question) and not any(w.isdigit() for w in sum(texts, []))


def test_words_of_solutions_are_not_hidden_but_those_of_questions():
    task = GSM8K(numbers="slots", rare="slots", told=1.0, word_dropout=1.0)
    whole = {e.key: e for e in map(task.in_words, task.solved)}
    for e in (task.sample("train", i) for i in range(20)):
        assert e.question[-1] == TOLD and "<?>" in e.question
        assert e.steps == whole[e.key].steps
