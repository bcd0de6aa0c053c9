import pytest
import torch
from torch import nn

from reprolib.models.asst_gcn import PlainAttention
from reprolib.models.complexity import parameters
from reprolib.models.landmark_patches import LRLP25, LRLP38, landmark_patches
from reprolib.models.local_stream import LCFE, LMFE, STAGES, LocalStream

POINTS = (31, 48, 54, 57)
LENGTHS = torch.tensor([4, 6])


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def clips(steps=6):
    frames = random(2, steps, 32, 32)
    landmarks = 32 * torch.rand(2, steps, 68, 2, generator=torch.Generator().manual_seed(1))
    return frames, landmarks


def network(**options):
    torch.manual_seed(0)
    small = {"layers": 2, "subgraphs": 2, "embedding": 3, "ffn": 8, "dropout": 0.0}
    if "graph" in options:
        small = {}
    return LocalStream(**{"points": POINTS, "patch": 8, "channels": 16, **small, **options})


def with_random_statistics(model: nn.Module) -> nn.Module:
    """BatchNorm that moves zeros, as after training."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
    return model.eval()


def test_dimensions_are_those_of_table_2():
    shapes = []
    with torch.device("meta"):
        model = LMFE().eval()
        for name in STAGES.values():
            model.get_submodule(name).register_forward_hook(lambda _m, _i, out: shapes.append(tuple(out.shape[1:])))
        out = model(torch.zeros(38, 1, 29, 32, 32))
    # H/2 before the pool, where the table has H/4
    assert shapes == [(64, 29, 16, 16), (64, 8, 8), (128, 4, 4), (256, 2, 2), (256, 1, 1)]
    assert out.shape == (38, 29, 256)


def test_parameters():
    with torch.device("meta"):
        assert parameters(LMFE()) == 385_216
        assert parameters(LCFE()) == 2_816
        # ... and the semantic encoding, 38 × 512, and the graph network
        assert parameters(LocalStream()) == 385_216 + 2_816 + 19_456 + 17_398_464


def test_motion_and_coordinates_see_two_frames_before_and_two_after():
    motion, coordinates = LMFE(width=2).eval(), LCFE(channels=4)
    patches, tracks = random(1, 1, 9, 8, 8), random(1, 9, 1, 2)
    for model, x, dim in ((motion, patches, 2), (coordinates, tracks, 1)):
        changed = x.clone()
        changed.select(dim, 4).add_(1)
        differs = (model(changed) - model(x)).abs().flatten(2).sum((0, 2)) > 0
        assert differs.tolist() == [False, False, True, True, True, True, True, False, False]


def test_coordinates_are_read_in_float32_in_mixed_precision():
    features, coordinates = LCFE(channels=4), random(2, 6, 3, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = features(coordinates)
    assert torch.equal(mixed, features(coordinates))


def test_landmarks_share_their_weights_in_a_literal_loop():
    model = with_random_statistics(network(semantic_encoding=False))
    frames, landmarks = clips()
    nodes = model.nodes(frames, landmarks)
    assert nodes.shape == (2, 6, 4, 16)
    nose = landmarks[:, :, 30]
    eyes = [landmarks[:, :, eye].mean(2) for eye in (slice(36, 42), slice(42, 48))]
    across, down = eyes[1] - eyes[0], landmarks[:, :, 33] - (eyes[0] + eyes[1]) / 2
    size = (across.square().sum(-1) + down.square().sum(-1)).sqrt()[..., None]
    for k, point in enumerate(POINTS):
        track = landmarks[:, :, point]
        motion = model.motion(landmark_patches(frames, track[:, :, None], 8))
        coordinates = model.coordinates(((track - nose) / size)[:, :, None])[:, :, 0]
        torch.testing.assert_close(nodes[:, :, k], torch.cat([motion, coordinates], dim=-1))


def test_semantic_encoding_is_added_to_the_nodes():
    plain, encoded = network(semantic_encoding=False).eval(), network().eval()
    encoded.load_state_dict(plain.state_dict(), strict=False)
    added = encoded.nodes(*clips()) - plain.nodes(*clips())
    torch.testing.assert_close(added, encoded.encoding.expand(2, 6, 4, 16))


def test_output_is_the_mean_of_the_nodes_after_the_graph_network():
    model = network().eval()
    out = model(*clips())
    assert out.shape == (2, 6, 16)
    torch.testing.assert_close(out, model.graph(model.nodes(*clips())).mean(2))


@pytest.mark.parametrize("options", [{}, {"per_clip": True}, {"motion": False}, {"coordinates": False}])
def test_padding_changes_nothing(options):
    model = with_random_statistics(network(**options))
    frames, landmarks = clips()
    out = model(frames, landmarks, LENGTHS)
    torch.testing.assert_close(out[:1, :4], model(frames[:1, :4], landmarks[:1, :4]))
    torch.testing.assert_close(out[1:], model(frames[1:], landmarks[1:]))
    frames, landmarks = frames.clone(), landmarks.clone()
    frames[0, 4:], landmarks[0, 4:] = 100, 0
    torch.testing.assert_close(model(frames, landmarks, LENGTHS)[:1, :4], out[:1, :4])


def test_without_a_part_the_graph_network_stays_as_it_is():
    counts = {}
    for part in ("both", "motion", "coordinates"):
        model = network(**({} if part == "both" else {part: False}))
        counts[part] = parameters(model.graph)
        if part != "both":
            assert getattr(model, part) is None
            assert model.widen.weight.shape == (16, 8)
            assert model(*clips()).shape == (2, 6, 16)
    assert len(set(counts.values())) == 1


def test_without_motion_pictures_do_not_count_and_without_coordinates_places_do():
    frames, landmarks = clips()
    contours = network(motion=False).eval()
    assert torch.equal(contours(frames, landmarks), contours(-frames, landmarks))
    patches = network(coordinates=False).eval()
    assert not torch.equal(patches(frames, landmarks), patches(frames, landmarks + 5))
    # only where the patches are cut out
    grey = torch.ones_like(frames)
    assert torch.equal(patches(grey, landmarks), patches(grey, landmarks + 5))


def test_sparse_landmarks_have_smaller_graphs():
    with torch.device("meta"):
        whole, sparse = LocalStream(), LocalStream(points=LRLP25)
    assert (len(LRLP38), sparse.semantic_graphs().shape) == (38, (6, 8, 25, 25))
    assert parameters(whole) - parameters(sparse) == 13 * 512 + 6 * 8 * (38**2 - 25**2)


def test_attention_graphs_of_clips():
    graphs = network().eval().attention_graphs(*clips(), LENGTHS)
    assert graphs.shape == (2, 2, 6, 2, 4, 4)
    torch.testing.assert_close(graphs.sum(-1), torch.ones(2, 2, 6, 2, 4))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"motion": False},
        {"coordinates": False},
        {"semantic_encoding": False},
        {"semantic": False, "attention": False},
        {"graph": PlainAttention(16, layers=1, heads=2, ffn=8, dropout=0.0)},
    ],
)
def test_every_parameter_learns(options):
    model = network(**options)
    (model(*clips(), LENGTHS) * random(2, 6, 16, seed=3)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_a_stream_without_anything_and_odd_channels_are_refused():
    with pytest.raises(ValueError, match="needs motion or coordinates, found neither"):
        network(motion=False, coordinates=False)
    with pytest.raises(ValueError, match="divisible by 8, found 12"):
        network(channels=12)
