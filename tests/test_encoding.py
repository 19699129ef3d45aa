"""In every locale files are UTF-8, and names of files that are not can be printed and drawn."""
import ast
import io
import sys
from pathlib import Path

import pytest

import eval as evaluation
import train

ROOT = Path(__file__).parent.parent
SOURCES = sorted({*ROOT.glob("*.py"), *ROOT.glob("*/*.py"), *ROOT.glob("tests/**/*.py")})


def unnamed(source):
    """Lines of the calls in `source` that read or write text in the locale's encoding."""
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        mode = ast.unparse(given.get("mode", ast.Constant("r")))
        match call.func:
            case ast.Name("open") | ast.Attribute(_, "fdopen"):
                mode = ast.unparse(call.args[1]) if call.args[1:] else mode
                text = "b" not in mode
            case ast.Attribute(ast.Name("os"), "open"):     # of bytes
                text = False
            case ast.Attribute(_, "open"):                  # of a Path
                mode = ast.unparse(call.args[0]) if call.args else mode
                text = "b" not in mode
            case ast.Attribute(_, "read_text" | "write_text"):
                text = True
            case _:                                         # of subprocess
                text = {"text", "universal_newlines"} & given.keys()
        if text and "encoding" not in given:
            yield call.lineno


@pytest.mark.parametrize("source, found", [
    ("open(p)", 1), ("open(p, 'a')", 1), ("open(p, mode='w')", 1), ("open(p, 'wb')", 0),
    ("open(p, 'wb' if new else 'ab')", 0), ("open(p, encoding='utf-8')", 0),
    ("p.open()", 1), ("p.open('rb')", 0), ("p.read_text()", 1), ("p.write_text('x')", 1),
    ("p.write_text('x', encoding='utf-8')", 0), ("run(c, text=True)", 1), ("os.open(p, 0)", 0),
    ("run(c, text=True, encoding='utf-8')", 0)])
def test_what_counts_as_no_encoding(source, found):
    assert len(list(unnamed(source))) == found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_file_names_its_encoding(path):
    lines = list(unnamed(path.read_text(encoding="utf-8")))
    assert not lines, f"{path.name}: no encoding in lines {lines}"


def test_names_that_are_no_utf8_are_printed(tmp_path, monkeypatch):
    """A folder named with the byte ff, and an output that takes only what its encoding has."""
    out = tmp_path / "$^$ run\udcff"
    try:
        out.mkdir()
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system has no such names")
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    monkeypatch.setattr(sys, "stdout", printed)
    train.main(["--method", "nocot", "--task", "permutation", "--size", "nano", "--steps", "1",
                "--val-n", "2", "--test-n", "2", "--threads", "1", "--out", str(out)])
    evaluation.main([str(out), "--n", "2", "--json", str(out / "rows.json"), "--plot",
                     str(out / "rows.png")])
    printed.flush()
    assert r"$^$ run\udcff" in printed.buffer.getvalue().decode()
    assert (out / "rows.json").exists() and (out / "rows.png").exists()
