import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reprolib.models.asst_gcn import ASSTGCN, ASSTLayer, PlainAttention
from reprolib.models.complexity import parameters

SMALL = {"subgraphs": 2, "embedding": 3, "ffn": 7, "dropout": 0.0}
LENGTHS = torch.tensor([2, 4])


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def clips(frames=4, *, channels=6):
    return random(2, frames, 5, channels).double()


def layer(**options):
    """Five nodes, six channels, random A^se, float64."""
    torch.manual_seed(0)
    made = ASSTLayer(5, 6, **{**SMALL, **options})
    if made.semantic_graph is not None:
        nn.init.normal_(made.semantic_graph)
    return made.double().eval()


GRAPHS = [
    {"semantic": True, "attention": True},
    {"semantic": False, "attention": True},
    {"semantic": True, "attention": False},
    {"semantic": False, "attention": False},
]


def literal(made: ASSTLayer, clip: torch.Tensor) -> torch.Tensor:
    """Eq. 4 and 6 node by node, for one clip (T, K, C) with one graph for each frame or for all."""
    frames, nodes, channels = clip.shape
    w, theta, phi = (None if m is None else m.weight.chunk(2) for m in (made.transform, made.theta, made.phi))
    found = []
    for t in range(frames):
        of_subgraphs = []
        for q in range(2):
            rows = []
            for i in range(nodes):
                scores = torch.zeros(nodes, dtype=torch.float64)
                for j in range(nodes):
                    seen = range(frames) if made.per_clip else [t]
                    if theta is not None:
                        for u in seen:
                            scores[j] += (theta[q] @ clip[u, i]) @ (phi[q] @ clip[u, j])
                if made.per_clip:
                    scores = scores / (frames * 3)  # 2s-AGCN's scale
                attended = scores.exp() / scores.exp().sum()
                total = 0
                for j in range(nodes):
                    edge = 0
                    if theta is not None:
                        edge = edge + attended[j]
                    if made.semantic_graph is not None:
                        edge = edge + made.semantic_graph[q, i, j]
                    if theta is None and made.semantic_graph is None:
                        edge = float(i == j)  # a node keeps to itself
                    total = total + edge * (w[q] @ clip[t, j])
                rows.append(total)
            of_subgraphs.append(torch.stack(rows))
        joined = sum(of_subgraphs) if made.combine == "sum" else torch.cat(of_subgraphs, dim=-1)
        u = F.layer_norm(clip[t] + joined, (channels,))
        found.append(F.layer_norm(u + made.ffn(u), (channels,)))
    return torch.stack(found)


# the layer


@pytest.mark.parametrize("graphs", GRAPHS)
@pytest.mark.parametrize("combine", ["concat", "sum"])
def test_a_layer_equals_a_literal_loop(graphs, combine):
    made, nodes = layer(combine=combine, **graphs), clips()
    expected = torch.stack([literal(made, clip) for clip in nodes])
    torch.testing.assert_close(made(nodes), expected)


def test_one_graph_per_clip_equals_a_literal_loop():
    made, nodes = layer(per_clip=True), clips()
    torch.testing.assert_close(made(nodes), torch.stack([literal(made, clip) for clip in nodes]))


@pytest.mark.parametrize("per_clip", [False, True])
def test_padding_changes_nothing(per_clip):
    made, nodes = layer(per_clip=per_clip), clips()
    out = made(nodes, LENGTHS)
    torch.testing.assert_close(out[:1, :2], made(nodes[:1, :2]))
    torch.testing.assert_close(out[1:], made(nodes[1:]))


def test_semantic_graphs_start_at_a_millionth():
    made = ASSTLayer()
    assert made.semantic_graph.shape == (8, 38, 38)
    assert (made.semantic_graph == 1e-6).all()


@pytest.mark.parametrize(("per_clip", "frames"), [(False, 4), (True, 1)])
def test_rows_of_the_attention_graph_sum_to_one(per_clip, frames):
    graph = layer(per_clip=per_clip).attention_graph(clips())
    assert graph.shape == (2, frames, 2, 5, 5)
    assert (graph > 0).all()
    torch.testing.assert_close(graph.sum(-1), torch.ones(2, frames, 2, 5).double())


def test_without_a_graph_its_parameters_are_gone():
    def kept(**options):
        return {name.split(".")[0] for name, _ in ASSTLayer(5, 6, **SMALL, **options).named_parameters()}

    everything = kept()
    assert everything - kept(semantic=False) == {"semantic_graph"}
    assert everything - kept(attention=False) == {"theta", "phi"}
    assert everything - kept(semantic=False, attention=False) == {"semantic_graph", "theta", "phi"}


def test_without_graphs_nodes_do_not_meet():
    made, nodes = layer(semantic=False, attention=False), clips()
    changed = nodes.clone()
    changed[:, :, 1] += 1
    assert ((made(changed) - made(nodes)).abs().sum((0, 1, 3)) > 0).tolist() == [False, True, False, False, False]


def test_gradient_in_float64():
    made, nodes = layer(), clips(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: made(x), (nodes, *made.parameters()))


def test_another_combination_and_odd_channels_are_refused():
    with pytest.raises(ValueError, match="'concat' or 'sum', found 'mean'"):
        ASSTLayer(combine="mean")
    with pytest.raises(ValueError, match="divisible by 8 subgraphs, found 20"):
        ASSTLayer(channels=20)


# the network


@pytest.mark.parametrize(("ffn", "count"), [(2048, 17_398_464), (512, 7_952_064)])
def test_parameters_of_six_layers(ffn, count):
    each = 3 * 512 * 512 + 8 * 38 * 38 + (2 * 512 * ffn + ffn + 512) + 2 * 2 * 512  # W, A^se, FFN, norms
    with torch.device("meta"):
        assert parameters(ASSTGCN(ffn=ffn)) == 6 * each == count


def test_summed_subgraphs_have_all_channels_each():
    with torch.device("meta"):
        concat, summed = (ASSTLayer(combine=combine).transform.weight.shape for combine in ("concat", "sum"))
    assert (concat, summed) == ((512, 512), (8 * 512, 512))


def network(**options):
    torch.manual_seed(0)
    return ASSTGCN(5, 6, **{"layers": 3, **SMALL, **options}).double().eval()


def test_graphs_of_all_layers_can_be_read():
    made, nodes = network(), clips()
    graphs = made.attention_graphs(nodes)
    assert graphs.shape == (3, 2, 4, 2, 5, 5)
    torch.testing.assert_close(graphs[2], made.layers[2].attention_graph(made.layers[1](made.layers[0](nodes))))
    assert made.semantic_graphs().shape == (3, 2, 5, 5)
    assert not made.semantic_graphs().requires_grad


@pytest.mark.parametrize("graphs", GRAPHS)
@pytest.mark.parametrize("combine", ["concat", "sum"])
def test_every_parameter_learns(graphs, combine):
    made = network(combine=combine, **graphs).train()
    (made(clips()) * random(2, 4, 5, 6, seed=1)).sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


# the control


def test_plain_attention_stays_within_frames_and_learns():
    torch.manual_seed(0)
    made, nodes = PlainAttention(6, layers=2, heads=2, ffn=7, dropout=0.0).double(), clips()
    changed = nodes.clone()
    changed[0, 1, 2] += random(6, seed=2)
    differs = (made(changed) - made(nodes)).abs().sum(-1) > 1e-12
    assert differs[0, 1].all()
    assert differs.sum() == 5
    (made(nodes, LENGTHS) * random(2, 4, 5, 6, seed=1)).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in made.parameters())
