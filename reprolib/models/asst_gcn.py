"""ASST-GCN: graph convolution whose graphs are learned and attended to (Sheng et al. 2021, Sec. III-C)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from reprolib.models.c3d_resnet18 import without_padding

START = 1e-6  # every entry of A^se, Sec. III-C


class ASSTLayer(nn.Module):
    """Graph convolution over `subgraphs` graphs A^se + A^st and a feed-forward unit, each with residual and norm.

    nodes float32 (N, T, K, channels), lengths int64 (N,) or None -> (N, T, K, channels). One graph for each frame; with
    `per_clip` one for each clip, whose scores are means over its valid frames and embedding dimensions. `combine`
    "concat" joins the subgraphs of channels / subgraphs each (Fig. 3), "sum" adds subgraphs of all channels (Eq. 4).
    Without `semantic` there is no A^se, without `attention` no A^st; with neither, nodes do not exchange features.
    `semantic_graph` is A^se (subgraphs, K, K). ValueError for another `combine`, and with "concat" for channels that
    `subgraphs` does not divide.
    Source: Sheng et al. 2021, Eq. 4 and 6 and Fig. 3; LayerNorm, the size of the feed-forward unit and D_e are ours.
    """

    def __init__(
        self,
        nodes: int = 38,
        channels: int = 512,
        *,
        subgraphs: int = 8,
        semantic: bool = True,
        attention: bool = True,
        combine: Literal["concat", "sum"] = "concat",
        embedding: int = 64,
        ffn: int = 2048,
        per_clip: bool = False,
        dropout: float = 0.1,  # Sec. IV-B
    ):
        super().__init__()
        if combine not in ("concat", "sum"):
            raise ValueError(f"combine must be 'concat' or 'sum', found {combine!r}")
        if combine == "concat" and channels % subgraphs:
            raise ValueError(f"channels must be divisible by {subgraphs} subgraphs, found {channels}")
        self.subgraphs, self.combine, self.per_clip = subgraphs, combine, per_clip
        self.semantic_graph = nn.Parameter(torch.full((subgraphs, nodes, nodes), START)) if semantic else None
        # W_θ and W_φ of all subgraphs
        self.theta, self.phi = (
            nn.Linear(channels, subgraphs * embedding, bias=False) if attention else None for _ in range(2)
        )
        each = channels // subgraphs if combine == "concat" else channels
        self.transform = nn.Linear(channels, subgraphs * each, bias=False)  # W_q of all subgraphs
        self.norm_graph, self.norm_ffn = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.ffn = nn.Sequential(nn.Linear(channels, ffn), nn.ReLU(), nn.Dropout(dropout), nn.Linear(ffn, channels))
        self.dropout = nn.Dropout(dropout)

    def forward(self, nodes: Tensor, lengths: Tensor | None = None) -> Tensor:
        nodes = self.norm_graph(nodes + self.dropout(self.convolve(nodes, lengths)))
        return self.norm_ffn(nodes + self.dropout(self.ffn(nodes)))

    def convolve(self, nodes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The graph convolution alone, Eq. 4: shapes as in `forward`."""
        messages = self._split(self.transform(nodes))  # (N, T, Q, K, C_q)
        if (graph := self.graph(nodes, lengths)) is not None:
            messages = graph @ messages
        if self.combine == "sum":
            return messages.sum(2)
        return messages.transpose(2, 3).flatten(3)

    def graph(self, nodes: Tensor, lengths: Tensor | None = None) -> Tensor | None:
        """A^se + A^st, broadcastable to (N, T, Q, K, K); None where the layer has neither."""
        attended = self.attention_graph(nodes, lengths) if self.theta is not None else None
        if attended is None or self.semantic_graph is None:
            return attended if self.semantic_graph is None else self.semantic_graph
        return attended + self.semantic_graph

    def attention_graph(self, nodes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """A^st, Eq. 6, whose rows sum to one: (N, T, Q, K, K), or (N, 1, Q, K, K) with `per_clip`."""
        theta, phi = self._split(self.theta(nodes)), self._split(self.phi(nodes))
        scores = theta @ phi.transpose(-1, -2)
        if self.per_clip:
            frames = nodes.shape[1] if lengths is None else lengths.view(-1, 1, 1, 1, 1)
            summed = without_padding(scores, lengths).sum(1, keepdim=True)
            scores = summed / (frames * theta.shape[-1])
        return scores.softmax(-1)

    def _split(self, of_all: Tensor) -> Tensor:
        """(N, T, K, Q·D) -> (N, T, Q, K, D)."""
        return of_all.unflatten(-1, (self.subgraphs, -1)).transpose(2, 3)


class ASSTGCN(nn.Module):
    """A stack of layers (`ASSTLayer`), each with its own graphs.

    nodes float32 (N, T, K, channels), lengths int64 (N,) or None -> (N, T, K, channels). `options` go to the layers.
    Source: Sheng et al. 2021, Fig. 2 (c1): six layers of 512 channels and eight subgraphs.
    """

    def __init__(self, nodes: int = 38, channels: int = 512, *, layers: int = 6, **options):
        super().__init__()
        self.layers = nn.ModuleList(ASSTLayer(nodes, channels, **options) for _ in range(layers))

    def forward(self, nodes: Tensor, lengths: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            nodes = layer(nodes, lengths)
        return nodes

    def semantic_graphs(self) -> Tensor:
        """A^se of all layers as it is now, without gradient: (layers, Q, K, K)."""
        return torch.stack([layer.semantic_graph.detach() for layer in self.layers])

    def attention_graphs(self, nodes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """A^st of all layers: (layers, N, T, Q, K, K), or with one frame where graphs are per clip."""
        graphs = []
        for layer in self.layers:
            graphs.append(layer.attention_graph(nodes, lengths))
            nodes = layer(nodes, lengths)
        return torch.stack(graphs)


class PlainAttention(nn.Module):
    """Multi-head self-attention between the nodes of a frame: a control that replaces A^se + A^st.

    nodes float32 (N, T, K, channels) -> same; `lengths` is accepted, as in `ASSTGCN`, but not used. The layers are
    Transformer encoder layers. Residuals, norms and the feed-forward unit are where `ASSTLayer` has them; the scaled
    scores, biases and output projection are not in `ASSTLayer`.
    """

    def __init__(self, channels: int = 512, *, layers: int = 6, heads: int = 8, ffn: int = 2048, dropout: float = 0.1):
        super().__init__()
        options = {"dim_feedforward": ffn, "dropout": dropout, "batch_first": True}
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(channels, heads, **options) for _ in range(layers))

    def forward(self, nodes: Tensor, lengths: Tensor | None = None) -> Tensor:
        together = nodes.flatten(0, 1)
        for layer in self.layers:
            together = layer(together)
        return together.unflatten(0, nodes.shape[:2])
