"""Reinforcement learning of the chain: GRPO on a trained run. CoLaR's second stage, 2505.16552.

A question is answered G times; what a group's right answers did is made likelier, what its wrong
ones did less likely. Silent chains differ by the latent head's own noise and, with --c auto, by
the speed token, which the model then writes itself.

    (1) reward      r_i = 1 if the answer is right, else 0
    (2) advantage   A_i = (r_i - mean r) / std r, over the rollouts of one question at one speed;
                    0 if all are equal. For a speed: over all G of the question
    (3) ratio       rho_t = exp(log p(a_t) - log p_old(a_t)) for every action a_t of a rollout:
                    a latent z_t (log p: the mean over dimensions of log N(z_t; mu, sigma)), the
                    decision to stop or not, a word, a speed
    (4) objective   J = mean over rollouts of  sum over kinds of action of
                    1/T sum_t min(rho_t A, clip(rho_t, 1 - eps, 1 + eps) A), over the T of the kind
    loss = -J + beta KL(policy, start)

The mean over T actions in (4) is the paper's length pressure: a latent of a short right chain
weighs more than one of a long right chain (--no-average: every action of the batch weighs the
same). --length-penalty p adds a price: what decides the length (a speed, to stop; the words of an
explicit chain) gets the advantage of r_i / n_i^p, n_i the thinking steps, half a step if there is
none. The paper's code has p = 1 as an option. (2) is GRPO (2402.03300), the clip PPO's
(1707.06347).

Differs from the paper:
 1. Not to stop is an action too, and both are a kind of their own; there, only stopping has a
    log-probability, averaged with the answer's words, and what made a chain long is never made less
    likely.
 2. Rollouts whose advantages are all 0 are left out of the update; the log has the rest (`kept`).
 3. The answer is sampled from the whole softmax, as it is scored, but for <pad>; theirs from its
    top 0.9.
 4. Log-probabilities before the update are computed again, so that the first ratio is exactly 1.
 5. --no-average divides the sum by a measured mean length; there, by 32.
 6. sigma has a floor (--sigma-min), as soft-MSE leaves none to explore with; there, the NLL head's.
 7. Their reward over length counts for all actions: a long right chain would teach its latents that
    they were wrong.
 8. A KL penalty (--kl-penalty), exact for latents. Their ratio, a mean over dimensions, hardly
    ever meets the clip, so nothing else keeps a latent's mean from drifting by many sigmas.
 9. Longer problems than the run was trained on most (--split), 64 questions per batch instead of 8,
    a learning rate of 5e-5 for a small model instead of 1e-6 for LoRA.
It works on explicit chains of thought as well: the control for what GRPO does without latents.

    python rl.py runs/colar-arithmetic-tiny-s0                  # RUN: minutes on 2 CPU cores
    python rl.py RUN-rl --c auto --length-penalty 2 --steps 30  # then it picks its speed
    python rl.py RUN/cot                                        # the control
"""
import copy
import math
from dataclasses import replace
from pathlib import Path

import torch

import eval as evaluation
import runs
import train
from data import checkpoint, machine
from data.cli import BadInput, Flag, Parser, choice, options, spelled, unless
from data.common import first_problems
from data.files import draw, read_log
from data.rows import plot, plot_rewards, setting, table, tested_rows, write_results
from data.script import command, folder, keep_config, reopen, resumed
from method import LENGTH, OPTION, RIGHT
from model import Sampler

