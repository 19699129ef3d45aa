"""Averaged weights: what a run is validated, tested and kept with, given --ema."""
import contextlib
import copy

import torch


class Average:
    """Moving averages of a method's weights: a <- d a + (1 - d) w after every step.

    d = min(decay, (1 + step) / (10 + step)), so that the first weights are soon forgotten. Buffers
    are copied. decay 0: there is no average, and the weights are those of the method.
    """

    def __init__(self, method, decay):
        self.method, self.decay = method, decay
        self.mean = copy.deepcopy(method.state_dict()) if decay else {}

    @property
    def weights(self):
        """What a run is tested and kept with, as a state_dict."""
        return self.mean if self.decay else self.method.state_dict()

    @torch.no_grad()
    def update(self, step):
        """After step number `step`, from 1 on."""
        d = min(self.decay, (1 + step) / (10 + step))
        for name, w in self.method.named_parameters():
            self.mean[name].lerp_(w, 1 - d)
        for name, buffer in self.method.named_buffers():
            if name in self.mean:       # some are not kept
                self.mean[name].copy_(buffer)

    @contextlib.contextmanager
    def used(self):
        """Inside a with statement the method has these weights."""
        if not self.decay:
            yield
            return
        raw = copy.deepcopy(self.method.state_dict())
        self.method.load_state_dict(self.mean)
        try:
            yield
        finally:
            self.method.load_state_dict(raw)
