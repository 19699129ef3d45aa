"""CoLaR: thinking in compressed latents. "Think Silently, Think Fast", arXiv 2505.16552.

Each c consecutive reasoning tokens, a group, are merged into one embedding. A latent head learns to
write the next merged embedding, so the model thinks about len(chain) / c times. A token of the
prompt sets c: one model, many speeds.

    sequence         question <xc> <think> | z_1 ... z_n | </think> answer <eos>
    (1) merge        z_i = 1 / sqrt(n_i) * sum of the n_i token embeddings of group i
                     (uncorrelated embeddings keep their variance; a mean would divide it by n_i)
    (2) latent head  mu, log sigma = head(h_{i-1});  z_i / s ~ N(mu, sigma^2),  s = embeddings' std
    (3) soft-MSE     mean over dimensions of (mu + sigma eps - z_i / s)^2, one draw of eps
        NLL          mean over dimensions of -log N(z_i / s; mu, sigma);    z_{n+1} is </think>
    (4) LM loss      cross-entropy, at the position before group i, of the group's tokens; before
                     </think> and in the answer, of the token itself. It cannot fall below the
                     entropy of a group's words, log n if they are n different ones: the log has
                     what is above that as `excess`
    (5) loss         (4) + (3), each the mean over what a speed predicts, then over speeds
A problem is trained on at all speeds at once: its question is read once, and what follows it at
each speed branches off (`tree` in method.py). To think is to feed mu * s back until the LM head's
next token is </think>, which it may be at once; the answer is then decoded on the same cache.
That is stage one. In stage two rl.py rolls the model out with the head's noise (`rollout`) and
scores what it did (`log_probs`).

At c = 1 every group is one token: but for <x1>, inputs and labels of training are those of CoT.

Differs from the paper:
 1. A small model from the CoT stage; all but its embeddings is trained. There, LoRA on a 1B model.
 2. Groups are cut inside each step, so none spans two steps (--no-align: through the whole chain).
 3. The LM target of a group is the mean over all its tokens, the expectation of the paper's one
    drawn token: the same gradient with less noise (--labels one: theirs).
 4. Speed and <think> are tokens of their own; there, text: "(Thinking speed: c)" and "###".
 5. Greedy: the mean of the head, the likeliest token. There both are sampled (temperature 1).
 6. sigma has a floor (--sigma-min) and a ceiling (e^2); s is measured, where they have a constant
    per model.
 7. An update sees each of its problems at all speeds; theirs draws one speed (--c-per batch). The
    hidden size of the latent head is 2 C; there 2,048, equal to C.
 8. No entropy bonus -alpha H(N(mu, sigma)) in (3); in their code, too, alpha is 0 by default.
 9. A problem may need no thought: the LM head is asked before the first latent, too.
10. The first <think> is no label; theirs also predicts the "###" that opens the thinking.
The official code's empty group between the last latent and </think>, with its all-zero target, and
its second pass over the whole sequence for the answer do not occur here.

    python train.py --method colar          # minutes on 2 CPU cores: CoT, then CoLaR from it
    python train.py --method colar --init RUN --latent-loss nll     # an ablation, from a CoT run
    python -m lab.latents RUN --c 1,2,3,4,5,6,7             # the speed dial, past training too
    python -m lab.examples colar                            # one chain: groups, slots, sizes
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from data.cli import BadInput, Flag, choice, unless
from data.common import (END, EOS, FIRST_WORD, MAX_SPEED, PAD, PAUSE, THINK, collate,
                         speed_token)
from method import (ANSWER, CHAIN, CLOSE, LENGTH, OPEN, OPTION, QUESTION, RIGHT, Method, Rollout,
                    Solved, answer_after, column, log_softmax, pack, read_prompt, read_thoughts,
                    split_at, states_before, tree)
from model import GREEDY, at_least_float32

LATENT_SLOT = PAUSE     # stands in a row of ids where an embedding goes that is no word's
POOLS = {"sqrt": torch.sqrt, "mean": lambda n: n}   # what the sum of n tokens is divided by


def offsets(step, thinking, align):
    """(B, T): each reasoning token's place, from 0, in its step (align) or in the whole chain.

    step, thinking (B, T): the number of the step that a token belongs to, and whether it is a
    reasoning token; a row may have several chains. Step and result of other tokens mean nothing.
    """
    t = torch.arange(step.shape[1], device=step.device).expand_as(step)
    start = thinking & ~F.pad(thinking, (1, -1))                    # the first reasoning token
    if align:
        start = start | (thinking & (step != F.pad(step, (1, -1))))
    return t - torch.where(start, t, 0).cummax(1).values


def groups(thinking, place):
    """Which slot of a compressed sequence each token goes to: no padding inside, no empty group.

    thinking, place (B, T): is it a reasoning token, and its place in its group. Returns slot
    (B, T): a new one wherever a group starts; a token outside the thoughts has one to itself.
    """
    return (~thinking | (place == 0)).long().cumsum(1) - 1


def chunked(chain, step_of, size, align):
    """Reasoning tokens and their steps, (B, T) each, -> chunks (B, n, size), PAD-filled."""
    thinking = chain != PAD
    if not chain.shape[1]:
        return chain.new_zeros(len(chain), 0, size)
    place = offsets(step_of, thinking, align) % size
    slot = groups(thinking, place)                                  # (B, T), rising from 0
    n = int(slot[thinking].max()) + 1 if thinking.any() else 0
    slot = torch.where(thinking, slot, n)                           # padding: to one more, cut off
    out = chain.new_zeros(len(chain), n + 1, size)
    rows = torch.arange(len(chain), device=chain.device)[:, None]
    out[rows, slot, place] = chain
    return out[:, :n]


def merge(e, slot, size, pool="sqrt"):
    """Eq. (1): e (B, T, C), slot (B, T), size (B, S) tokens per slot -> (B, S, C)."""
    total = e.new_zeros(*size.shape, e.shape[-1]).scatter_add(1, slot[..., None].expand_as(e), e)
    n = size.clamp(min=1)[..., None].to(e.dtype)
    return total / POOLS[pool](n)


def gaussian(mu, log_sigma):
    """The head's distribution, unvalidated: train.py reports a NaN, and looking for one is slow."""
    mu, log_sigma = at_least_float32(mu), at_least_float32(log_sigma)
    return torch.distributions.Normal(mu, log_sigma.exp(), validate_args=False)


