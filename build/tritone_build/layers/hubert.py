"""HuBERT (Hsu et al. 2021, arXiv 2106.07447): features of speech from the whole signal at once.

After models/hubert/modeling_hubert.py of transformers 5.23.0, whose names the modules carry. Every step sees
the whole signal: the first layer normalizes over time, and attention has no window.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tritone_build.layers.transformer import normalized
from tritone_build.layers.unfolded import product
from tritone_build.layers.wide import widened

__all__ = ["Hubert", "HubertConfig"]


@dataclass(frozen=True)
class HubertConfig:
    """Sizes of the network; the convolutions' kernels and strides turn samples into steps."""

    dim: int
    num_layers: int
    num_heads: int
    feedforward_dim: int
    conv_dims: tuple[int, ...]
    conv_kernels: tuple[int, ...]
    conv_strides: tuple[int, ...]
    position_kernel: int
    position_groups: int
    norm_eps: float


def _mapped(linear: nn.Linear, x: Tensor) -> Tensor:
    return product(x, linear.weight.T, linear.bias)


class ConvLayer(nn.Module):
    """GELU of a convolution without padding; the first one normalizes each channel over time."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, normalizes: bool):
        super().__init__()
        self.conv = nn.Conv1d(channels_in, channels_out, kernel, stride, bias=False)
        self.layer_norm = nn.GroupNorm(channels_out, channels_out) if normalizes else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] -> [B, C', T']."""
        x = functional.conv1d(x, self.conv.weight.to(x.dtype), stride=self.conv.stride)
        return functional.gelu(x if self.layer_norm is None else normalized(self.layer_norm, x))


class FeatureExtractor(nn.Module):
    """Convolutions in a row."""

    def __init__(self, config: HubertConfig):
        super().__init__()
        sizes = zip(
            (1, *config.conv_dims), config.conv_dims, config.conv_kernels, config.conv_strides, strict=False
        )
        self.conv_layers = nn.ModuleList(ConvLayer(*each, number == 0) for number, each in enumerate(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 1, S] -> [B, C, T]."""
        for layer in self.conv_layers:
            x = layer(x)
        return x


class FeatureProjection(nn.Module):
    """A norm and a linear map: [B, T, C] -> [B, T, D]."""

    def __init__(self, config: HubertConfig):
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.conv_dims[-1], config.norm_eps)
        self.projection = nn.Linear(config.conv_dims[-1], config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return _mapped(self.projection, normalized(self.layer_norm, x))


class Attention(nn.Module):
    """Attention of each step to all steps: [B, T, D] -> [B, T, D]."""

    def __init__(self, config: HubertConfig):
        super().__init__()
        self.heads = config.num_heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(config.dim, config.dim) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        parts = (self.q_proj, self.k_proj, self.v_proj)
        queries, keys, values = (
            _mapped(part, x).reshape(*x.shape[:2], self.heads, -1).transpose(1, 2) for part in parts
        )
        scores = widened(queries * queries.shape[3] ** -0.5 @ keys.transpose(2, 3))
        seen = scores.softmax(-1).to(x.dtype) @ values
        return _mapped(self.out_proj, seen.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear maps with GELU between them."""

    def __init__(self, config: HubertConfig):
        super().__init__()
        self.intermediate_dense = nn.Linear(config.dim, config.feedforward_dim)
        self.output_dense = nn.Linear(config.feedforward_dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        return _mapped(self.output_dense, functional.gelu(_mapped(self.intermediate_dense, x)))


class Layer(nn.Module):
    """Attention and feedforward, each added to its input and normalized after that."""

    def __init__(self, config: HubertConfig):
        super().__init__()
        self.attention, self.feed_forward = Attention(config), FeedForward(config)
        self.layer_norm, self.final_layer_norm = (nn.LayerNorm(config.dim, config.norm_eps) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        x = normalized(self.layer_norm, x + self.attention(x))
        return normalized(self.final_layer_norm, x + self.feed_forward(x))


class PositionEmbedding(nn.Module):
    """GELU of a wide grouped convolution, which stands for positions."""

    def __init__(self, config: HubertConfig):
        super().__init__()
        self.kernel = config.position_kernel
        self.conv = nn.Conv1d(config.dim, config.dim, self.kernel, groups=config.position_groups)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]; an even kernel looks one step farther back than ahead."""
        padded = functional.pad(x.transpose(1, 2), (self.kernel // 2, (self.kernel - 1) // 2))
        weight, bias = self.conv.weight.to(x.dtype), self.conv.bias
        assert bias is not None
        y = functional.conv1d(padded, weight, bias.to(x.dtype), groups=self.conv.groups)
        return functional.gelu(y).transpose(1, 2)


class Encoder(nn.Module):
    """The transformer."""

    def __init__(self, config: HubertConfig):
        super().__init__()
        self.pos_conv_embed = PositionEmbedding(config)
        self.layer_norm = nn.LayerNorm(config.dim, config.norm_eps)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, T, D] -> the input of the first layer and the outputs of all layers, each [B, T, D]."""
        steps = [normalized(self.layer_norm, x + self.pos_conv_embed(x))]
        for layer in self.layers:
            steps.append(layer(steps[-1]))
        return steps


class Hubert(nn.Module):
    """Audio [B, S] -> the mean of what all layers give, [B, T, D]."""

    def __init__(self, config: HubertConfig):
        super().__init__()
        self.feature_extractor = FeatureExtractor(config)
        self.feature_projection = FeatureProjection(config)
        self.encoder = Encoder(config)

    def forward(self, audio: Tensor) -> Tensor:
        """See the class."""
        features = self.feature_extractor(audio[:, None]).transpose(1, 2)
        given = self.encoder(self.feature_projection(features))
        return torch.stack(given, 1).mean(1)
