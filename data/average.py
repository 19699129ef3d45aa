"""Averaged weights: what a run is validated, tested and kept with, given --ema."""
import contextlib
import copy

import torch


class Average:
    """Moving averages of a method's weights: a <- d a + (1 - d) w after every step.

    d = min(decay, (1 + step) / (10 + step)), so that the first weights are soon forgotten. Buffers
    are copied. decay 0: it has the weights themselves, which cost nothing.
    """

    def __init__(self, method, decay):
        self.method, self.decay = method, decay
        self.weights = method.state_dict() if decay == 0 else copy.deepcopy(method.state_dict())

    @torch.no_grad()
    def update(self, step):
        """After step number `step`, from 1 on."""
        d = min(self.decay, (1 + step) / (10 + step))
        for name, w in self.method.named_parameters():
            self.weights[name].lerp_(w, 1 - d)
        for name, buffer in self.method.named_buffers():
            if name in self.weights:        # some are not kept
                self.weights[name].copy_(buffer)

    @contextlib.contextmanager
    def used(self):
        """Inside a with statement the method has these weights."""
        raw = copy.deepcopy(self.method.state_dict()) if self.decay else self.weights
        self.method.load_state_dict(self.weights)
        try:
            yield
        finally:
            self.method.load_state_dict(raw)
