"""The table of claims: numbers and verdicts follow from results/."""
import json
import locale
import re
import shutil

import pytest

from data.cli import BadInput
from lab import claims
from lab.claims import Judged, Part
from lab.earlier import EARLIER
from lab.intervals import interval
from lab.plan import Double, Gain
from lab.tables import STUDENT


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Two seeds of a method and of its control, the control at two numbers of updates."""
    def write(name, seed, accuracy, steps, updates):
        rows = [{"method": name, "knobs": {}, "accuracy": accuracy, "steps": steps, "ms": 1,
                 "n": 50 + seed, "low": 0, "high": 1, "variant": "", "updates": updates}]
        path = tmp_path / "results/x" / f"{name}-{seed}-{updates}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        config = {"method": name, "task": "arithmetic", "seed": seed, "steps": updates}
        path.write_text(json.dumps({"rows": rows, "config": config}), encoding="utf-8")
    for seed, (a, b) in enumerate([(0.9, 0.5), (0.8, 0.6)]):
        write("cot", seed, a, 8, 100)
        write("nocot", seed, b, 4, 100)
        write("nocot", seed, b + 0.1, 4, 200)
    monkeypatch.setattr(claims, "ROOT", tmp_path)
    monkeypatch.setattr(claims, "RESULTS", tmp_path / "results")
    claims.rows.cache_clear()
    yield
    claims.rows.cache_clear()


def test_differences_are_paired_by_seed(results):
    """40 and 20 points: 30 +- t sd / sqrt 2, and sd is 20 / sqrt 2."""
    part = claims.gain("x: cot", "x: nocot @100", "than none", 5.0)
    mean, half = part.interval()
    assert mean == pytest.approx(30) and half == pytest.approx(STUDENT[0] * 10)
    assert str(part) == f"30.0 ± {STUDENT[0] * 10:.1f} points more than none" and part.n == 50
    assert str(claims.gain("x: nocot @100", "x: cot", "than CoT")).endswith(" points less than CoT")
    part = claims.change("x: nocot @100", "x: cot", "steps")
    assert str(part) == "50.0 ± 0.0% fewer steps"
    assert str(claims.change("x: cot", "x: nocot @100", "steps")) == "100.0 ± 0.0% more steps"
    part = claims.gain("x: cot", "x: cot", "than CoT")
    assert str(part) == "no more and no less than CoT (± 0.0)"
    assert str(claims.value("x: nocot @200", "alone")) == f"65.0 ± {STUDENT[0] * 5:.1f}% alone"


def test_difficulties_without_problems_are_passed_over():
    row = {"accuracy": 0.9, "by_difficulty": {"4": {"accuracy": 0.5, "n": 2},
                                              "5": {"accuracy": 1.0, "n": 6}}}
    assert claims.cell(row, "accuracy", ()) == 0.9
    assert claims.cell(row, "accuracy", (3, 4)) == 0.5
    assert claims.cell(row, "accuracy", (4, 5)) == 7 / 8


def test_a_star_is_a_mean_and_a_double_a_difference(results):
    assert claims.get("x: *cot") == pytest.approx({0: (0.9 + 0.5 + 0.6) / 3, 1: (0.8 + 1.3) / 3})
    one = Gain("x: cot", "x: nocot @100", "")
    two = Gain("x: nocot @200", "x: nocot @100", "")
    part = claims.measured(Double(one, two, "than later", 0.0))
    assert part.values == pytest.approx({0: 30, 1: 10}) and part.said_bound() == "no less"


def test_the_interval_is_over_problems_too_where_they_are_known(results):
    """Two seeds and four problems; the rows of one seed then turn to be about others."""
    for name, seed, right in (("cot", 0, "1110"), ("cot", 1, "1110"), ("nocot", 0, "0010"),
                              ("nocot", 1, "0010")):
        path = claims.RESULTS / "x" / f"{name}-{seed}-100.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        record["rows"][0] |= {"problems": "a1", "right": right, "n": 4,
                              "accuracy": right.count("1") / 4}
        path.write_text(json.dumps(record), encoding="utf-8")
    part = claims.gain("x: cot", "x: nocot @100", "than none", 0.0)
    assert part.each.tolist() == 2 * [[100, 100, 0, 0]] and part.n == 4
    assert part.interval() == interval([50.0, 50.0], part.each) and part.interval()[1] > 0
    assert "interval over seeds" not in claims.size(Judged(1, [part], None))
    record["rows"][0]["problems"] = "b2"
    path.write_text(json.dumps(record), encoding="utf-8")
    claims.rows.cache_clear()
    part = claims.gain("x: cot", "x: nocot @100", "than none", 0.0)
    assert part.each is None and part.interval() == (50.0, 0.0)
    assert claims.size(Judged(1, [part], None)).endswith(", the interval over seeds")


def test_nothing_is_decided_before_all_seeds_are_there():
    """Those of the control, too."""
    one, control = [part(NARROW, -10)], part(NARROW, None)
    early = Judged(1, one, control, planned=8)
    assert early.verdict() == "undecided"
    assert early.why() == "6 of 8 seeds of what decides are still to be run."
    assert Judged(1, one, control, planned=2).verdict() == "reproduced"
    alone = Judged(1, one, part(ONE, None), planned=2)
    assert alone.verdict() == "undecided" and alone.why() == "The control lacks 1 of 2 seeds."


def test_what_refutes_a_claim_needs_no_other_quantity():
    """Neither its seeds nor that it was run; but its own seeds, and those of the control."""
    refuting, unsure, none = part(NARROW, 30), part(ONE, 5), part({}, 5)
    control = part(NARROW, None)
    for others in ([], [unsure], [none], [unsure, none]):
        for parts in ([refuting, *others], [*others, refuting]):
            assert Judged(1, parts, control, planned=2).verdict() == "refuted at this scale"
            assert Judged(1, parts, control, planned=3).verdict() == "undecided"
            assert Judged(1, parts, part({}, None), planned=2).verdict() == "undecided"
    assert Judged(1, [part(NARROW, -10), unsure], control, planned=2).left() == 1


def test_a_row_is_named_without_doubt(results):
    for ref in ("x: nocot", "x: pause", "x: cot @5"):
        with pytest.raises(BadInput, match="rows are called"):
            claims.get(ref)


WIDE, NARROW, ONE = {0: 0, 1: 20}, {0: 9, 1: 11}, {0: 10}       # mean 10 points each


def part(values, bound, saved=False):
    return Part(values, " points more", " points less", "as much", bound, saved, n=7)


@pytest.mark.parametrize("values, bound, saved, verdict", [
    (NARROW, -10, False, "reproduced"), (NARROW, 5, False, "undecided"),
    (WIDE, 5, False, "undecided"), (NARROW, 30, False, "refuted at this scale"),
    (NARROW, 30, True, "reproduced"), (WIDE, 15, True, "undecided"),
    (NARROW, -10, True, "refuted at this scale"), (ONE, 5, False, "undecided"),
    (ONE, 50, False, "undecided"), ({0: 0, 1: 0}, 0, False, "reproduced"),
    ({}, 0, False, "not run")])
def test_bounds(values, bound, saved, verdict):
    """The whole interval is beyond the bound, or short of it; a single seed is never sure."""
    assert Judged(1, [part(values, bound, saved)], part(NARROW, None)).verdict() == verdict


@pytest.mark.parametrize("bounds, verdict, shown", [
    ((-10, -20), "reproduced", -10), ((-10, 11), "undecided", 11), ((-10, 30), "refuted", 30),
    ((11, 30), "refuted", 30), ((-10, None), "not run", None), ((30, None), "refuted", 30)])
def test_all_quantities_decide_and_the_least_sure_is_shown(bounds, verdict, shown):
    """None: a quantity that was not run, which cannot save what another one refutes."""
    parts = [part({} if bound is None else NARROW, bound) for bound in bounds]
    one = Judged(1, parts, part(NARROW, None))
    assert one.verdict().startswith(verdict)
    assert (one.deciding() and one.deciding().bound) == shown
    assert one.short().startswith(one.verdict())
    assert ("±" in one.short()) == (verdict == "undecided")


def test_digest():
    found = [Judged(i, [part(NARROW, bound)], part(NARROW, None))
             for i, bound in enumerate((5, 30, -10, 5, 30), 1)]
    assert claims.digest(found) == [
        "- **reproduced** (1): 3", "- **refuted at this scale** (2): 2, 5",
        "- **undecided** (2): 1, 4"]


def test_words_never_contradict_their_sign():
    """Nor is a number ever negative, and cells can be read at a glance."""
    text = claims.table()
    assert not re.search(r"[-+]\d[\d.]* ±", text)
    assert max(len(cell) for line in text.splitlines() if line.startswith("|")
               for cell in line.split("|")) <= 120
    for one in map(claims.judged, claims.CLAIMS):
        for some in [*one.parts, one.control]:
            if some.values and str(some)[0].isdigit() and some.more != some.less:
                assert (some.more in str(some)) == (some.interval()[0] >= 0)


def test_the_claims_follow_from_results():
    assert (claims.ROOT / "results/CLAIMS.md").read_text(encoding="utf-8") == claims.table()


@pytest.fixture
def ascii_locale():
    """Text that names no encoding is ASCII here (unless Python is in its UTF-8 mode)."""
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    yield
    locale.setlocale(locale.LC_CTYPE, before)


@pytest.mark.usefixtures("ascii_locale")
def test_the_file_is_utf8_in_every_locale(results, tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "table", lambda: "| 30.0 ± 1.0 |\n")
    claims.main([])
    assert (tmp_path / "results/CLAIMS.md").read_bytes() == claims.table().encode()


def test_what_was_made_anew_has_a_table_of_its_own(tmp_path, monkeypatch, capsys):
    """Seeds 0 and 1 of one folder: its claims as of results/, the others are open."""
    monkeypatch.setattr(claims, "RESULTS", claims.RESULTS)
    (tmp_path / "replace").mkdir()
    for path in (claims.ROOT / "results/replace").glob("*s[01].json"):
        shutil.copy(path, tmp_path / "replace")
    claims.rows.cache_clear()
    claims.main([str(tmp_path)])
    claims.rows.cache_clear()
    text = (tmp_path / "CLAIMS.md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    run = [line for line in text.splitlines() if line.startswith("| ") and "not run" not in line]
    assert len(run) == 2 and text.count("2 seeds x") == 1       # with the line of titles
    assert "| 7. ProsQA: codes are more accurate than a written chain | not run |  |" in text
    with pytest.raises(SystemExit) as stop:
        claims.main([str(tmp_path / "nowhere")])
    assert stop.value.code == 2 and "no such folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        claims.main([""])
    assert stop.value.code == 2 and "'': no such folder" in capsys.readouterr().err


def test_every_claim_has_what_decides_it_and_a_control():
    """A control may still be missing while seeds are to be run, as long as nothing is decided."""
    for number in EARLIER:
        one = claims.judged(number)
        assert one.parts and all(part.bound is not None for part in one.parts)
        assert one.control.values or one.verdict() == "undecided" and one.left()
        assert one.control.bound is None
