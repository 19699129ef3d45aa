"""Reinforcement learning of the chain: GRPO on a trained run. CoLaR's second stage, 2505.16552.

A question is answered G times; what a group's right answers did is made likelier, what its wrong
ones did less likely. The latent head's own noise is what silent chains differ by, and, with
--c auto, the speed token, which the model then writes itself.

    (1) reward      r_i = 1 if the answer is right, else 0
    (2) advantage   A_i = (r_i - mean r) / std r, over the rollouts of one question at one speed;
                    0 if all are equal. For a speed: over all G of the question
    (3) ratio       rho_t = exp(log p(a_t) - log p_old(a_t)) for every action a_t of a rollout:
                    a latent z_t (log p: the mean over dimensions of log N(z_t; mu, sigma)), the
                    decision to stop or not, a word, a speed
    (4) objective   J = mean over rollouts of  sum over kinds of action of
                    1/T sum_t min(rho_t A, clip(rho_t, 1 - eps, 1 + eps) A), over the T of the kind
    loss = -J + beta KL(policy, start)

The mean over T actions in (4) is the paper's length pressure: a latent of a short right
chain weighs more than one of a long right chain (--no-average: every action of the batch weighs the
same). --punish p adds a price: what decides the length (a speed, to stop; the words of an explicit
chain) gets the advantage of r_i / n_i^p, n_i the thinking steps. The paper's code has p = 1 as an
option. (2) is GRPO (2402.03300), the clip PPO's (1707.06347).

Differs from the paper:
 1. Not to stop after a latent is an action too, and both are a kind of their own; there, only
    stopping has a log-probability, averaged with the answer's words, and what made a chain long is
    never made less likely.
 2. Rollouts without any advantage are left out of the update, and those that have one counted.
 3. The answer is sampled from the whole softmax, as it is scored, but for <pad>; theirs from its
    top 0.9.
 4. Log-probabilities before the update are computed again, so that the first ratio is exactly 1.
 5. --no-average divides the sum by a measured mean length; there, by 32.
 6. sigma has a floor (--sigma-min), as soft-MSE leaves none to explore with; there, the NLL head's.
 7. Their reward over length counts for all actions: a long right chain would teach its latents that
    they were wrong.
 8. A KL penalty (--beta), exact for latents. Their ratio, a mean over dimensions, hardly ever meets
    the clip, so nothing else keeps a latent's mean from drifting by many sigmas.
 9. Longer problems than the run was trained on most (--split), 64 questions per batch instead of 8,
    a learning rate of 5e-5 for a small model instead of 1e-6 for LoRA.
It works alike on explicit chains of thought: the control for what such learning does alone.

    python rl.py runs/colar-arithmetic-tiny-s0                  # minutes on 2 CPU cores
    python rl.py runs/colar-arithmetic-tiny-s0-rl --c auto --punish 2 --steps 30    # then, shorter
    python rl.py runs/colar-arithmetic-tiny-s0/cot              # the control
"""
import argparse
import copy
import json
import time
from pathlib import Path

import torch

import eval as evaluation
import runs
import train
from data.cli import BadInput, choice
from data.common import MAX_SPEED, take
from tables import table
from train import Training

