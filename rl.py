"""Reinforcement learning of the chain: GRPO on a trained run. CoLaR's second stage, 2505.16552.

A question is answered G times; what a group's right answers did is made likelier, what its wrong
ones did less likely. The latent head's own noise is what silent chains differ by, and, with
--c auto, the speed token, which the model then writes itself.

    (1) reward      r_i = 1 if the answer is right, else 0
    (2) advantage   A_i = (r_i - mean r) / std r, over the rollouts of one question at one speed;
                    0 if all are equal
    (3) ratio       rho_t = exp(log p(a_t) - log p_old(a_t)) for every action a_t of a rollout:
                    a latent z_t (log p: the mean over dimensions of log N(z_t; mu, sigma)), the
                    decision to stop or not, a word, a speed
    (4) objective   J = mean over rollouts of  sum over kinds of action of
                    1/T sum_t min(rho_t A, clip(rho_t, 1 - eps, 1 + eps) A)

The mean over a rollout's T actions in (4) is the paper's length pressure: a latent of a short right
chain weighs more than one of a long right chain (--no-average: every action of the batch weighs the
same). --punish p adds a price: what decides the length (speeds, stops; words of an explicit chain)
gets the advantage of r_i / T_i^p over all G rollouts; p = 1 is an option of the paper's code.
(2) is GRPO (2402.03300), the clip PPO's (1707.06347), no KL penalty DAPO's (2503.14476).

Differs from the paper:
 1. Not to stop after a latent is an action too; there, only stopping has a log-probability, and
    what made a chain long is never made less likely.
 2. Rollouts without any advantage are left out of the update, and groups that have one counted.
 3. The answer is sampled from the whole softmax, as it is scored; there, from its top 0.9.
 4. Log-probabilities before the update are computed again, so that the first ratio is exactly 1.
 5. --no-average divides the sum by a measured mean length; there, by 32.
 6. sigma is floored (--sigma-min): a head trained with soft-MSE has none left to explore with, and
    one trained with NLL starts far lower (README.md).
 7. The official reward over length applies to all actions: a long right chain would teach its
    latents that they were wrong.
It works alike on explicit chains of thought: the control for what such learning does alone.

    python rl.py runs/colar-arithmetic-tiny-s0                  # minutes on 2 CPU cores
    python rl.py runs/colar-arithmetic-tiny-s0-rl --c auto --punish 2 --steps 60    # then, shorter
    python rl.py runs/colar-arithmetic-tiny-s0/cot              # the control
"""
import argparse
import copy
import json
import shlex
import sys
import time
from pathlib import Path

import torch

import eval as evaluation
import train
from data.common import MAX_SPEED, BadInput, choice, take
from train import Parser, Stopped, Training

FLAGS = {
    "split": ("long", "split to learn on, harder than what the run masters; '' = its own"),
    "c": ("5", "compression factor, if the method has one; auto: the model learns to pick it"),
    "steps": (150, "rollout batches"),
    "batch": (64, "questions per rollout batch"),
    "samples": (8, "G, rollouts per question"),
    "minibatch": (128, "rollouts per optimizer step, of those that teach something"),
    "sigma_min": (0.1, "floor of the latent head's sigma, the noise that explores"),
    "temperature": (1.0, "of the words that are sampled"),
    "eps": (0.2, "clip range of the ratio"),
    "learn": ("", "kinds of action to learn from, as latent,token; '' = all"),
    "punish": (0.0, "power p of the chain length that the reward is divided by; 0 = no price"),
    "average": (True, "average over the actions of a rollout; off: over those of the batch"),
    "lr": (2e-4, "learning rate"),
    "warmup": (10, "rollout batches of linear warm-up"),
    "decay": (0.5, "last share of the rollout batches, in which the rate falls linearly to 0"),
    "clip": (1.0, "largest gradient norm"),
    "val_n": (100, "validation problems, solved five times in a run"),
    "test_n": (500, "test problems for the final table"),
    "seed": (0, "of rollouts and questions"),
    "threads": (0, "CPU threads; 0 = all cores"),
}


