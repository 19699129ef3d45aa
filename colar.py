"""CoLaR, stage one: compressed latent reasoning. "Think Silently, Think Fast", arXiv 2505.16552.

Runs of c consecutive reasoning tokens are merged into one embedding; a latent head learns to write the
next merged embedding, so the model thinks len(chain) / c times instead of len(chain) times. c is
prompted by a token: one model, many speeds.

    sequence   question <speed c> <think> | z_1 ... z_n | </think> answer <eos>
    (1) merge        z_i = (1 / sqrt n_i) * sum of the n_i token embeddings in group i
                     (the mean would shrink the variance by n_i; the sum over sqrt n_i keeps it)
    (2) latent head  mu, log sigma = head(h_{i-1}):  z_i / s ~ N(mu, sigma^2),  s = std of the embeddings
    (3) soft-MSE     mean over dims of (mu + sigma * eps - z_i / s)^2, one draw of eps
        NLL          mean over dims of -log N(z_i / s; mu, sigma)
    (4) LM loss      cross-entropy at the position before z_i against ONE random token of group i; before
                     </think> and in the answer against the token itself
    loss = (4) + (3).  Thinking feeds mu (or a draw) * s back until the LM head's next token is </think>.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

from baselines import ANSWER, CLOSE, OPEN, THOUGHTS, CoT, Solved, column, next_token_loss, until
from data.common import END, EOS, MAX_SPEED, SPEED, THINK, BadInput, pack
from model import Cache, generate, last, sample_token


def groups(thinking, place):
    """Which slot of the compressed sequence each token goes to. No padding, no empty group.

    thinking, place (B, T): is it a reasoning token, and its place in its group. Returns slot (B, T):
    a new one wherever a group starts; tokens outside the thoughts have a slot to themselves.
    """
    return (~thinking | (place == 0)).long().cumsum(1) - 1


def merge(e, slot, size, mean=False):
    """Eq. (1): e (B, T, C), slot (B, T), size (B, S) tokens per slot -> (B, S, C)."""
    total = e.new_zeros(*size.shape, e.shape[-1]).scatter_add(1, slot[..., None].expand_as(e), e)
    n = size.clamp(min=1)[..., None].to(e.dtype)
    return total / (n if mean else n.sqrt())


def offsets(step, thinking, align):
    """(B, T): each reasoning token's place in the run that is cut into groups: its step, or the chain."""
    t = torch.arange(step.shape[1], device=step.device).expand_as(step)
    start = thinking & ~F.pad(thinking, (1, -1))                    # the first reasoning token
    if align:
        start = start | (thinking & (step != F.pad(step, (1, -1))))
    return t - torch.where(start, t, 0).cummax(1).values


def latent_loss(mu, log_sigma, target, kind):
    """Eq. (3), mean over all elements. log_sigma None: a deterministic head, plain MSE."""
    if log_sigma is None:
        return F.mse_loss(mu, target)
    if kind == "nll":
        return -torch.distributions.Normal(mu, log_sigma.exp()).log_prob(target).mean()
    return F.mse_loss(mu + log_sigma.exp() * torch.randn_like(mu), target)


class LatentHead(nn.Module):
    """Eq. (2): two linear layers with GELU and a LayerNorm, then mean and log-std of a Gaussian."""

    def __init__(self, width, hidden, deterministic):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, hidden), nn.GELU(),
                                  nn.Linear(hidden, hidden), nn.LayerNorm(hidden))
        self.mean = nn.Linear(hidden, width)
        self.log_std = None if deterministic else nn.Linear(hidden, width)

    def forward(self, h):
        u = self.body(h)                                            # (..., hidden)
        # the bounds keep sigma away from 0 (soft-MSE drives it there) and from overflow
        return self.mean(u), None if self.log_std is None else self.log_std(u).clamp(-5, 2)