FLAGS = {
    "split": ("auto", "split to learn on; auto: long if the task has one, else its usual one"),
    "c": ("5", "compression factor, if the method has one; auto: the model learns to pick it"),
    "steps": (100, "rollout batches"),
    "batch": (64, "questions per rollout batch"),
    "samples": (8, "G, rollouts per question"),
    "minibatch": (32, "rollouts per optimizer step, of those that teach something"),
    "sigma_min": (0.1, "floor of the latent head's sigma, the noise that explores"),
    "eps": (0.2, "clip range of the ratio"),
    "learn": ("", "kinds of action to learn from, as latent,token; '' = all"),
    "punish": (0.0, "power p of the chain length that the reward is divided by; 0 = no price"),
    "beta": (0.03, "weight of the KL to the start; 0: none, as in the paper"),
    "average": (True, "average over the actions of a rollout; off: over those of the batch"),
    "lr": (5e-5, "learning rate"),
    "warmup": (10, "rollout batches of linear warm-up"),
    "decay": (0.5, "last share of the rollout batches, in which the rate falls linearly to 0"),
    "clip": (1.0, "largest gradient norm"),
    "val_n": (100, "validation problems, solved five times in a run"),
    "test_n": (500, "test problems for the final table"),
    "seed": (0, "of rollouts and questions; unless given, that of the run"),
    **{name: runs.FLAGS[name] for name in ("device", "dtype", "threads")},
}
SHOWN = [name for name in FLAGS if name not in (        # what names a row of a table
    "split", "steps", "val_n", "test_n", "seed", "device", "dtype", "threads")]


def advantages(reward, option):
    """Eq. (2): reward (Q, G) -> (Q, G), each group to mean 0, std 1; zeros if all are equal.

    option (Q, G): a group are the rollouts of a question that have the same one.
    """
    peers = (option[:, :, None] == option[:, None]).float()                 # (Q, G, G)
    n = peers.sum(2)
    centred = reward - (peers @ reward[..., None])[..., 0] / n
    spread = ((peers @ centred[..., None] ** 2)[..., 0] / (n - 1).clamp(min=1)).sqrt()
    some = spread > 1e-5 * reward.abs().max()           # more than what rounding leaves
    return torch.where(some, centred / (spread + 1e-8), 0)              # unbiased, as theirs


def surrogate(logp, old, mask, advantage, eps, average):
    """Eq. (4) for one kind of action: the loss, -J, and the share of ratios that are clipped.

    logp, old, mask (R, T): of every action, now and before the update; advantage (R,).
    """
    A = advantage[:, None]
    rho = (logp - old).masked_fill(~mask, 0).exp()                  # (R, T)
    gain = torch.minimum(rho * A, rho.clamp(1 - eps, 1 + eps) * A) * mask
    T = mask.sum(1) if average else mask.sum() / len(mask)
    clipped = (((rho - 1).abs() > eps) & mask).sum() / mask.sum().clamp(min=1)
    return -(gain.sum(1) / T.clamp(min=1)).mean(), clipped