FLAGS = {
    "split": Flag("auto", "split to learn on; auto: long if the task has one, else its usual one"),
    "steps": Flag(100, "rollout batches", least=1),
    "batch": Flag(64, "questions per rollout batch", least=1, most=2**20),
    "samples": Flag(8, "G, rollouts per question", least=2, most=2**16),
    "minibatch": Flag(32, "rollouts per optimizer step, of those that teach something", least=1),
    "sigma_min": Flag(0.1, "floor of sigma, the noise that makes latents explore", above=0, most=7,
                      idle=unless(method=[m for m, cls in runs.METHODS.items()
                                          if "sigma_min" in cls.FLAGS])),
    "eps": Flag(0.2, "clip range of the ratio", above=0),
    "learn": Flag("", "kinds of action to learn from, as latent,token; '' = all"),
    "length_penalty": Flag(0.0, "power p of the chain length that the reward is divided by; 0: no "
                           "price", most=100),
    "kl_penalty": Flag(0.03, "weight of the KL to the start; 0: none, as in the paper"),
    "average": Flag(True, "average over the actions of a rollout; off: over those of the batch"),
    "lr": Flag(5e-5, "learning rate", above=0),
    "warmup": Flag(10, "rollout batches of linear warm-up", least=1),
    "decay": Flag(0.5, "last share of the rollout batches, in which the rate falls linearly to 0",
                  above=0, most=1),
    "val_n": Flag(100, "validation problems, solved five times in a run", least=1),
    "test_n": Flag(500, "test problems for the final table", least=1),
    "seed": Flag(None, "of rollouts and questions [the run's]", kind=int),
    **{name: runs.FLAGS[name] for name in ("grad_clip", "device", "dtype", "threads")},
}
WITHOUT = {"dropout": 0.0, "ema": 0.0}      # Eq. (3) compares probabilities of one network
NAMED = ("batch", "samples", "minibatch", "eps", "learn", "length_penalty", "kl_penalty", "average",
         "lr", "warmup", "decay", "grad_clip")      # in a table, where they are not the default


def advantages(reward, option):
    """Eq. (2): reward (Q, G) -> (Q, G), each group to mean 0, unbiased std 1; 0 if all are equal.

    option (Q, G): a group are the rollouts of a question that have the same one.
    """
    peers = (option[:, :, None] == option[:, None]).to(reward.dtype)        # (Q, G, G)
    n = peers.sum(2)
    centred = reward - (peers @ reward[..., None])[..., 0] / n
    spread = ((peers @ centred[..., None] ** 2)[..., 0] / (n - 1).clamp(min=1)).sqrt()
    some = spread > 1e-5 * reward.abs().max()           # more than what rounding leaves
    return torch.where(some, centred / (spread + 1e-8), 0)              # unbiased, as theirs


def objective(now, old, start, advantage, config):
    """Eq. (3) and (4) of some rollouts: the loss, and what to log.

    now, old, start: the method's log_probs, of the policy as it is, before the update, and at the
    start of the run. advantage: {kind of action: A (R,)}, of the kinds that are learned from.
    """
    eps, loss, parts = config["eps"], 0, {}
    for kind, A in advantage.items():
        logp, mask, _ = now[kind]                                           # (R, T) each
        rho = (logp - old[kind][0]).masked_fill(~mask, 0).exp()             # Eq. (3)
        clipped = rho.clamp(1 - eps, 1 + eps)
        gain = torch.minimum(rho * A[:, None], clipped * A[:, None]) * mask
        T = mask.sum(1) if config["average"] else mask.sum() / len(mask)    # actions per rollout
        loss = loss - (gain.sum(1) / T.clamp(min=1)).mean()                 # Eq. (4)
        parts[f"clip {kind}"] = ((rho != clipped) & mask).sum() / mask.sum().clamp(min=1)
    kl = kl_to_start(now, start)
    return loss + config["kl_penalty"] * kl, {"kl": kl.detach(), **parts}


def kl_to_start(now, start):
    """KL of the policy to the start: the sum over kinds of the mean over their actions.

    Of a latent exactly, the mean over dimensions as in (3); of words by the k3 estimate, the mean
    of x - 1 - log x, x = p_start / p.
    """
    total = 0
    for kind, (logp, mask, normal) in now.items():
        if normal is not None:
            each = torch.distributions.kl_divergence(normal, start[kind][2]).mean(-1)
        else:
            log_x = (start[kind][0] - logp)[mask]
            each = log_x.exp() - 1 - log_x
        total = total + each.sum() / max(1, len(each))
    return total


