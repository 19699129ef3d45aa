"""The log of a run as columns of numbers, and as a figure."""
import math

import torch

from data.rows import drawable, label, setting

SHOWN = "loss", "excess"    # columns that curves.png draws, of those that a log has


def columns(log):
    """{column: ([step], [value])} of the rows of a log.jsonl.

    A row of eval becomes two columns: "val accuracy c=2" and "val steps c=2".
    """
    found = {}
    for row in log:
        values = {name: value for name, value in row.items() if name not in ("step", "val")}
        for tested in row.get("val", []):
            for name in ("accuracy", "steps"):
                values[f"val {name} {setting(tested)}".strip()] = tested[name]
        for name, value in values.items():
            steps, numbers = found.setdefault(name, ([], []))
            steps.append(row["step"])
            numbers.append(value)
    return found


def plot_training(log, title):
    """curves.png: the training loss and the accuracy on validation problems, over updates.

    log: the rows of log.jsonl; title: the run's name.
    """
    from matplotlib.figure import Figure    # slow to import; no pyplot, so no screen is needed
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(label(title))
    left, right = figure.subplots(1, 2)
    found = columns(log)
    for name in SHOWN:
        if name in found:
            left.plot(*found[name], marker=".", label=name)
    for name, (steps, values) in found.items():
        if name.startswith("val accuracy"):
            speed = name.removeprefix("val accuracy").strip()
            right.plot(steps, [100 * v for v in values], marker="o", label=speed or "greedy")
    left.set(title="training loss: mean since the last point", ylabel="loss")
    right.set(title="accuracy on validation problems", ylabel="accuracy, %")
    for axes in (left, right):
        dress(axes)
    right.set(yscale="linear", ylim=(0, 103))
    return figure


def plot_column(logs, name):
    """A figure of one column of several logs, {run: rows of its log}, over updates."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for run, log in logs.items():
        steps, values = columns(log).get(name, ([], []))
        if steps:
            axes.plot(steps, values, marker=".", label=label(run))
    axes.set(title=f"{drawable(name)} over updates", ylabel=drawable(name))
    dress(axes)
    return figure


def dress(axes):
    """Labels, and a logarithmic y-axis where values above 0 differ by more than 10 times."""
    values = torch.tensor([value for line in axes.lines for value in line.get_ydata()])
    if len(values) and values.min() > 0 and 10 * values.min() < values.max() < math.inf:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("updates")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8)