class GRPO(Training):
    """Training whose update is: roll out, reward, compare within groups, climb."""
    log_every = 1

    def __init__(self, method, task, config, dtype):
        super().__init__(method, config, dtype)
        self.task = task
        self.settings = [knobs(method, config)]
        self.start = copy.deepcopy(method).requires_grad_(False)    # what KL is measured to
        self.learn = config["learn"].split(",") if config["learn"] else list(method.ACTIONS)
        for kind in self.learn:
            choice(kind, method.ACTIONS, "kind of action")

    def update(self, data, device, dtype):
        """One rollout batch and its optimizer steps. Returns averages of what happened."""
        config, batch = self.config, next(data).to(device)
        self.method.eval()
        rollout = self.method.rollout(batch, config["samples"], **self.settings[0])
        self.method.train()
        reward = self.reward(batch, rollout).to(device)                         # (Q, G)
        steps = torch.tensor([s.n_think for s in rollout.solved], device=device).view_as(reward)
        priced = reward / steps.clamp(min=1) ** config["punish"]
        option = rollout.option.view_as(reward)
        # (Q, G, 3): of actions that answer for RIGHT, LENGTH, OPTION
        A = torch.stack([advantages(reward, option), advantages(priced, option),
                         advantages(priced, torch.zeros_like(option))], -1)
        out = {"reward": reward.mean(), "kept": A.flatten(1).any(1).float().mean(),
               "steps": steps.float().mean(), **rollout.info}
        A = A.flatten(0, 1)                                                     # (R, 3)
        rows = A.any(1).nonzero()[:, 0]         # those that teach something
        rows = rows[torch.randperm(len(rows), device=device)]
        if len(rows):
            n = -(-len(rows) // config["minibatch"])
            out |= self.climb([(rollout.rows(i), A[i]) for i in rows.chunk(n)], device, dtype)
        self.step += 1
        return out

    def reward(self, batch, rollout):
        """Eq. (1): (Q, G)."""
        G = self.config["samples"]
        right = [bool(self.task.check(batch.examples[i // G], s.answer))
                 for i, s in enumerate(rollout.solved)]
        return torch.tensor(right, dtype=torch.float).view(-1, G)

    def climb(self, shares, device, dtype):
        """An optimizer step on each share of the rollouts: [(Rollout, its advantages (R, 3))]."""
        cast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
        with torch.no_grad(), cast:
            old = [self.method.log_probs(rollout) for rollout, _ in shares]
            start = [self.start.log_probs(rollout) for rollout, _ in shares]
        parts, decides = [], self.method.ACTIONS
        for (rollout, A), before, first in zip(shares, old, start):
            with cast:
                now = self.method.log_probs(rollout)
                kl = distance(now, first)
                found = [surrogate(logp, before[kind][0], mask, A[:, decides[kind]],
                                   self.config["eps"], self.config["average"])
                         for kind, (logp, mask, *_) in now.items() if kind in self.learn]
            self.backward(sum(loss for loss, _ in found) + self.config["beta"] * kl)
            norm = self.descend()
            parts.append(torch.stack([kl, norm, *(clipped for _, clipped in found)]).detach())
        names = ["kl", "norm", *(f"clip {kind}" for kind in now if kind in self.learn)]
        return dict(zip(names, torch.stack(parts).mean(0).tolist()))


def distance(now, start):
    """KL of the policy to the start: the sum over kinds of the mean over their actions.

    Of a latent exactly, the mean over dimensions as in (3); of words by the k3 estimate, the mean
    of x - 1 - log x, x = p_start / p.
    """
    total = 0
    for kind, (logp, mask, *normal) in now.items():
        if normal:
            each = torch.distributions.kl_divergence(normal[0], start[kind][2]).mean(-1)
        else:
            log_x = (start[kind][0] - logp)[mask]
            each = log_x.exp() - 1 - log_x
        total = total + each.sum() / max(1, len(each))
    return total


def knobs(method, config):
    """What `solve` and `rollout` are called with."""
    return {"c": evaluation.factor(config["c"])} if "c" in method.SWEEP[0] else {}


def splits(name, task):
    """Names of the parts of the split to learn on: for training, validation and the final test."""
    if name == "auto":
        name = "long" if "long" in task.splits else "test"
    parts = ("train", "val", "test") if name == "test" else (f"{name}-train", f"{name}-val", name)
    for part in parts:
        choice(part, task.splits, "split")
    return parts


def parse(argv):
    """argv -> the config of the run that we start from, with ours over it."""
    parser = runs.Parser(prog="rl.py", description=__doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("init", metavar="RUN", help="run folder of a trained cot or colar")
    parser.add_argument("--out", metavar="DIR", help="run folder [RUN-rl]")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    runs.add_flags(parser, FLAGS)
    parser.set_defaults(seed=None)
    given = vars(parser.parse_args(argv))
    parent = runs.with_paths(runs.load(given["init"])["config"])
    given["seed"] = parent["seed"] if given["seed"] is None else given["seed"]
    given["out"] = given["out"] or f"{given['init'].rstrip('/')}-rl"
    runs.check_numbers(given)
    choice(given["c"], ("auto", *map(str, range(1, MAX_SPEED + 1))), "factor")
    if given["samples"] < 2:
        raise BadInput("--samples 1: a group needs 2 or more to compare")
    given["split"] = splits(given["split"], runs.make_task(parent))[2]
    return {**parent, **given, "accum": 1, "stage": parent.get("stage", parent["method"]) + "+rl",
            "parent": {name: parent[name] for name in ("steps", "seed", *SHOWN) if name in parent}}


def run(config, resume):
    """Trains the run folder config["init"] further and tests it before and after: their rows."""
    out = Path(config["out"])
    if runs.WORLD > 1:
        raise BadInput("it runs in one process, without torchrun")
    state = runs.reopen(config, resume)
    device, dtype = runs.setup(config, state)
    task, method, parent = runs.load_run(config["init"], device, sigma_min=config["sigma_min"])
    learn, val, test = splits(config["split"], task)
    if parent["step"] < parent["config"]["steps"]:
        raise BadInput(f"{config['init']}: not finished; continue it with --resume first")
    if not hasattr(method, "rollout"):
        raise BadInput(f"{config['init']}: {config['method']} writes nothing to reinforce")
    if config["c"] != "auto" and "c_train" in config and int(config["c"]) not in method.c_train:
        raise BadInput(f"--c {config['c']}: {config['init']} was trained at {config['c_train']}")
    if config.get("head") == "deterministic":
        raise BadInput(f"{config['init']}: a deterministic head has no log-probability")
    training = GRPO(method, task, config, dtype)
    if not (out / "config.json").exists():
        runs.create(config)
    elif state and (out / "results.json").exists():
        print(f"{out} is finished")
        return json.loads((out / "results.json").read_text(encoding="utf-8"))["rows"]
    examples = take(task, test, config["test_n"])
    name = config["stage"]
    before = measure(name.removesuffix("+rl"), training, training.start, examples, config["parent"])
    torch.manual_seed(config["seed"])
    if state:
        training.restore(state)
    train.train(training, task, device, dtype, out, (learn, val))
    rows = before + measure(name, training, method, examples, config)
    figure(out)
    evaluation.write_results(out, rows, config, time.time() - training.began)
    print(f"\n{table(rows)}\n")
    print(evaluation.show(method, task, examples[:3], **training.settings[0]))
    print(f"saved in {out}", flush=True)
    return rows


def measure(name, training, method, examples, config):
    """Rows of the final table: greedy, at every speed if any was learnt, and as in training: k = 1.

    Sampling is seeded: measuring the same run again gives the same rows.
    """
    torch.manual_seed(0)
    settings = training.settings + (method.SWEEP if training.config["c"] == "auto" else [])
    rows = evaluation.sweep(name, method, training.task, examples, settings)
    rows += evaluation.explore(name, method, training.task, examples, training.settings, [1])
    shown = {k: config[k] for k in SHOWN if k in config}
    if hasattr(method.args, "sigma_min"):
        shown["sigma_min"] = method.args.sigma_min      # the noise that k = 1 was measured with
    return [{**row, "updates": config["steps"], "config": shown} for row in rows]


def figure(out, window=20):
    """reward.png: reward and thinking steps of the rollouts, their moving average, validation.

    Batches hold problems of about equal length, hence the jumps from one to the next.
    """
    from matplotlib.figure import Figure
    log = (out / "log.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in log.splitlines()]
    val = {row["step"]: row["val"][0] for row in rows if "val" in row}
    rows = list({row["step"]: row for row in rows if "reward" in row}.values())     # the last ones
    drawing = Figure(figsize=(8, 3), layout="constrained")
    for axes, key, right, label in zip(drawing.subplots(1, 2), ("reward", "steps"),
                                       ("accuracy", "steps"), ("reward", "thinking steps")):
        y = torch.tensor([row[key] for row in rows])
        w = min(window, len(y))
        axes.plot([row["step"] for row in rows], y, alpha=0.3, label="rollouts")
        axes.plot([row["step"] for row in rows][w - 1:], y.unfold(0, w, 1).mean(1),
                  label=f"mean of {w} batches")
        axes.plot(val.keys(), [row[right] for row in val.values()], "ko--",
                  label="validation, greedy")
        axes.set(xlabel="rollout batches", ylabel=label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    axes.legend(loc="lower left", fontsize=8)
    drawing.savefig(out / "reward.png", dpi=150)


if __name__ == "__main__":
    runs.command(parse, run, "rl.py")