class GRPO(train.Training):
    """Training whose update is: roll out, reward, compare within groups, climb."""
    log_every = 1

    def __init__(self, method, task, config, device, dtype):
        super().__init__(method, config, device, dtype)
        # small steps from a trained model: AdamW, whatever it was trained with
        self.optimizers = train.optimizers(
            method, {**config, "optimizer": "adamw", "weight_decay": 0.01})
        self.task = task
        self.knobs = config["knobs"]
        self.settings = [self.knobs]
        self.start = copy.deepcopy(method).requires_grad_(False)    # what KL is measured to
        self.actions = learned(method, config)

    def update(self, batches):
        """One rollout batch and its optimizer steps. Returns averages of what happened."""
        config, batch = self.config, batches[0].to(self.device)
        G, Q = config["samples"], len(batch.examples)
        self.method.eval()
        rollout = self.method.rollout(batch, G, Sampler(1.0), **self.knobs)
        self.method.train()

        right = [self.method.right(self.task, batch.examples[i // G], solved)
                 for i, solved in enumerate(rollout.solved)]
        reward = torch.tensor(right, dtype=torch.float, device=self.device).view(Q, G)  # Eq. (1)
        n_think = [float(solved.n_think) for solved in rollout.solved]
        n_think = torch.tensor(n_think, device=self.device).view(Q, G)
        n = n_think.clamp(min=0.5)      # a chain of no step counts as one of half a step
        priced = reward / n ** config["length_penalty"]

        option = rollout.option.view(Q, G)
        advantage = {RIGHT: advantages(reward, option), LENGTH: advantages(priced, option),
                     OPTION: advantages(priced, torch.zeros_like(option))}          # Eq. (2)
        by_kind = {kind: advantage[decides].flatten()
                   for kind, decides in self.actions.items()}
        teaches = torch.stack([A != 0 for A in by_kind.values()]).any(0)            # (Q G,)
        parts = {"reward": reward.mean(), "kept": teaches.view(Q, G).any(1).float().mean(),
                 "steps": n_think.mean(), **rollout.info}

        rows = teaches.nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), device=self.device)]
        if len(rows):
            n = math.ceil(len(rows) / config["minibatch"])
            parts |= self.policy_update(
                [(rollout.rows(some), {kind: A[some] for kind, A in by_kind.items()})
                 for some in rows.chunk(n)])
        self.step += 1
        return parts

    def policy_update(self, minibatches):
        """An optimizer step on each of [(Rollout, {kind of action: A (R,)})]; means for the log."""
        with torch.no_grad(), self.autocast:
            before = [(self.method.log_probs(rollout), self.start.log_probs(rollout))
                      for rollout, _ in minibatches]
        logged = []
        for (rollout, advantage), (old, start) in zip(minibatches, before):
            with self.autocast:
                now = self.method.log_probs(rollout)
                loss, parts = objective(now, old, start, advantage, self.config)
            self.backward(loss)
            logged.append({"loss": loss.detach(), **parts, "norm": self.optimizer_step()})
        return train.means(logged)


def learned(method, config):
    """{kind of action: what it decides} of those to learn from. BadInput for one that cannot be."""
    actions = method.reinforceable(**config["knobs"])
    kinds = config["learn"].split(",") if config["learn"] else actions
    for kind in kinds:
        choice(kind, method.ACTIONS, "kind of action")
        if kind not in actions:
            raise BadInput(f"--learn {kind}: with {setting(config)} there is nothing to choose")
    found = {kind: decides for kind, decides in actions.items() if kind in kinds}
    if config["length_penalty"] and set(found.values()) == {RIGHT}:
        print(f"rl.py: {spelled('length_penalty', config['length_penalty'])} has no effect on what "
              f"is learned from: {', '.join(found)}")
    return found


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
    parser, knobs = Parser("rl.py", __doc__), runs.knobs_of("rl.py", FLAGS)
    parser.add_argument("init", metavar="RUN", nargs="?",
                        help="run folder of any trained method but vqvae")
    begun = resumed(parser, argv, "rl.py", runs.load, "RUN-rl")
    parser.add_flags(FLAGS)
    parser.start_from(begun)
    parser.add_flags({name: replace(flag, default=None) for name, flag in knobs.items()})
    if isinstance(begun.get("knobs"), dict):
        parser.start_from(begun["knobs"])
    given = parser.parse(argv)
    given["init"] = given["init"] or begun.get("init")
    if not isinstance(given["init"], str):
        parser.error("RUN: a run folder is needed")
    parent = runs.load(given["init"])["config"]
    task, method = runs.build(parent)
    new = {name: flag for name, flag in FLAGS.items() if name not in (*runs.FLAGS, "sigma_min")}
    runs.flags_of(parent, {"rl.py": new})       # ValueError: the run has a flag of this name, too
    given["knobs"] = {name: given.pop(name) for name in knobs}
    given["knobs"] = {name: v for name, v in given["knobs"].items() if v is not None}
    for name in given["knobs"]:
        choice(name, method.KNOBS, f"knob of {parent['method']}")
    given["knobs"] = given["knobs"] or method.settings()[-1]
    method.reinforceable(**given["knobs"])
    given["seed"] = parent["seed"] if given["seed"] is None else given["seed"]
    given["out"] = given["out"] or f"{given['init'].rstrip('/')}-rl"
    given["split"] = splits(given["split"], task)[2]
    parser.tell_idle({**parent, **given, **given["knobs"]})
    before = {name: parent[name] for name in ("steps", "seed", "knobs", *NAMED) if name in parent}
    return {**parent, **given, **WITHOUT, "grad_accum": 1, "parent": before,
            "stage": parent.get("stage", parent["method"]) + "+rl"}


