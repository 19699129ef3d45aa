"""What CoLaR's latents hold: do the words nearest to each latent belong to the true chain?

    python -m lab.latents RUN --c 1,2,5         # flags as of eval.py

Adds the column "latents read" to the rows of eval.py: of the latents at whose place the true chain
has a group, the share whose nearest words are the different words of that group.
"""
import eval as evaluation
from data.cli import BadInput
from eval import in_batches, split_knobs
from method import can


def decoded(method, examples, knobs):
    """Share of latents whose nearest words are the different words of the true chain's group.

    Of the latents at whose place there is a group; both chains are as long as a rule.
    """
    hits = total = 0
    method_knobs, backbone_knobs = split_knobs(method, knobs)
    for some, batch in in_batches(method, examples):
        with method.model.using(**backbone_knobs):
            thoughts = method.latent_words(method.rollout(batch, 1, **method_knobs))
        for example, latents in zip(some, thoughts):
            for words, group in zip(latents, method.true_groups(example, **method_knobs)):
                hits += set(words[:len(set(group))]) == set(group)
                total += 1
    return hits / max(1, total)


def measure(name, method, task, examples, settings, args):
    if not can(method, "latent_words"):
        raise BadInput(f"{name}: it has no latents to read; a run of colar is needed")
    if args.k:
        raise BadInput("--k: of eval.py; the latents read here are greedy ones")
    rows = evaluation.measure(name, method, task, examples, settings, args)
    for row in rows:
        if isinstance(row["knobs"]["c"], int):
            row["decoded"] = decoded(method, examples, row["knobs"])
    return rows


def main(argv=None):
    evaluation.main(argv, "lab.latents", __doc__, measure)


if __name__ == "__main__":
    main()
