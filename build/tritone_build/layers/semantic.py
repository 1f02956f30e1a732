"""What Higgs Audio v2's tokenizer does to HuBERT's features.

After models/higgs_audio_v2_tokenizer/modeling_higgs_audio_v2_tokenizer.py of transformers 5.23.0, whose names
the modules carry.
"""

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["SemanticEncoder"]

_KERNEL = 3
_NUM_BLOCKS = 2
_NUM_UNITS = 2


def _convolved(conv: nn.Conv1d, x: Tensor) -> Tensor:
    bias = None if conv.bias is None else conv.bias.to(x.dtype)
    return functional.conv1d(x, conv.weight.to(x.dtype), bias, padding=conv.padding)


class Unit(nn.Module):
    """x + conv2(ELU(conv1(ELU x))): [B, C, T] -> [B, C, T]."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv1d(channels, channels, _KERNEL, padding=_KERNEL // 2, bias=False)
        self.conv2 = nn.Conv1d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return x + _convolved(self.conv2, functional.elu(_convolved(self.conv1, functional.elu(x))))


class Block(nn.Module):
    """Residual units and a convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.res_units = nn.ModuleList(Unit(channels) for _ in range(_NUM_UNITS))
        self.conv = nn.Conv1d(channels, channels, _KERNEL, padding=_KERNEL // 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] -> [B, C, T]."""
        for unit in self.res_units:
            x = unit(x)
        return _convolved(self.conv, x)


class SemanticEncoder(nn.Module):
    """A convolution and two blocks: [B, C, T] -> [B, C, T]."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, _KERNEL, padding=_KERNEL // 2, bias=False)
        self.conv_blocks = nn.ModuleList(Block(channels) for _ in range(_NUM_BLOCKS))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = _convolved(self.conv, x)
        for block in self.conv_blocks:
            x = block(x)
        return x