SHOWN = ("average", "punish", "learn", "sigma_min")     # flags that name a row of a table


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
        learn = config["learn"].split(",") if config["learn"] else method.ACTIONS
        self.learn = [choice(kind, method.ACTIONS, "kind of action") for kind in learn]

    def update(self, data, device, dtype):
        """One rollout batch and its optimizer steps. Returns averages of what happened."""
        config, batch = self.config, next(data).to(device)
        self.method.eval()
        rollout = self.method.rollout(batch, config["samples"], config["temperature"],
                                      **self.settings[0])
        self.method.train()
        reward = self.reward(batch, rollout).to(device)                         # (Q, G)
        steps = torch.tensor([s.n_think for s in rollout.solved], device=device).view_as(reward)
        priced = reward / steps.clamp(min=1) ** config["punish"]
        option = rollout.option.view_as(reward)
        A = torch.stack([advantages(reward, option),                            # (Q, G, 2)
                         advantages(priced, torch.zeros_like(option))], -1)
        out = {"reward": reward.mean(), "kept": A.flatten(1).any(1).float().mean(),
               "steps": steps.float().mean()}
        A = A.flatten(0, 1)                                                     # (R, 2)
        rows = A.any(1).nonzero()[:, 0]         # of the groups that teach something
        rows = rows[torch.randperm(len(rows), device=device)]
        if len(rows):
            shares = -(-len(rows) // config["minibatch"])
            shares = [(rollout.rows(i), A[i]) for i in rows.chunk(shares)]
            out |= self.climb(shares, device, dtype)
        self.step += 1
        return out

    def reward(self, batch, rollout):
        """Eq. (1): (Q, G)."""
        G = self.config["samples"]
        right = [bool(self.task.check(batch.examples[i // G], s.answer))
                 for i, s in enumerate(rollout.solved)]
        return torch.tensor(right, dtype=torch.float).view(-1, G)

    def climb(self, shares, device, dtype):
        """An optimizer step on each share of the rollouts: [(Rollout, (R, 2))].

        Of the two advantages the second, with the length in it, is for what decides the length.
        """
        cast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
        with torch.no_grad(), cast:
            old = [self.method.log_probs(rollout) for rollout, _ in shares]
            kl = distance(old[0], self.start.log_probs(shares[0][0]))
        parts, pace = [], self.method.PACE
        for (rollout, A), before in zip(shares, old):
            with cast:
                now = self.method.log_probs(rollout)
                found = [surrogate(logp, before[kind][0], mask, A[:, int(kind in pace)],
                                   self.config["eps"], self.config["average"])
                         for kind, (logp, mask) in now.items() if kind in self.learn]
            self.backward(sum(loss for loss, _ in found))
            norm = self.descend()
            parts.append(torch.stack([norm, *(clipped for _, clipped in found)]).detach())
        names = ["norm", *(f"clip {kind}" for kind in now if kind in self.learn)]
        return {"kl": kl, **dict(zip(names, torch.stack(parts).mean(0).tolist()))}


def distance(now, start):
    """KL to the start in nats per action: the mean of x - 1 - log x, x = p_start / p (k3)."""
    log_x = torch.cat([(start[kind][0] - logp)[mask] for kind, (logp, mask) in now.items()])
    return (log_x.exp() - 1 - log_x).mean()


def knobs(method, config):
    """What `solve` and `rollout` are called with."""
    return {"c": evaluation.factor(config["c"])} if "c" in method.SWEEP[0] else {}


def splits(config):
    """Names of the parts of the split to learn on: for training, validation and the final test."""
    name = config["split"]
    return (f"{name}-train", f"{name}-val", name) if name else ("train", "val", "test")


def parse(argv):
    """argv -> the config of the run that we start from, with ours over it."""
    parser = Parser(prog="rl.py", description=__doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("init", metavar="RUN", help="run folder of a trained cot or colar")
    parser.add_argument("--out", metavar="DIR", help="run folder [RUN-rl]")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_flags(FLAGS)
    given = vars(parser.parse_args(argv))
    parent = train.load(given["init"])["config"]
    given["out"] = given["out"] or f"{given['init'].rstrip('/')}-rl"
    train.check_numbers(given)
    choice(given["c"], ("auto", *map(str, range(1, MAX_SPEED + 1))), "factor")
    if given["samples"] < 2:
        raise BadInput("--samples 1: a group needs 2 or more to compare")
    return {**parent, **given, "stage": parent.get("stage", parent["method"]) + "+rl",
            "parent": {name: parent[name] for name in ("steps", *SHOWN) if name in parent}}


def run(config, resume):
    """Trains the run folder config["init"] further and tests it before and after: their rows."""
    out = Path(config["out"])
    state = train.reopen(config, resume)
    device, dtype = train.setup(config, state)
    task, method, _ = train.load_run(config["init"], device)
    learn, val, test = splits(config)
    choice(test, task.splits, "split")
    if not hasattr(method, "log_probs") or config.get("head") == "deterministic":
        raise BadInput(f"{config['init']}: {config['method']} with these flags has nothing to vary")
    parent = method.state_dict()
    method = train.build(config)[1].to(device)
    method.load_state_dict(parent)
    if not (out / "config.json").exists():
        train.create(config)
    elif state and (out / "results.json").exists():
        print(f"{out} is finished")
        return json.loads((out / "results.json").read_text())["rows"]
    training, began = GRPO(method, task, config, dtype), time.time()
    examples = take(task, test, config["test_n"])
    name = config["stage"]
    before = measure(name.removesuffix("+rl"), training, training.start, examples, config["parent"])
    torch.manual_seed(config["seed"])
    if state:
        training.restore(state)
    train.train(training, task, device, dtype, out, (learn, val))
    rows = before + measure(name, training, method, examples, config)
    evaluation.write_results(out, rows, config, time.time() - began)
    figure(out)
    print(f"\n{evaluation.table(rows)}\n")
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
    rows += evaluation.explore(name, method, training.task, examples, training.settings, [1],
                               training.config["temperature"])
    own = {"updates": config["steps"], "config": {k: config[k] for k in SHOWN if k in config}}
    return [row | own for row in rows]


def figure(out, window=10):
    """reward.png: reward and thinking steps of the rollouts, a moving average over batches."""
    from matplotlib.figure import Figure
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "reward" in row]
    drawing = Figure(figsize=(8, 3), layout="constrained")
    for axes, key, label in zip(drawing.subplots(1, 2), ("reward", "steps"),
                                ("mean reward of the rollouts", "thinking steps per rollout")):
        y = torch.tensor([row[key] for row in rows])
        w = min(window, len(y))
        axes.plot([row["step"] for row in rows], y, alpha=0.3)
        axes.plot([row["step"] for row in rows][w - 1:], y.unfold(0, w, 1).mean(1))
        axes.set(xlabel="rollout batches", ylabel=label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    drawing.savefig(out / "reward.png", dpi=150)


if __name__ == "__main__":
    train.command(parse, run, "rl.py")
