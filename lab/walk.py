"""How far a reader walks: the functions between a command and what it is about, and their files.

    python -m lab.walk                      # this tree
    python -m lab.walk --tree FOLDER        # another checkout, by the same count

Two walks at size nano, with every function of the project counted once, when it is first entered:

gradient    from `python train.py --method colar` to the first gradient of CoLaR; its first stage,
            validated on the way, included. With --init: from a trained first stage
update      one `Training.update` of CoLaR

A change of file is a new function in another file than the new function before it. Functions are
those with a `def`; comprehensions and lambdas are not. Another version of Python calls the same
ones, but compare trees on one.
"""
import argparse
import importlib
import os
import sys
import tempfile
from pathlib import Path


class Arrived(Exception):
    """The end of the walk."""


class Walk:
    """Functions of the project in the order in which they are first called."""

    def __init__(self, tree):
        self.tree, self.found = str(tree) + os.sep, {}

    def __call__(self, frame, event, _):
        code = frame.f_code
        mine = (code.co_filename.startswith(self.tree) and code.co_filename != __file__
                and "site-packages" not in code.co_filename)    # of an environment in the tree
        if event == "call" and mine and code.co_name[0] != "<":
            file = code.co_filename.removeprefix(self.tree)
            self.found.setdefault((file, code.co_firstlineno), code.co_name)

    def __enter__(self):
        sys.setprofile(self)
        return self

    def __exit__(self, kind, *_):
        sys.setprofile(None)
        return kind is Arrived

    def __str__(self):
        files = [file for file, _ in self.found]
        changes = sum(a != b for a, b in zip(files, files[1:]))
        return f"{len(files)} functions in {len(set(files))} files, {changes} changes of file"


def method_of(frame):
    """The name of the method that is being trained, seen from a call inside Training."""
    while frame:
        method = getattr(frame.f_locals.get("self"), "method", None)
        if method is not None:
            return type(method).__name__
        frame = frame.f_back
    return ""


def walks(tree):
    """{name: Walk} of the train.py in the folder `tree`."""
    sys.path.insert(0, str(tree))
    torch, train = map(importlib.import_module, ("torch", "train"))     # of that tree
    backward = torch.Tensor.backward

    def arrive(*args, **kwargs):
        backward(*args, **kwargs)
        if method_of(sys._getframe(1)) == "CoLaR":
            raise Arrived
    argv = ["--method", "colar", "--size", "nano", "--threads", "1"]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        train.main([*argv, "--out", "run"])
        torch.Tensor.backward = arrive
        for name, more in (("gradient", []), ("gradient --init", ["--init", "run/cot"])):
            with Walk(tree) as found[name]:
                train.main([*argv, *more, "--out", name.replace(" ", "")])
        torch.Tensor.backward = backward
        update = train.Training.update

        def watched(self, *args):
            if type(self.method).__name__ != "CoLaR":
                return update(self, *args)
            with Walk(tree) as found["update"]:
                update(self, *args)
            sys.exit()
        train.Training.update = watched
        try:
            train.main([*argv, "--init", "run/cot", "--out", "update"])
        except SystemExit:
            pass
        os.chdir(tree)
    return found


def main(argv=None):
    # argparse, not data.cli: `data` has to be that of the other tree
    parser = argparse.ArgumentParser("lab.walk", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, metavar="FOLDER", default=Path(__file__).parents[1],
                        help="a checkout [this one]")
    parser.add_argument("--show", action="store_true", help="list the functions, too")
    args = parser.parse_args(argv)
    if not (args.tree / "train.py").exists():
        parser.error(f"--tree {args.tree}: no train.py there")
    for name, walk in walks(args.tree.resolve()).items():
        print(f"{name:<16} {walk}")
        if args.show:
            print("\n".join(f"    {file}:{line} {name}"
                            for (file, line), name in walk.found.items()))


if __name__ == "__main__":
    main()