class CoLaR(nn.Module):
    """Learns to think in merged embeddings at any factor c <= c_max, starting from a CoT model."""
    ARGS = {
        "c_max": (5, "largest compression factor; training draws c from 1..c_max"),
        "c_per": (("example", "batch"), "draw c for each example, or once per batch (paper)"),
        "pool": (("sqrt", "mean"), "divide a group's sum by sqrt n, or by n (the paper's ablation MP)"),
        "head": (("gaussian", "deterministic"), "the latent head (deterministic: ablation DL)"),
        "latent_loss": (("soft-mse", "nll"), "the latent loss (nll: ablation NLL)"),
        "labels": (("all", "one", "none"), "LM target of a group: the mean over all its tokens, one "
                   "drawn token (paper), none (ablation OC)"),
        "align": (True, "cut groups at step boundaries; off: through the whole chain (the paper)"),
        "bind": (0, "roll a token's embedding by this times its place in the group before merging"),
        "noise": (0.0, "noise on the input latents while training: largest std, in units of s"),
    }
    PARENT = "cot"

    def __init__(self, backbone, vocab, args):
        super().__init__()
        if not 1 <= args.c_max <= MAX_SPEED:
            raise BadInput(f"c_max = {args.c_max}: there are speed tokens for 1..{MAX_SPEED}")
        self.model, self.vocab, self.args = backbone, vocab, args
        backbone.embed.weight.requires_grad_(False)     # the scale of every latent stays what it was
        width = backbone.cfg.width
        self.latent_head = LatentHead(width, 4 * width, args.head == "deterministic")
        self.register_buffer("std", torch.ones(()))                 # s of Eq. (2)
        self.SWEEP = [{"c": c} for c in range(1, args.c_max + 1)]

    def start_from(self, parent):
        """Takes over the CoT model and measures the scale of its embeddings."""
        self.model.load_state_dict(parent.model.state_dict())
        self.std.copy_(self.model.embed.weight.detach().std())

    def prompt(self, batch, c):
        """Question and speed, c (B, 1), as one ragged part (B, T)."""
        return pack(batch.question, SPEED + c)[0]

    def layout(self, batch, c):
        """The tokens of every row in order, and where they go once the thoughts are compressed.

        c (B, 1) -> ids, part, place (B, T), slot (B, T) and size (B, S), the tokens per slot.
        """
        parts = (self.prompt(batch, c), column(batch, THINK), batch.thoughts,
                 column(batch, END), batch.answer)
        ids, part, order = pack(*parts)                             # (B, T) each
        zeros = [torch.zeros_like(p) for p in parts]
        step = torch.cat(zeros[:THOUGHTS] + [batch.step] + zeros[CLOSE:], 1).gather(1, order)
        thinking = part == THOUGHTS
        place = offsets(step, thinking, self.args.align) % c        # in the group
        slot = groups(thinking, place)
        S = int(slot[part >= 0].max()) + 1
        slot = torch.where(part >= 0, slot, S)                      # one more slot takes the padding
        size = slot.new_zeros(len(slot), S + 1).scatter_add(1, slot, (part >= 0).long())
        return ids, part, place * thinking, slot, size

    def embed(self, ids, place):
        e = self.model.embed(ids)                                   # (B, T, C)
        if not self.args.bind:
            return e
        C = e.shape[-1]
        return e.gather(-1, (torch.arange(C, device=e.device) - self.args.bind * place[..., None]) % C)

    def draw_c(self, batch):
        B = len(batch.question)
        n = B if self.args.c_per == "example" else 1
        c = torch.randint(1, self.args.c_max + 1, (n, 1), device=batch.question.device)
        return c.expand(B, 1)

    def loss(self, batch, c=None):
        ids, part, place, slot, size = self.layout(batch, self.draw_c(batch) if c is None else c)
        z = merge(self.embed(ids, place), slot, size, self.args.pool == "mean")     # (B, S, C)
        kind = torch.full_like(size, -1).scatter(1, slot, part)     # (B, S) the part of each slot
        is_latent = kind == THOUGHTS
        x = z
        if self.args.noise:
            level = self.args.noise * self.std * torch.rand(len(z), 1, 1, device=z.device)
            x = z + torch.randn_like(z) * level * is_latent[..., None]
        h = self.model(x[:, :-1])                                   # (B, S-1, C) predicts slots 1..
        ce = self.lm_loss(h, ids, part, slot, size)
        where = (is_latent | (kind == CLOSE))[:, 1:]                # also the embedding of </think>
        mu, log_sigma = self.latent_head(h[where])
        latent = latent_loss(mu.float(), log_sigma, z[:, 1:][where].detach() / self.std, self.args.latent_loss)
        return ce + latent, {"ce": ce.detach(), "latent": latent.detach()}

    def lm_loss(self, h, ids, part, slot, size):
        """Eq. (4). Each token is a target of the position before its slot, a slot counts once.

        With labels "all" a slot's loss is the mean over its tokens, which is the expectation of the
        paper's draw of one token: the same gradient with less noise.
        """
        first = size.cumsum(1) - size                               # (B, S) first token of each slot
        weight = 1 / size.clamp(min=1).float().gather(1, slot)      # (B, T)
        if self.args.labels == "one":
            drawn = first + (torch.rand(size.shape, device=h.device) * size).long()
            weight = (torch.arange(ids.shape[1], device=h.device) == drawn.gather(1, slot)).float()
        if self.args.labels == "none":
            weight = weight * (part != THOUGHTS)
        b, t = ((part > OPEN) & (weight > 0)).nonzero(as_tuple=True)    # the N tokens to predict
        weight = weight[b, t] / weight[b, t].sum()
        logits = self.model.head(h[b, slot[b, t] - 1]).float()      # (N, V)
        return (F.cross_entropy(logits, ids[b, t], reduction="none") * weight).sum()

    @torch.no_grad()
    def solve(self, batch, c=2, temperature=0.0, generator=None):
        """Thinks at factor c, then answers on the same cache; temperature scales sigma and the LM head."""
        if not 1 <= c <= self.args.c_max:
            raise BadInput(f"c = {c}: this model was trained on 1..{self.args.c_max}")
        ids, part, _ = pack(self.prompt(batch, column(batch, c)), column(batch, THINK))
        new, cap = (part >= 0).sum(1), -(-self.args.max_think // c)
        cache = Cache(len(ids), ids.shape[1] + cap + 1 + self.args.max_answer)
        h = last(self.model(self.model.embed(ids), cache, new), new)                # (B, C)
        latents, n_think = self.think(h, cache, cap, temperature, generator)
        end = self.model.embed(column(batch, END))                                  # (B, 1, C)
        out = generate(self.model, end, torch.ones_like(new), cache, EOS, self.args.max_answer,
                       temperature, generator)
        return [Solved(self.vocab.decode(until(row, EOS)[0]), n, thoughts) for row, n, thoughts
                in zip(out.tolist(), n_think.tolist(), self.read(latents, n_think, c))]

    def think(self, h, cache, cap, temperature, generator):
        """Writes latents until the LM head says </think>, at most cap. Returns (B, n, C), n_think (B,).

        A row that is done stays in the batch, but its cache no longer grows: its later latents go to
        the slot after its end, which nothing sees.
        """
        done = torch.zeros(len(h), dtype=torch.bool, device=h.device)
        n_think, latents = torch.zeros_like(done, dtype=torch.long), []
        while len(latents) < cap and not done.all():
            z, log_sigma = self.latent_head(h)                                      # (B, C)
            if temperature and log_sigma is not None:
                noise = torch.randn(z.shape, generator=generator, device=z.device)
                z = z + temperature * log_sigma.exp() * noise
            latents.append(z * self.std)
            n_think += ~done
            h = self.model(latents[-1][:, None], cache, (~done).long())[:, 0]
            done = done | (sample_token(self.model.head(h), temperature, generator) == END)
        return torch.stack(latents, 1), n_think

    def read(self, latents, n_think, c):
        """Decoded thoughts: for every latent the c tokens whose embeddings are most like it."""
        e = F.normalize(self.model.embed.weight, dim=-1)                            # (V, C)
        near = (latents @ e.T).topk(c).indices.tolist()                             # (B, n, c)
        return [" ".join(f"[{' '.join(self.vocab.decode(ids))}]" for ids in row[:n])
                for row, n in zip(near, n_think.tolist())]
