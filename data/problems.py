"""The problems that a command is about: of a split, or of the files that its flags name."""
import os

from data.cli import BadInput, choice
from data.common import first_problems, splits_of
from data.files import digest, reason
from data.records import FileTask, mixed, read_problems

FILES = ("data", "extra")   # flags that name files


def paths_of(config, flag):
    """The paths that a flag names: --extra takes several, with commas between them."""
    paths = config.get(flag, "")
    return [path for path in (paths.split(",") if flag == "extra" else [paths]) if path]


def with_files(config):
    """A config whose files are named from the root, so that it can be opened from anywhere, and
    which has what they hold, as "data_sha256", to know them again.

    BadInput for one that cannot be read.
    """
    if config["data"] and config.get("extra"):
        raise BadInput("--extra: adds to the problems of a task, which --data replaces")
    for flag in FILES:
        given, digests = paths_of(config, flag), []
        for path in given:
            try:
                digests.append(digest(path))
            except (OSError, ValueError) as error:
                raise BadInput(f"--{flag} {path}: {reason(error)}") from None
        if given:
            config = config | {flag: ",".join(map(os.path.abspath, given)),
                               f"{flag}_sha256": ",".join(digests)}
    return config


def problems(task, args):
    """The examples to evaluate on: of a split, or of a file but for what the run was trained on.

    Prints what is said of the file.
    """
    if args.data:
        if args.split != "test":
            raise BadInput(f"--split {args.split}: --data takes all problems of a file")
        examples, line = read_problems(task, args.data)
        print(line)
        if isinstance(task, FileTask):
            task.look_in(args.data)
        new = unseen(task, examples)
        if not new:
            raise BadInput(f"--data {args.data}: the run was trained on all of its problems")
        return mixed(new)[:args.n] if args.n else new
    choice(args.split, splits_of(task), "split")
    if isinstance(task, FileTask):
        print(task.summary)
    return first_problems(task, args.split, args.n or 500)


def unseen(task, examples):
    """The examples that a run on this task has not trained on, as far as that is known.

    Says how many it has. A generated task knows nothing of it: it has no list of what it drew.
    """
    if not hasattr(task, "trained_on"):
        return examples
    try:
        seen = task.trained_on(examples)
    except BadInput as error:
        print(f"problems that the run was trained on, if any, are not left out: {error}")
        return examples
    if any(seen):
        print(f"{sum(seen)} problems that the run was trained on or watched with are left out")
    return [e for e, known in zip(examples, seen) if not known]