def latent_loss(mu, log_sigma, target, kind):
    """Eq. (3) of each of N latents (N, C) -> (N,); log_sigma None (a deterministic head): MSE."""
    mu = at_least_float32(mu)
    if log_sigma is not None and kind == "nll":
        return -gaussian(mu, log_sigma).log_prob(target).mean(1)
    if log_sigma is not None:
        mu = mu + log_sigma.exp() * torch.randn_like(mu)
    return (mu - target).square().mean(1)


def mean_over_speeds(losses, branch):
    """Eq. (5): losses (N,) of slots in the branches (N,), 1 ... K -> the mean of the branches'
    means: a slow speed has more slots, and no more weight."""
    n = torch.bincount(branch, minlength=2)                             # (1 + K,)
    return (losses / n[branch]).sum() / (len(n) - 1)


class LatentHead(nn.Module):
    """Eq. (2): two linear layers with GELU and a LayerNorm, then mean and log-std of a Gaussian."""

    def __init__(self, width, deterministic, sigma_min):
        super().__init__()
        hidden = 2 * width
        self.body = nn.Sequential(nn.Linear(width, hidden), nn.GELU(),
                                  nn.Linear(hidden, hidden), nn.LayerNorm(hidden))
        self.mean = nn.Linear(hidden, width)
        self.log_std = None if deterministic else nn.Linear(hidden, width)
        self.bounds = math.log(sigma_min), 2.0

    def forward(self, h):
        """h (..., C) -> mean and log sigma (..., C); the latter within `bounds`, or None."""
        u = self.body(h)                                            # (..., hidden)
        return self.mean(u), None if self.log_std is None else self.log_std(u).clamp(*self.bounds)

    def likeliest(self, h):
        """The mean alone."""
        return self.mean(self.body(h))


