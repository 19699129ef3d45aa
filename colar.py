"""CoLaR: thinking in compressed latents. "Think Silently, Think Fast", arXiv 2505.16552.

Runs of c consecutive reasoning tokens are merged into one embedding; a latent head learns to write
the next merged embedding, so the model thinks len(chain) / c times. The factor c is prompted by a
token: one model, many speeds.

    sequence         question <xc> <think> | z_1 ... z_n | </think> answer <eos>
    (1) merge        z_i = 1 / sqrt(n_i) * sum of the n_i token embeddings of group i
                     (uncorrelated embeddings keep their variance; a mean would divide it by n_i)
    (2) latent head  mu, log sigma = head(h_{i-1});  z_i / s ~ N(mu, sigma^2),  s = embeddings' std
    (3) soft-MSE     mean over dimensions of (mu + sigma eps - z_i / s)^2, one draw of eps
        NLL          mean over dimensions of -log N(z_i / s; mu, sigma)
    (4) LM loss      cross-entropy, at the position before group i, of the group's tokens; before
                     </think> and in the answer, of the token itself
    loss = (4) + (3). To think is to feed mu * s back until the LM head's next token is </think>;
    the answer is then decoded on the same cache.
That is stage one. In stage two rl.py rolls the model out with the head's noise (`rollout`) and
scores what it did (`log_probs`).

At c = 1 every group is one token: but for <x1>, inputs and labels of training are those of CoT.

Differs from the paper:
 1. A small model trained from scratch, all of it but the embeddings; there, LoRA on a 1B model.
 2. Groups are cut inside each step, so none spans two steps (--no-align: through the whole chain).
 3. The LM target of a group is the mean over all its tokens, the expectation of the paper's one
    drawn token: the same gradient with less noise (--labels one: theirs).
 4. c is drawn for each example (--c-per batch: theirs). All slots of a batch weigh the same, so a
    slow row, which has more of them, weighs more: at c = 1 about four times what it does at c = 5.
 5. Speed and <think> are tokens of their own; there, text: "(Thinking speed: c)" and "###".
 6. Greedy: the mean of the head, the likeliest token. There both are sampled (temperature 1).
 7. sigma has a floor (--sigma-min) and a ceiling (e^2); s is measured, where they have a constant
    per model.
 8. The hidden size of the head is 4 C; there 2,048, equal to C.
 9. No entropy bonus -alpha H(N(mu, sigma)) in (3); in their code, too, alpha is 0 by default.
The official code's empty group between the last latent and </think>, with its all-zero target, and
its second pass over the whole sequence for the answer do not occur here.

    python train.py --method colar          # minutes on 2 CPU cores: CoT, then CoLaR from it
    python train.py --method colar --init RUN --latent-loss nll     # an ablation, from a CoT run
    python eval.py RUN --c 1,2,3,4,5,6,7 --decode --plot dial.png --over c      # the speed dial
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from baselines import (ANSWER, CLOSE, LENGTH, OPEN, OPTION, QUESTION, RIGHT, THOUGHTS, Method,
                       Rollout, Solved, column, states_before, until)
from data.cli import BadInput, choice
from data.common import (END, EOS, MAX_SPEED, PAD, PAUSE, SPEED, THINK, collate, groups, offsets,
                         pack)
from model import Cache, last


def merge(e, slot, size, mean=False):
    """Eq. (1): e (B, T, C), slot (B, T), size (B, S) tokens per slot -> (B, S, C)."""
    total = e.new_zeros(*size.shape, e.shape[-1]).scatter_add(1, slot[..., None].expand_as(e), e)
    n = size.clamp(min=1)[..., None].to(e.dtype)
    return total / (n if mean else n.sqrt())


def gaussian(mu, log_sigma):
    """Of the latent head. Not validated: train.py reports a NaN, and looking for one takes time."""
    return torch.distributions.Normal(mu.float(), log_sigma.float().exp(), validate_args=False)


def latent_loss(mu, log_sigma, target, kind):
    """Eq. (3), the mean over all elements of (N, C); log_sigma None (a deterministic head): MSE."""
    mu = mu.float()
    if log_sigma is None:
        return F.mse_loss(mu, target)
    if kind == "nll":
        return -gaussian(mu, log_sigma).log_prob(target).mean()
    return F.mse_loss(mu + log_sigma.exp() * torch.randn_like(mu), target)


class LatentHead(nn.Module):
    """Eq. (2): two linear layers with GELU and a LayerNorm, then mean and log-std of a Gaussian."""

    def __init__(self, width, hidden, deterministic, sigma_min):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, hidden), nn.GELU(),
                                  nn.Linear(hidden, hidden), nn.LayerNorm(hidden))
        self.mean = nn.Linear(hidden, width)
        self.log_std = None if deterministic else nn.Linear(hidden, width)
        self.bounds = math.log(sigma_min), 2.0

    def forward(self, h):
        u = self.body(h)                                            # (..., hidden)
        return self.mean(u), None if self.log_std is None else self.log_std(u).clamp(*self.bounds)


def speeds(text):
    """"1,3,5" -> [1, 3, 5]; BadInput unless all of them have a speed token."""
    known = {str(c): c for c in range(1, MAX_SPEED + 1)}
    return [choice(c, known, f"factor in --c-train {text}") for c in text.split(",")]


class CoLaR(Method):
    """Learns to think in merged embeddings at any factor of c_train, starting from a CoT model."""
    ARGS = {
        "c_train": ("1,2,3,4,5", "compression factors that training draws from"),
        "c_per": (("example", "batch"), "draw c for each example, or once per batch (paper)"),
        "pool": (("sqrt", "mean"), "divide a group's sum by sqrt n, or by n (ablation MP)"),
        "head": (("gaussian", "deterministic"), "the latent head (deterministic: ablation DL)"),
        "latent_loss": (("soft-mse", "nll"), "the latent loss (nll: ablation NLL)"),
        "sigma_min": (0.0067, "floor of sigma: soft-MSE drives it to 0"),
        "labels": (("all", "one", "none"), "LM target of a group: the mean over all its tokens, "
                   "one drawn token (paper), none (ablation OC)"),
        "align": (True, "cut groups at step boundaries; off: through the whole chain (the paper)"),
        "dial": (("words", "line"), "embeddings of the speed tokens: unrelated as those of words, "
                 "or on a line, where a factor never trained on has neighbours"),
    }
    PARENT = "cot"
    ACTIONS = {"speed": OPTION, "latent": RIGHT, "stop": LENGTH, "token": RIGHT}

    def __init__(self, backbone, vocab, args):
        super().__init__(backbone, vocab, args)
        backbone.embed.weight.requires_grad_(False)     # so the scale of the latents is fixed
        width = backbone.cfg.width
        self.latent_head = LatentHead(width, 4 * width, args.head == "deterministic",
                                      args.sigma_min)
        if args.head == "deterministic" and args.latent_loss == "nll":
            raise BadInput("--head deterministic has no density: --latent-loss nll does not apply")
        self.register_buffer("std", torch.ones(()))                 # s of Eq. (2)
        trained = speeds(args.c_train)
        self.register_buffer("c_train", torch.tensor(trained), persistent=False)
        self.SWEEP = [{"c": c} for c in trained]                    # a row of the table each

    def start_from(self, parent):
        """Takes over the CoT model and measures the scale of its embeddings."""
        self.model.load_state_dict(parent.model.state_dict())
        e = self.model.embed.weight.detach()
        self.std.copy_(e.std())
        if self.args.dial == "line":
            first, end = e[SPEED + 1].clone(), e[SPEED + MAX_SPEED].clone()
            share = torch.linspace(0, 1, MAX_SPEED, device=e.device)[:, None]
            e[SPEED + 1:SPEED + MAX_SPEED + 1] = torch.lerp(first, end, share)

    def prompt(self, batch, c):
        """Question and speed, c (B, 1), as one ragged part (B, T)."""
        return pack(batch.question, SPEED + c)[0]

    def layout(self, batch, c):
        """The tokens of every row in order, and where they go once the thoughts are compressed.

        c (B, 1) -> ids, part, slot (B, T), and size (B, S+1): the number of tokens in each slot.
        S slots hold the longest row; slot S takes the padding of all rows and has size 0.
        """
        parts = (self.prompt(batch, c), column(c, THINK), batch.thoughts, column(c, END),
                 batch.answer)
        ids, part, order = pack(*parts)                             # (B, T) each
        zeros = [torch.zeros_like(p) for p in parts]
        step = torch.cat(zeros[:THOUGHTS] + [batch.step] + zeros[CLOSE:], 1).gather(1, order)
        thinking = part == THOUGHTS
        slot = groups(thinking, offsets(step, thinking, self.args.align) % c)
        S = int(slot[part >= 0].max()) + 1
        slot = torch.where(part >= 0, slot, S)
        size = slot.new_zeros(len(slot), S + 1).scatter_add(1, slot, (part >= 0).long())
        return ids, part, slot, size

    def draw_c(self, batch):
        B = len(batch.question)
        n = B if self.args.c_per == "example" else 1
        draw = torch.randint(len(self.c_train), (n, 1), device=batch.question.device)
        return self.c_train[draw].expand(B, 1)

    def loss(self, batch, c=None):
        ids, part, slot, size = self.layout(batch, self.draw_c(batch) if c is None else c)
        z = merge(self.model.embed(ids), slot, size, self.args.pool == "mean")      # (B, S+1, C)
        kind = torch.full_like(size, -1).scatter(1, slot, part)     # (B, S+1) the part of each slot
        h = self.model(z[:, :-1])                                   # (B, S, C), of h_i for z_{i+1}
        ce = self.lm_loss(h, ids, part, slot, size)
        where = ((kind == THOUGHTS) | (kind == CLOSE))[:, 1:]       # latents, and what ends them
        target = z[:, 1:][where].detach() / self.std                # (N, C)
        latent = latent_loss(*self.latent_head(h[where]), target, self.args.latent_loss)
        return ce + latent, {"ce": ce.detach(), "latent": latent.detach()}

    def lm_loss(self, h, ids, part, slot, size):
        """Eq. (4): the mean over predicted slots of the mean over the tokens of a slot."""
        weight = 1 / size.gather(1, slot).clamp(min=1)              # (B, T), of a token in its slot
        if self.args.labels == "one":
            first = size.cumsum(1) - size       # (B, S+1): a slot's tokens stand side by side, so
            # it has first ... first + size - 1; what an empty slot draws is left out with `part`
            drawn = first + (torch.rand(size.shape, device=h.device) * size).long()
            weight = (torch.arange(ids.shape[1], device=h.device) == drawn.gather(1, slot)).float()
        elif self.args.labels == "none":
            weight = weight * (part != THOUGHTS)
        b, t = ((part > OPEN) & (weight > 0)).nonzero(as_tuple=True)    # the N tokens to predict
        logits = self.model.head(h[b, slot[b, t] - 1]).float()      # (N, V)
        weight = weight[b, t] / weight[b, t].sum()
        return (F.cross_entropy(logits, ids[b, t], reduction="none") * weight).sum()

    def solve(self, batch, c=2, temperature=0.0, generator=None):
        """Thinks at factor c, then answers on the same cache.

        temperature scales sigma and the LM head's softmax; generator: one of the model's device.
        """
        rollout = self.rollout(batch, 1, temperature, generator, c)
        for solved, latents in zip(rollout.solved, self.read(rollout)):
            solved.thoughts = " ".join(f"[{' '.join(words)}]" for words in latents)
        return rollout.solved

    @torch.no_grad()
    def rollout(self, batch, samples, temperature=1.0, generator=None, c=2):
        if c != "auto" and not 1 <= c <= MAX_SPEED:
            raise BadInput(f"c = {c}: there are speed tokens for 1..{MAX_SPEED}")
        question, new = batch.question, (batch.question != PAD).sum(1)
        slowest = self.c_train.min() if c == "auto" else c              # has the longest chain
        cap = min(self.args.max_think, int(2 * -(-self.args.max_think // slowest)))
        slots = question.shape[1] + 2 + cap + 1 + self.args.max_answer
        cache = Cache(len(question), slots, question.device)
        h = last(self.model(self.model.embed(question), cache, new), new)           # (B, C)
        h = cache.repeat(h, samples)                                                # (R, C)
        auto = torch.full_like(cache.length, c == "auto").bool()                    # (R,)
        if c == "auto":
            c = self.c_train[self.sample(self.speed_logits(h), temperature, generator)]     # (R,)
        else:
            c = torch.full_like(cache.length, c)
        start = torch.stack([SPEED + c, torch.full_like(c, THINK)], 1)              # (R, 2)
        h = self.model(self.model.embed(start), cache)[:, -1]
        z, n_think, stopped, sigma = self.think(h, cache, cap, temperature, generator)
        end = self.model.embed(torch.full_like(c, END))[:, None]                    # (R, 1, C)
        answer = self.model.generate(end, torch.ones_like(c), cache, EOS,
                                     self.args.max_answer, temperature, generator)
        solved = [Solved(self.vocab.decode(until(row, EOS)[0]), n, "")
                  for row, n in zip(answer.tolist(), n_think.tolist())]
        question = question.repeat_interleave(samples, 0)
        acts = {"question": question, "auto": auto, "c": c, "z": z, "n_think": n_think,
                "stopped": stopped, "answer": answer}
        return Rollout(solved, c, acts, {"sigma": sigma})

    def thought(self, rollout):
        question, c, z, n = (rollout.acts[name] for name in ("question", "c", "z", "n_think"))
        prompt = pack(question, SPEED + c[:, None], column(question, THINK))[0]
        return prompt, z * self.std, n

    def speed_logits(self, h):
        """h (R, C) at a question's end -> (R, n) over the n speeds of c_train, for c = "auto"."""
        return self.model.head(h)[:, SPEED + self.c_train]

    def think(self, h, cache, cap, temperature, generator):
        """Writes latents until the LM head says </think>, at most cap.

        Returns z (R, n, C) in units of s, n_think (R,), whether it did say so (R,), and the mean
        sigma. A row that is done stays in the batch, but its cache no longer grows: its later
        latents go to the slot after its end, which </think> overwrites.
        """
        done = torch.zeros(len(h), dtype=torch.bool, device=h.device)
        n_think, latents, sigmas = torch.zeros_like(done, dtype=torch.long), [], []
        while len(latents) < cap and not done.all():
            z, log_sigma = self.latent_head(h)                                      # (R, C)
            if temperature and log_sigma is not None:
                noise = torch.randn(z.shape, generator=generator, device=z.device)
                z = z + temperature * log_sigma.exp() * noise
                sigmas.append(log_sigma[~done].exp().mean())
            latents.append(z)
            n_think += ~done
            h = self.model((z * self.std)[:, None], cache, (~done).long())[:, 0]
            done = done | (self.sample(self.model.head(h), temperature, generator) == END)
        return torch.stack(latents, 1), n_think, done, sum(sigmas) / max(1, len(sigmas))

    def log_probs(self, rollout):
        """Of a rollout's actions, all (R, T): "speed", of the speed token, where c is "auto";
        "latent", the mean over dimensions of log N(z; mu, sigma); "stop", of saying </think> after
        a latent or of not saying it; "token", of the answer.
        """
        question, auto, c, z, n_think, stopped, answer = (rollout.acts[name] for name in (
            "question", "auto", "c", "z", "n_think", "stopped", "answer"))
        thought = torch.arange(z.shape[1], device=z.device) < n_think[:, None]      # (R, n)
        one = torch.ones_like(c)[:, None]
        ids, part, _ = pack(SPEED + c[:, None], THINK * one, PAUSE * thought, END * one, answer)
        x = self.model.embed(ids)                                                   # (R, T, C)
        x = x.masked_scatter((part == THOUGHTS)[..., None], z[thought] * self.std)
        h = states_before(self.model, question, x)
        latent, close = part == THOUGHTS, part == CLOSE
        mu, log_sigma = self.latent_head(h[latent])                                 # (N, C)
        normal = gaussian(mu, log_sigma)
        lp = normal.log_prob(z[thought]).mean(-1)                                   # (N,)
        lp = torch.zeros_like(h[..., 0]).float().masked_scatter(latent, lp)         # (R, T)
        logits = self.model.head(h).float().log_softmax(-1)                         # (R, T, V)
        token = logits.gather(2, ids[..., None])[..., 0]
        speed = token - logits[..., SPEED + self.c_train].logsumexp(-1)
        on = torch.log1p(-logits[..., END].exp().clamp(max=1 - 1e-6))
        stop = torch.where(close & stopped[:, None], token, on)
        return {"speed": (speed, (part == QUESTION) & auto[:, None]),
                "latent": (lp, latent, normal),
                "stop": (stop, F.pad(latent, (1, -1))), "token": (token, part == ANSWER)}

    def read(self, rollout):
        """Decoded thoughts: of every row and latent the c words whose embeddings are most like it.

        A sum has lost the order of its words: they come nearest first.
        """
        e = F.normalize(self.model.embed.weight, dim=-1)                            # (V, C)
        c, n_think = rollout.acts["c"].tolist(), rollout.acts["n_think"].tolist()
        near = (rollout.acts["z"] @ e.T).topk(max(c)).indices.tolist()              # (R, n, c)
        return [[self.vocab.decode(ids[:k]) for ids in row[:n]]
                for row, n, k in zip(near, n_think, c)]

    def groups_of(self, example, c="auto"):
        """The true chain as the words of each group, [[word]]: what its latents should hold."""
        if c == "auto":
            return None
        ids, part, slot, _ = self.layout(collate([example], self.vocab), torch.tensor([[c]]))
        chain = {}
        for i, s in zip(ids[part == THOUGHTS].tolist(), slot[part == THOUGHTS].tolist()):
            chain.setdefault(s, []).append(self.vocab.words[i])
        return list(chain.values())
