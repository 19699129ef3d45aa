"""One way down: a file imports only what stands before it in ORDER, and never inside a function.
And no more at the top than can be read in an afternoon."""
import ast
import re
from pathlib import Path

import pytest
import torch

import runs
import tests
from data.common import batches
from lab.walk import Walk
from train import Training

ROOT = Path(__file__).parents[1]
ORDER = ("data", "model", "recurrent", "method", "baselines", "colar", "vqvae", "runs", "eval",
         "train", "rl", "lab", "look", "sweep")
FOLDERS = "data", "lab"     # whose files may import each other
TOP = sorted(ROOT.glob("*.py"))
FILES = [*TOP, *sorted(ROOT.glob("data/*.py")), *sorted(ROOT.glob("lab/*.py"))]
LONGEST, WIDEST = 450, 100      # lines of a file of TOP, characters of a line
STEP = 30       # functions that one update of CoLaR passes
LESSON = [path for path in TOP if ORDER.index(path.stem) < ORDER.index("lab")]
TOGETHER = 3577     # lines of all of LESSON


def floor(module):
    """Where a module stands: "data.common" -> 0. None if it is none of the project's."""
    name = module.split(".")[0]
    return ORDER.index(name) if name in ORDER else None


def faults(module, source):
    """What is wrong with the imports of one file, as text."""
    tree, here, found = ast.parse(source), floor(module), []
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
            if node.level:
                found.append(f"{module}:{node.lineno} a relative import")
                continue
        else:
            continue
        for name in names:
            there = floor(name)
            if there is None:
                continue
            if id(node) not in top:
                found.append(f"{module}:{node.lineno} imports {name} inside a function")
            if there > here or there == here and ORDER[here] not in FOLDERS:
                found.append(f"{module}:{node.lineno} imports {name}, which stands above it")
    return found


def circle(graph):
    """The modules of {module: modules that it imports} that import each other in a circle."""
    graph = {name: set(others) & set(graph) - {name} for name, others in graph.items()}
    while free := [name for name, others in graph.items() if not others]:
        graph = {name: others - set(free) for name, others in graph.items() if name not in free}
    return set(graph)


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_file_imports_only_what_stands_before_it(path):
    assert not faults(module_of(path), path.read_text(encoding="utf-8"))


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("path", TOP, ids=module_of)
def test_a_file_of_the_top_level_is_short(path):
    assert len(lines(path)) <= LONGEST


def test_the_top_level_is_short():
    assert sum(len(lines(path)) for path in LESSON) <= TOGETHER


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_lines_are_no_longer_than_they_may_be(path):
    assert max(map(len, lines(path)), default=0) <= WIDEST


def test_one_update_of_colar_passes_few_functions():
    """As `python -m lab.walk` counts them."""
    config = runs.parse(["--method", "colar", "--size", "nano"]) | {"max_think": 9, "max_answer": 2}
    task, method = runs.build(config)
    training = Training(method, config, torch.device("cpu"), torch.float32)
    batch = next(batches(task, method.vocab, config["batch"]))
    with Walk(ROOT) as walk:
        training.update([batch])
    assert 20 < len(walk.found) <= STEP, walk.found


def test_no_circle():
    """Also none inside data/ and lab/, whose files share a floor."""
    graph = {module_of(p): set(imports(p.read_text(encoding="utf-8"))) for p in FILES}
    assert not circle(graph)


def test_every_file_has_its_floor():
    assert {module_of(p).split(".")[0] for p in FILES} <= set(ORDER)


@pytest.mark.parametrize("module, source", [
    ("model", "from data.common import PAD\nimport colar"),
    ("data.gsm8k", "import torch\nfrom runs import Parser"),
    ("eval", "def f():\n    from model import GPT"),
    ("train", "if True:\n    import rl"),
    ("colar", "from . import model"),
    ("lab.controls", "import look")])
def test_what_is_wrong_is_found(module, source):
    assert len(faults(module, source)) >= 1


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == {"a", "b", "c"}
    assert not circle({"a": {"b"}, "b": {"c"}, "c": set()})


def test_the_table_of_tests_names_what_there_is():
    known = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/test_*.py"))
    for name in re.findall(r"\b(test_\w+)(?!\.py|\w)", tests.__doc__):
        assert f"def {name}(" in known, name
