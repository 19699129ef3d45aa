"""Muon, the optimizer of the hidden matrices: momentum, orthogonalised."""
import torch


class Muon(torch.optim.Optimizer):
    """Keller Jordan's Muon (2024), at the scale of AdamW (2502.16982).

        m = 0.95 m + 0.05 g                         g the gradient of a matrix (rows, columns)
        u = orthogonal(0.95 m + 0.05 g)             Nesterov's look ahead
        w = w - lr (0.2 sqrt(max(rows, columns)) u + weight_decay w)

    torch.optim.Muon is the same, one matrix at a time and in bfloat16, which most CPUs emulate.
    Here all matrices of one shape are taken together, in float32: a quarter of the time.
    """
    MOMENTUM = 0.95

    def __init__(self, groups, lr):
        super().__init__(groups, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            alike = {}      # {shape: [(matrix, what the next gradient would make of its momentum)]}
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                m = state["momentum_buffer"].lerp_(p.grad, 1 - self.MOMENTUM)
                alike.setdefault(p.shape, []).append((p, p.grad.lerp(m, self.MOMENTUM)))
            for (rows, columns), matrices in alike.items():
                update = orthogonal(torch.stack([ahead for _, ahead in matrices]))
                size = group["lr"] * 0.2 * max(rows, columns) ** 0.5
                for (p, _), u in zip(matrices, update):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(u, alpha=size)


def orthogonal(x):
    """Matrices (N, rows, columns) -> about U V of their singular value decompositions U S V: five
    Newton-Schulz steps on x / |x|, of which all singular values are at most 1."""
    a, b, c = 3.4445, -4.7750, 2.0315       # they bring small values up fast, to 0.7 ... 1.2
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.mT                                             # (N, rows, rows)
        poly = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)     # b G + c G G
        x = torch.baddbmm(x, poly, x, beta=a)                       # a X + (b G + c G G) X
    return x.mT if tall else x
