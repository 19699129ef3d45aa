"""The table of claims: numbers and verdicts follow from results/."""
import json
import locale
import math
import re
import shutil

import pytest

from data.cli import BadInput
from lab import claims, reproduce
from lab.claims import Claim, Part
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
    part = claims.gain("x: cot", "x: nocot @100", "over none", 5.0)
    mean, half = part.interval()
    assert mean == pytest.approx(30) and half == pytest.approx(STUDENT[0] * 10)
    assert str(part) == f"+30.0 ± {STUDENT[0] * 10:.1f} points over none" and part.n == 50
    part = claims.change("x: nocot @100", "x: cot", "steps")
    assert str(part) == "-50.0 ± 0.0% steps"
    assert str(claims.value("x: nocot @200", "alone")) == f"65.0 ± {STUDENT[0] * 5:.1f}% alone"


def test_a_row_is_named_without_doubt(results):
    for ref in ("x: nocot", "x: pause", "x: cot @5"):
        with pytest.raises(BadInput, match="rows are called"):
            claims.get(ref)


WIDE, NARROW, ONE = {0: 0.0, 1: 0.2}, {0: 0.09, 1: 0.11}, {0: 0.1}     # mean 10 points each


@pytest.mark.parametrize("values, bound, upper, mean, sure", [
    (NARROW, -10, False, True, True), (NARROW, 5, False, True, False),
    (WIDE, 5, False, True, False), (NARROW, 11, False, False, False),
    (NARROW, 30, True, True, True), (WIDE, 15, True, True, False),
    (NARROW, 9, True, False, False), (ONE, 5, False, True, False)])
def test_bounds(values, bound, upper, mean, sure):
    """Its mean, and its whole interval, beyond the bound; a single seed is never sure."""
    part = Part(values, "points", "", bound, upper)
    assert (part.holds(sure=False), part.holds(sure=True)) == (mean, sure)


def test_verdicts():
    def verdict(*bounds):
        parts = [Part(NARROW, "points", "", bound, n=7) for bound in bounds]
        return Claim("", "", parts, [], "").verdict()
    assert verdict(-10, -20) == "reproduced"
    assert verdict(-10, 11) == verdict(5, 11) == verdict(5) == "partly"
    assert verdict(11) == verdict(11, 12) == "not at this scale"
    saved = Part({0: -0.5, 1: -0.6}, "%", "", -10, upper=True, n=7)
    assert Claim("", "", [saved, Part(NARROW, "points", "", 11)], [], "").verdict() == \
        "not at this scale"         # to save is not enough
    assert Claim("", "", [], [saved], "").verdict() == "open"
    claim = Claim("", "", [Part(NARROW, "%", "", n=7), Part(ONE, "%", "", n=9)], [], "")
    assert claim.size() == "1 x 7"
    assert math.isnan(Part(ONE, "%", "").interval()[1]) and str(Part(ONE, "%", "a")) == "10.0% a"


def test_digest():
    sure, unsure = Part(NARROW, "points", "", 5, n=7), Part(NARROW, "points", "", 11, n=7)
    found = [Claim("", "", parts, [], "") for parts in ([sure], [unsure], [], [sure], [unsure])]
    assert claims.digest(found) == [
        "- **partly**: 1, 4", "- **not at this scale**: 2, 5", "- **open**: 3"]


def test_the_claims_follow_from_results():
    assert (claims.ROOT / "results/CLAIMS.md").read_text(encoding="utf-8") == claims.table()


@pytest.mark.parametrize("name", claims.READMES)
def test_the_readme_follows_from_results(name):
    """Its tables, and the differences in its text; any other interval there stands in a table."""
    text = (claims.ROOT / name).read_text(encoding="utf-8")
    assert claims.refresh(text) == text
    tables = claims.table() + " ".join(match[0] for match in claims.TABLE.finditer(text))
    prose = claims.TABLE.sub("", claims.DIFFERENCE.sub("", text))
    for number in re.findall(r"[\d.]+ ± [\d.]+\d", prose):
        assert number in tables, number


def test_a_changed_difference_is_put_right(results):
    rows = "<!-- x: {} | x: {} -->"
    one, other = rows.format("cot", "nocot @100"), rows.format("nocot @100", "cot")
    new = claims.refresh(f"CoT is 7.0 ± 1.0{one} and +1 ± 1{other}")
    assert new.startswith(f"CoT is 30.0 ± {STUDENT[0] * 10:.1f}{one} and -30.0 ± ")
    assert claims.refresh(new) == new


@pytest.fixture
def ascii_locale():
    """Text that names no encoding is ASCII here (unless Python is in its UTF-8 mode)."""
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    yield
    locale.setlocale(locale.LC_CTYPE, before)


@pytest.mark.usefixtures("ascii_locale")
def test_files_are_utf8_in_every_locale(results, tmp_path, monkeypatch):
    """Of a README only the differences change: "naïve" stays what it is, byte by byte."""
    monkeypatch.setattr(claims, "table", lambda: "| 30.0 ± 1.0 |\n")
    rows = "<!-- x: cot | x: nocot @100 -->"
    for name in claims.READMES:
        (tmp_path / name).write_bytes(f"A naïve sum: 7.0 ± 1.0{rows}\n".encode())
    claims.main([])
    for name in claims.READMES:
        new = f"A naïve sum: 30.0 ± {STUDENT[0] * 10:.1f}{rows}\n"
        assert (tmp_path / name).read_bytes() == new.encode()
    assert (tmp_path / "results/CLAIMS.md").read_bytes() == claims.table().encode()


def test_what_was_made_anew_has_a_table_of_its_own(tmp_path, monkeypatch, capsys):
    """Seeds 0 and 1 of one folder: its claims as of results/, the others are open."""
    monkeypatch.setattr(claims, "RESULTS", claims.RESULTS)
    (tmp_path / "depth").mkdir()
    for path in (claims.ROOT / "results/depth").glob("*s[01].json"):
        shutil.copy(path, tmp_path / "depth")
    claims.rows.cache_clear()
    claims.main([str(tmp_path)])
    claims.rows.cache_clear()
    text = (tmp_path / "CLAIMS.md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    lines = {line.split(" | ")[2]: line for line in text.splitlines() if line.startswith("| ")}
    run = [line for line in lines.values() if "**open**" not in line]
    assert len(lines) == 21 and len(run) == 4 and all("| 2 x " in r for r in run[1:])
    assert "(not run) over CoT" in lines["ProsQA: +18.7 points; ProntoQA: +1.2, not learned here"]
    with pytest.raises(SystemExit) as stop:
        claims.main([str(tmp_path / "nowhere")])
    assert stop.value.code == 2 and "no such folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        claims.main([""])
    assert stop.value.code == 2 and "'': no such folder" in capsys.readouterr().err


def test_all_claims_have_three_seeds_a_control_and_folders():
    found = [*claims.colar(), *claims.assorted(), *claims.depth(), *claims.ours()]
    assert len(found) == 20
    for claim in found:
        assert claim.control and claim.size().startswith("3 x ")
    assert reproduce.plan({folder for claim in found for folder in claim.folders.split()})