def run(config, resume):
    """Trains the run folder config["init"] further and tests it before and after: their rows."""
    out = Path(config["out"])
    if machine.WORLD > 1:
        raise BadInput("it runs in one process, without torchrun")
    with folder(out):
        state = reopen(config, resume, runs.load)
        device, dtype = machine.setup(config, state)
        task, method, parent = runs.load_run(
            config["init"], device, **{name: config[name] for name in ("sigma_min", *WITHOUT)})
        if parent["step"] < parent["config"]["steps"]:
            raise BadInput(f"{config['init']}: not finished; continue it with --resume first")
        learn, val, test = splits(config["split"], task)
        if config["test_split"] == "fresh":     # as of the run that we start from
            test = "fresh" if test == "test" else f"{test}-fresh"
        training = GRPO(method, task, config, device, dtype)
        torch.manual_seed(config["seed"])
        if state:
            with checkpoint.reading(out / "ckpt.pt"):
                training.restore(state)
        keep_config(config)
        if training.step < config["steps"]:
            train.train(training, task, out, (learn, val))
        return finish(training, first_problems(task, test, config["test_n"]))


def finish(training, examples):
    """Tests the run before and after, and draws its rewards. A test is not made again."""
    config, out = training.config, Path(training.config["out"])
    rows = tested_rows(out)
    if not rows:
        name = config["stage"]
        rows = measure(name.removesuffix("+rl"), training, training.start, examples,
                       config["parent"])
        rows += measure(name, training, training.method, examples, config)
        write_results(out, rows, config, training.seconds)
        print(f"\n{table(rows)}\n")
        print(evaluation.show(training.method, training.task, examples[:3], **training.knobs))
        print(f"saved in {out}", flush=True)
    draw(plot_rewards(read_log(out / "log.jsonl")), out / "reward.png")
    draw(plot(rows), out / "accuracy.png")
    return rows


def measure(name, training, method, examples, config):
    """Rows of the final table: greedy, at every usual setting if the practised one is none of
    them, and as in training: k = 1. config: of the run, or of the run before it.

    Sampling is seeded: measuring the same run again gives the same rows.
    """
    practised, usual = training.knobs, method.settings()
    tried = [practised] if practised in usual else [practised, *usual]
    greedy = evaluation.sweep(name, method, training.task, examples, tried)
    sampled = evaluation.explore(name, method, training.task, examples, [practised], [1])
    flags, sigma_min = [], training.config["sigma_min"]     # as far as they are not the default
    if name.endswith("+rl"):
        if config["knobs"] != usual[-1]:
            flags = [f"--{knob.replace('_', '-')} {v}" for knob, v in config["knobs"].items()]
        flags += options({flag: FLAGS[flag] for flag in NAMED}, config)
        sigma_min = None if sigma_min == FLAGS["sigma_min"].default else sigma_min
    rows = []
    for some, noise in ((greedy, None), (sampled, sigma_min)):      # greedy, there is no noise
        words = [runs.variant({**training.config, "sigma_min": noise}), *flags]
        rows += [{**row, "updates": config["steps"], "variant": " ".join(filter(None, words))}
                 for row in some]
    return rows


if __name__ == "__main__":
    command(parse, run, "rl.py")
