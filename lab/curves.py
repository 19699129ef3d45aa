"""The logs of runs, in one figure or as a table for other programs.

    python -m lab.curves RUN RUN --plot loss.png                # training loss over updates
    python -m lab.curves RUN RUN --y ce --plot ce.png           # another column of log.jsonl
    python -m lab.curves RUN --y "val accuracy c=2" --plot val.png
    python -m lab.curves RUN RUN --csv log.csv                  # all columns of all stages

The table has a line per row of a log: run, stage, step, and every column, empty where a row has
none. pandas.read_csv("log.csv") reads it; for TensorBoard, loop over its lines and call
SummaryWriter.add_scalar(column, value, step).
"""
import csv
import io
from pathlib import Path

from data.cli import BadInput, Flag, Parser, choice, one_line
from data.curves import columns, plot_column
from data.files import can_draw, draw, read_log, writable, write
from data.rows import names_of
from data.script import read_config
from runs import METHODS

FLAGS = {
    "y": Flag("loss", "the column to draw: loss, norm, tokens_per_s, a part of the loss ...",
              idle=lambda settings: "" if settings["plot"] else "without --plot"),
    "plot": Flag("", "draw the logs into this .png, .pdf or .svg"),
    "csv": Flag("", "write all logs to this file, as a table"),
}


def stages(folder):
    """[(stage, rows of its log)] of a run: of what it started from, if that is in its folder, and
    its own, last. BadInput for a folder that is no run, or that has logged nothing."""
    config = read_config(Path(folder) / "config.json")
    if config is None:
        raise BadInput(f"{folder}: no config.json there, not a run folder")
    first = choice(config.get("method"), METHODS, "method").PARENT
    found = [(first, read_log(Path(folder) / first / "log.jsonl"))] if first else []
    found.append((config.get("stage", config["method"]), read_log(Path(folder) / "log.jsonl")))
    if not found[-1][1]:
        raise BadInput(f"{folder}: its log.jsonl has no rows yet")
    return found


def as_csv(logs):
    """{run: [(stage, rows)]} as the text of a table."""
    lines = []      # {column: value}, one for each step of a stage
    for run, parts in logs.items():
        for stage, rows in parts:
            at = {}
            for name, (steps, values) in columns(rows).items():
                for step, value in zip(steps, values):
                    at.setdefault(step, {"run": run, "stage": stage, "step": step})[name] = value
            lines += [at[step] for step in sorted(at)]
    names = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    table = csv.DictWriter(text, names, lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    return text.getvalue()


def main(argv=None):
    parser = Parser("lab.curves", __doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_flags(FLAGS)
    with one_line("lab.curves"):
        args = parser.parse(argv)
        if not args["plot"] and not args["csv"]:
            raise BadInput("--plot FILE or --csv FILE: one of them is needed")
        if args["plot"] == args["csv"]:
            raise BadInput(f"--plot and --csv: both are {args['csv']}")
        if args["plot"]:
            can_draw(args["plot"])
        if args["csv"]:
            writable(args["csv"])
        logs = dict(zip(names_of(args["runs"]), map(stages, args["runs"])))
        own = {run: parts[-1][1] for run, parts in logs.items()}
        if args["plot"]:
            known = dict.fromkeys(name for log in own.values() for name in columns(log))
            choice(args["y"], known, "column --y")
            draw(plot_column(own, args["y"]), args["plot"])
        if args["csv"]:
            write(args["csv"], as_csv(logs))


if __name__ == "__main__":
    main()
