"""A policy that was hardly trained, made to exit: as it is it may hold everything, and then shows nothing."""
from __future__ import annotations

import numpy as np
import torch


def lively(policy, panel, share):
    "The policy with its bias moved: of all that could be decided on these days, this share becomes an exit."
    chances = [policy.exit_probability(panel[d], np.ones(panel.N, bool), t)
               for d in range(panel.D) for t in range(panel.T - 1)]
    logits = torch.logit(torch.from_numpy(np.concatenate(chances)), eps=1e-12)
    policy._net.b_head[0] -= logits[logits > -20].quantile(1 - share)  # below: what cannot act
    return policy
