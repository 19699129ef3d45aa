"""Every command of README.md, docs/, course/, results/ and of all docstrings is one that its script
takes, every flag that they name is one of a script, and every file is there: they cannot rot.
(LOG.md is history.)

A command is read by the parser of its script, bounds of its values included, and then stopped:
nothing runs, and RUN or FILE need not exist.
"""
import argparse
import ast
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from data.cli import Parser

ROOT = Path(__file__).parents[1]
LEFT_OUT = "LOG.md",     # of results/
PAGES = [ROOT / "README.md", *(path for folder in ("docs", "course", "results")
                               for path in sorted(ROOT.glob(f"{folder}/*.md"))
                               if folder != "results" or path.name not in LEFT_OUT)]
SCRIPTS = [path for folder in ("", "data/", "lab/", "course/")
           for path in sorted(ROOT.glob(f"{folder}*.py"))]
TESTS = sorted(ROOT.glob("tests/**/*.py"))
COMMAND = re.compile(r"(?:python|torchrun --\S+) (?:-m [\w.]+|[\w/]+\.py)(?: .*)?")
MEANT = {"S": "0"}      # what stands for a number
FLAG = re.compile(r"(?<![\w-])--(?:no-)?([a-z][\w-]*)")
DECLARED = re.compile(r'"(\w+)": (?:\w+\.)*(?:Flag\(|FLAGS\[|LATENTS)|add_argument\("--([\w-]+)"')
OTHERS = {"nproc_per_node", "always", "tags", "version",   # of torchrun, git and python
          "name", "flag", "tau"}        # examples of a flag


class Parsed(Exception):
    """The parser had no objection."""


def commands(text, blocks):
    """The commands of a text, without comments: of its lines, if `blocks` in blocks of code, fenced
    or indented, and of what stands in `code`; a line that ends in a backslash goes on."""
    if blocks:
        parts = re.split(r"^```.*$", text, flags=re.M)
        lines = [line for part in parts[1::2] for line in joined(part)]
        lines += [line for part in parts[::2] for line in joined(part) if line.startswith("    ")]
        lines += re.findall(r"`([^`\n]+)`", "".join(parts[::2]))
    else:
        lines = joined(text)
    for line in lines:
        for part in line.split("&&"):
            if COMMAND.fullmatch(part.strip()):
                yield shlex.split(part, comments=True)


def joined(text):
    return re.sub(r"\\\n\s*", " ", text).splitlines()


def found():
    """Each command of the pages and docstrings, named by where it stands."""
    for path in [*PAGES, *SCRIPTS, *TESTS]:
        for words in commands(text_of(path), path.suffix == ".md"):
            yield pytest.param(words, id=f"{path.relative_to(ROOT)}: {' '.join(words)}")


def text_of(path):
    """A page; of a Python file all docstrings."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    have = ast.Module, ast.ClassDef, ast.FunctionDef
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, have)]
    return "\n".join(filter(None, map(ast.get_docstring, nodes)))


def flags():
    """The names of all flags that a script declares."""
    text = "".join(path.read_text(encoding="utf-8") for path in [*SCRIPTS, ROOT / "tests/fuzz.py"])
    return {(a or b).replace("_", "-") for a, b in DECLARED.findall(text)}


def parse(words, monkeypatch):
    """Gives the words of a command to the parser of its script. Parsed if it takes them."""
    read, read_plain = Parser.parse, argparse.ArgumentParser.parse_args

    def stop(self, *args):
        read(self, *args)
        raise Parsed

    def stop_plain(self, *args):
        values = read_plain(self, *args)
        if isinstance(self, Parser):
            return values       # `stop` goes on with them
        raise Parsed
    monkeypatch.setattr(Parser, "parse", stop)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop_plain)
    _, *words = [word for word in words if not word.startswith("--nproc")]
    module = words[0] == "-m"
    script, *argv = words[module:]
    argv = [MEANT.get(word, word) for word in argv if word not in ("--help", "...")]
    monkeypatch.setattr(sys, "argv", [script, *argv])
    if module:
        monkeypatch.delitem(sys.modules, script, raising=False)     # else runpy warns
        runpy.run_module(script, run_name="__main__")
    else:
        runpy.run_path(str(ROOT / script), run_name="__main__")


@pytest.mark.parametrize("words", list(found()))
def test_a_command_is_taken_by_its_script(words, monkeypatch):
    if words[1:3] == ["-m", "pytest"]:
        assert all(Path(ROOT, word).exists() for word in words if word.startswith("tests/"))
        return
    with pytest.raises(Parsed):
        parse(words, monkeypatch)


@pytest.mark.parametrize("command", [
    "python train.py --metod cot", "python train.py --method colour", "python eval.py",
    "python eval.py RUN --c 99", "python -m lab.walk --tre .", "python none.py",
    "python -m lab.none", "torchrun --nproc_per_node=2 train.py x"])
def test_a_command_that_is_wrong_is_caught(command, monkeypatch, capsys):
    (words,) = commands(command, False)
    with pytest.raises((SystemExit, OSError, ImportError)) as stop:
        parse(words, monkeypatch)
    assert getattr(stop.value, "code", 2) == 2


def test_commands_are_found():
    text = "Run `python a.py --x`, not `python`.\n```\npip install x && python -m b  # why\n```"
    assert list(commands(text, True)) == [["python", "-m", "b"], ["python", "a.py", "--x"]]
    assert list(commands("Run:\n\n    python a.py --x     # why\n\npython b.py", True)) == [
        ["python", "a.py", "--x"]]
    assert list(commands("    python a.py \\\n        --x     # why", False)) == [
        ["python", "a.py", "--x"]]


@pytest.mark.parametrize("path", [*PAGES, *SCRIPTS, *TESTS], ids=lambda path: path.name)
def test_a_flag_that_is_named_is_one_of_a_script(path):
    """In a sentence, too, where no command can be parsed."""
    assert not set(FLAG.findall(text_of(path))) - flags() - OTHERS


def test_flags_are_found():
    assert FLAG.findall("`--lr 1`, --no-align; a--b, x --- y and --c-train.") == [
        "lr", "align", "c-train"]
    assert {"lr", "c-train", "align", "latents", "resume", "k", "level"} < flags()
    assert not {"clip", "accum", "drop", "punish"} & flags()        # as flags were called once


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_what_a_page_names_is_there(page):
    """The files that it links to, and the Python files in `code`."""
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", text)
    assert not [link for link in links if not (page.parent / link).exists()]
    files = re.findall(r"`([\w/]+\.py)`", text)
    assert not [file for file in files
                if not (ROOT / file).exists() and not (page.parent / file).exists()]


def test_findings_share_one_torch():
    """Another one would be downloaded beside it, and may be a build for GPUs."""
    text = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("findings/*.sh"))
    assert len(set(re.findall(r" (torch==[\d.]+)", text))) == 1
    assert "torchvision==" not in text      # it fits only a torch that was built as it was