class CoLaR(Method):
    """Learns to think in merged embeddings at any factor of c_train, starting from a CoT model."""
    FLAGS = {
        "c_train": Flag("1,2,3,4,5", "compression factors that are trained"),
        "c_per": Flag("all", "a problem is seen at all speeds at once, or c is drawn for each, or "
                      "once per batch (paper)", ("all", "example", "batch")),
        "pool": Flag("sqrt", "divide a group's sum by sqrt n, or by n (mean: ablation MP)",
                     tuple(POOLS)),
        "head": Flag("gaussian", "the latent head (deterministic: ablation DL)",
                     ("gaussian", "deterministic")),
        "latent_loss": Flag("soft-mse", "the latent loss (nll: ablation NLL)",
                            ("soft-mse", "nll")),
        "sigma_min": Flag(0.0067, "floor of sigma: soft-MSE drives it to 0", above=0, most=7,
                          idle=unless(head=["gaussian"])),
        "labels": Flag("all", "LM target of a group: the mean over all its tokens, one drawn token "
                       "(paper), none (ablation OC)", ("all", "one", "none")),
        "align": Flag(True, "cut groups at step boundaries; off: through the whole chain (the "
                      "paper)"),
        "dial": Flag("words", "embeddings of the speed tokens: unrelated as those of words, or on "
                     "a line, where a factor never trained on has neighbours", ("words", "line")),
    }
    KNOBS = {"c": Flag(2, "compression factor, or auto: the model picks one it has learned",
                       least=1, most=MAX_SPEED, words=("auto",))}
    PARENT = "cot"
    ACTIONS = {"speed": OPTION, "latent": RIGHT, "stop": LENGTH, "token": RIGHT}

    def __init__(self, backbone, vocab, args):
        super().__init__(backbone, vocab, args)
        backbone.embed.weight.requires_grad_(False)     # so the scale of the latents is fixed
        width = backbone.cfg.width
        self.latent_head = LatentHead(width, args.head == "deterministic", args.sigma_min)
        if args.head == "deterministic" and args.latent_loss == "nll":
            raise BadInput("--head deterministic has no density: --latent-loss nll does not apply")
        self.register_buffer("std", torch.ones(()))                 # s of Eq. (2)
        known = {str(c): c for c in range(1, MAX_SPEED + 1)}        # those that have a speed token
        trained = [choice(c, known, f"factor in --c-train {args.c_train}")
                   for c in dict.fromkeys(args.c_train.split(","))]
        self.register_buffer("c_train", torch.tensor(trained), persistent=False)
        self.branches = len(trained) if args.c_per == "all" else 1

    def settings(self):
        return [{"c": int(c)} for c in self.c_train]

    def shown(self):
        return {"c": 2} if {"c": 2} in self.settings() else self.settings()[0]

    def reinforceable(self, c):
        if self.args.head == "deterministic":
            raise BadInput("a deterministic head has no log-probability to reinforce")
        if c != "auto" and {"c": c} not in self.settings():
            raise BadInput(f"--c {c}: the run was trained at {self.args.c_train}")
        return {kind: what for kind, what in self.ACTIONS.items() if c == "auto" or kind != "speed"}

    def start_from(self, parent):
        """Takes over the CoT model and measures the scale of its embeddings."""
        self.model.load_state_dict(parent.model.state_dict())
        e = self.model.embed.weight.detach()
        self.std.copy_(e.std())
        if self.args.dial == "line":
            slow, fast = speed_token(1), speed_token(MAX_SPEED)
            share = torch.linspace(0, 1, MAX_SPEED, dtype=e.dtype, device=e.device)[:, None]
            e[slow:fast + 1] = torch.lerp(e[slow].clone(), e[fast].clone(), share)

    def draw_c(self, batch):
        """The speeds at which an update sees its problems, (B, K)."""
        B = len(batch.question)
        if self.args.c_per == "all":
            return self.c_train.expand(B, -1)
        n = B if self.args.c_per == "example" else 1
        draw = torch.randint(len(self.c_train), (n, 1), device=batch.question.device)
        return self.c_train[draw].expand(B, 1)

    def layout(self, batch, c):
        """The tokens of every row in order, and where they go once the thoughts are compressed.

        A row is a question and K branches, what follows it at each of the speeds c (B, K). Returns
        ids, part, branch, slot (B, T): a token's id, the part of the sequence that it belongs to,
        its branch, 0 for the question, and its slot; and size (B, S+1): the number of tokens in
        each slot. S slots hold the longest row; slot S takes the padding of all rows and has size
        0; part and branch of padding are -1.
        """
        parts, steps = [batch.question], [torch.zeros_like(batch.question)]
        for speed in c.split(1, 1):
            rest = [speed_token(speed), torch.full_like(speed, THINK), batch.chain,
                    torch.full_like(speed, END), batch.answer]
            parts += rest
            steps += [batch.step_of if i == CHAIN else torch.zeros_like(p)
                      for i, p in enumerate(rest)]
        ids, number, order = pack(*parts)                           # (B, T) each
        real = number >= 0
        branch = torch.where(real, (number + 4) // 5, -1)           # five parts a branch
        part = torch.where(number > 0, (number - 1) % 5, number)
        step = torch.cat(steps, 1).gather(1, order)                 # (B, T), where part is CHAIN
        thinking, speed = part == CHAIN, c.gather(1, (branch - 1).clamp(min=0))
        slot = groups(thinking, offsets(step, thinking, self.args.align) % speed)
        S = int(slot[real].max()) + 1
        slot = torch.where(real, slot, S)
        size = slot.new_zeros(len(slot), S + 1).scatter_add(1, slot, real.long())
        return ids, part, branch, slot, size

    def loss(self, batch, c=None):
        c = self.draw_c(batch) if c is None else c                  # (B, K)
        ids, part, branch, slot, size = self.layout(batch, c)
        z = merge(self.model.embed(ids), slot, size, self.args.pool)                # (B, S+1, C)
        part, branch = (torch.full_like(size, -1).scatter(1, slot, of_tokens)
                        for of_tokens in (part, branch))            # (B, S+1): now those of slots
        lengths = (size > 0).sum(1) - 1                             # (B,): nothing follows <eos>
        said = part > OPEN              # (B, S+1): the N slots to predict, never the first one
        h = self.model(z[:, :-1], None, lengths, at=said[:, 1:],            # (N, C): the states
                       tree=tree(branch[:, :-1]) if c.shape[1] > 1 else None)       # before them
        part, branch = part[said], branch[said]                             # (N,)
        labelled = part > (CHAIN if self.args.labels == "none" else OPEN)
        ce, floor = (mean_over_speeds(t[labelled], branch[labelled])
                     for t in self.lm_loss(h, ids, slot, size, said))
        latent = part < ANSWER                              # latents, and </think>, which ends them
        mu, log_sigma = self.latent_head(h[latent])                         # (M, C)
        target = z[said][latent].detach() / self.std
        apart = latent_loss(mu, log_sigma, target, self.args.latent_loss)   # (M,)
        apart = mean_over_speeds(apart, branch[latent])
        return ce + apart, {"ce": ce.detach(), "excess": (ce - floor).detach(),
                            "latent": apart.detach()}

    def lm_loss(self, h, ids, slot, size, said):
        """Eq. (4) of each of the N slots that are `said` (B, S+1), from the states h (N, C) before
        them: the cross-entropy with the mean of a slot's tokens, as distributions over words, and
        the entropy of that mean, below which it cannot fall. (N,) each."""
        logits, tokens = at_least_float32(self.model.head(h)), said.gather(1, slot)     # (N, V)
        number = (said.flatten().cumsum(0) - 1).view_as(said)       # of a slot among the N
        share = 1 / size.gather(1, slot)[tokens].to(logits.dtype)   # of each token of these slots
        words = torch.zeros_like(logits).index_put(                         # (N, V)
            (number.gather(1, slot)[tokens], ids[tokens]), share, accumulate=True)
        floor = torch.special.entr(words).sum(1)        # a word that comes twice counts once
        label = words.multinomial(1)[:, 0] if self.args.labels == "one" else words
        return F.cross_entropy(logits, label, reduction="none"), floor

    def solve(self, batch, sample=GREEDY, c=2):
        """One sample of `rollout`; its thoughts are the words nearest to each latent."""
        rollout = self.rollout(batch, 1, sample, c)
        for solved, latents in zip(rollout.solved, self.latent_words(rollout)):
            solved.thoughts = " ".join(f"[{' '.join(words)}]" for words in latents)
        return rollout.solved

    @torch.no_grad()
    def rollout(self, batch, samples, sample=GREEDY, c=2):
        """Thinks at factor c, then answers on the same cache. The temperature of `sample` scales
        sigma, too."""
        self.KNOBS["c"].check("c", c)
        cache, h = read_prompt(self.model, batch.question)
        h = cache.repeat(h, samples)                                                # (R, C)
        cap = self.cap(c)
        auto = torch.full_like(cache.lengths, c == "auto").bool()                   # (R,)
        if c == "auto":
            says = self.model.head(h)[:, speed_token(self.c_train)]         # (R, speeds)
            c = self.c_train[sample(says)]                                              # (R,)
        else:
            c = torch.full_like(cache.lengths, c)
        start = torch.stack([speed_token(c), torch.full_like(c, THINK)], 1)         # (R, 2)
        h = self.model(self.model.embed(start), cache)[:, -1]
        z, n_think, stopped, sigma = self.think(h, cache, cap, sample)
        answer = answer_after(self.model, cache, self.args.max_answer, sample)
        question = batch.question.repeat_interleave(samples, 0)
        acts = {"question": question, "auto": auto, "c": c, "z": z, "n_think": n_think,
                "stopped": stopped, "answer": answer}
        return Rollout(self.solved(answer, n_think), c, acts, {"sigma": sigma})

    def cap(self, c):
        """The most latents at factor c, or at "auto"."""
        slowest = int(self.c_train.min()) if c == "auto" else c         # has the longest chain
        longest = self.args.max_think       # twice the longest chain of the training problems
        return min(longest, 2 * math.ceil(longest / slowest))

    def solved(self, answer, n_think):
        """R of Solved from answers (R, T) and numbers of latents (R,)."""
        return [Solved(self.vocab.decode(split_at(row, EOS)[0]), n, "")
                for row, n in zip(answer.tolist(), n_think.tolist())]

    def think(self, h, cache, cap, sample):
        """Writes latents after h (R, C) until the LM head says </think>, at most cap; none if it
        says so at once.

        Returns z (R, n, C) in units of s, n_think (R,), whether it did say so (R,), and the mean
        sigma. A row that is done stays in the batch, but its later latents are hidden from it.
        """
        done, latents, sigmas = sample(self.model.head(h)) == END, [], []           # (R,)
        n_think = torch.zeros_like(done, dtype=torch.long)
        while len(latents) < cap and not done.all():
            if sample.temperature and self.args.head == "gaussian":
                z, log_sigma = self.latent_head(h)                                  # (R, C)
                noise = torch.randn(z.shape, generator=sample.generator, device=z.device)
                z = z + sample.temperature * log_sigma.exp() * noise
                sigmas.append(log_sigma[~done].exp().mean())
            else:
                z = self.latent_head.likeliest(h)
            latents.append(z)
            n_think += ~done
            going = (~done).long() if done.any() else None                          # (R,)
            h = self.model((z * self.std)[:, None], cache, going)[:, 0]
            done = done | (sample(self.model.head(h)) == END)
        z = torch.stack(latents, 1) if latents else h[:, None][:, :0]               # (R, n, C)
        return z, n_think, done, sum(sigmas) / max(1, len(sigmas))

    def thoughts_read(self, rollout):
        question, c, z, n = (rollout.acts[name] for name in ("question", "c", "z", "n_think"))
        prompt = pack(question, speed_token(c)[:, None], column(question, THINK))[0]
        return prompt, z * self.std, n

    @torch.no_grad()
    def think_on(self, prompt, z, c=2):
        cache, h = read_thoughts(self.model, prompt, z)
        left = self.cap(c) - z.shape[1]
        n_think = self.think(h[:, -1], cache, left, GREEDY)[1]
        return self.solved(answer_after(self.model, cache, self.args.max_answer), n_think)

    def log_probs(self, rollout):
        """Of a rollout's actions, all (R, T): "speed", of the speed token, where c is "auto";
        "latent", the mean over dimensions of log N(z; mu, sigma); "stop", of saying </think> or of
        not saying it, before the first latent and after each; "token", of the answer.
        """
        question, auto, c, z, n_think, stopped, answer = (rollout.acts[name] for name in (
            "question", "auto", "c", "z", "n_think", "stopped", "answer"))
        thought = torch.arange(z.shape[1], device=z.device) < n_think[:, None]      # (R, n)
        ids, part, _ = pack(speed_token(c)[:, None], column(answer, THINK),
                            torch.where(thought, LATENT_SLOT, PAD), column(answer, END), answer)
        latent, close = part == CHAIN, part == CLOSE                                # (R, T)
        x = self.model.embed(ids)                                                   # (R, T, C)
        x = x.masked_scatter(latent[..., None], z[thought] * self.std)
        h = states_before(self.model, question, x, (part >= 0).sum(1))
        mu, log_sigma = self.latent_head(h[latent])                                 # (N, C)
        normal = gaussian(mu, log_sigma)
        lp = normal.log_prob(z[thought]).mean(-1)                                   # (N,)
        lp = torch.zeros_like(ids, dtype=lp.dtype).masked_scatter(latent, lp)       # (R, T)
        words = log_softmax(self.model, h)                                          # (R, T, V)
        token = words.gather(2, ids[..., None])[..., 0]
        speed = token - words[..., speed_token(self.c_train)].logsumexp(-1)
        on = torch.log1p(-words[..., END].exp().clamp(max=1 - 1e-6))
        stop = torch.where(close & stopped[:, None], token, on)
        return {"speed": (speed, (part == QUESTION) & auto[:, None], None),
                "latent": (lp, latent, normal), "stop": (stop, latent | close, None),
                "token": (token, part == ANSWER, None)}

    def latent_words(self, rollout):
        """The c words whose embeddings are most like each latent, of those that a chain can hold.
        A sum has lost the order of its words: they come nearest first."""
        e = F.normalize(self.model.embed.weight[FIRST_WORD:], dim=-1)               # (W, C)
        c, n_think = rollout.acts["c"].tolist(), rollout.acts["n_think"].tolist()
        near = (rollout.acts["z"] @ e.T).topk(min(max(c), len(e))).indices          # (R, n, c)
        near = (FIRST_WORD + near).tolist()
        return [[self.vocab.decode(ids[:k]) for ids in row[:n]]
                for row, n, k in zip(near, n_think, c)]

    def true_groups(self, example, c=2):
        """The true chain as the words of each group, [[word]]: what its latents should hold."""
        if c == "auto":
            return None
        ids, part, _, slot, _ = self.layout(collate([example], self.vocab), torch.tensor([[c]]))
        chain = {}
        for i, s in zip(ids[part == CHAIN].tolist(), slot[part == CHAIN].tolist()):
            chain.setdefault(s, []).append(self.vocab.words[i])
        return list(chain.values())
