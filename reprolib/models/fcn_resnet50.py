"""FCN-ResNet50, the baseline of Wang et al. 2018, with the geometry of the Keras network that they start from."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 16
# block of Table 1 -> the module that ends it
BLOCKS = {"Conv1": "conv1", "Conv2_x": "conv2", "Conv3_x": "conv3", "Conv4_x": "conv4", "Conv5_x": "conv5"}


class FCNResNet50(nn.Module):
    """ResNet-50 at stride 16 whose 1×1 classifier is up-sampled bilinearly.

    Input float32 (N, 3, H, W), sides divisible by 16; output logits (N, classes, H, W).
    All convolutions have biases, as in Keras. `width` scales all channels (64 is ResNet-50). Weights are random
    (He). Source: Wang et al. 2018, Table 1.
    """

    def __init__(self, *, classes: int = 5, width: int = 64):
        super().__init__()
        w = width
        # TensorFlow's "same" padding of an even side: two before, three after
        self.conv1 = nn.Sequential(nn.ZeroPad2d((2, 3, 2, 3)), nn.Conv2d(3, w, 7, stride=2), _norm(w), nn.ReLU())
        self.pool = nn.MaxPool2d(3, stride=2)  # "valid": 160 -> 79
        self.conv2 = _stage(w, w, blocks=3)
        self.conv3 = _stage(4 * w, 2 * w, blocks=4, stride=2)
        self.conv4 = _stage(8 * w, 4 * w, blocks=6, stride=2)
        self.conv5 = _stage(16 * w, 8 * w, blocks=3, dilation=2)
        self.classifier = nn.Conv2d(32 * w, classes, 1)
        he_initialise(self)

    def features(self, images: Tensor) -> Tensor:
        """float32 (N, 3, H, W) -> (N, 32·width, H/16, W/16); ValueError for sides not divisible by 16."""
        check_sides(images, STRIDE)
        x = self.pool(self.conv1(images))
        return self.conv5(self.conv4(self.conv3(self.conv2(x))))

    def forward(self, images: Tensor) -> Tensor:
        return upsample_tf1(self.classifier(self.features(images)), STRIDE)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions beside a shortcut; the stride sits on the first 1×1 and on the shortcut's.

    Input (N, inputs, H, W); output (N, 4·channels, ⌈H/stride⌉, ⌈W/stride⌉). With `projection` the shortcut has a
    convolution.
    """

    def __init__(self, inputs: int, channels: int, *, stride: int = 1, dilation: int = 1, projection: bool = False):
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, channels, 1, stride=stride),
            _norm(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation),
            _norm(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 4 * channels, 1),
            _norm(4 * channels),
        )
        self.shortcut = nn.Identity()
        if projection:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, 4 * channels, 1, stride=stride), _norm(4 * channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x) + self.shortcut(x))


def _stage(inputs: int, channels: int, *, blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    first = Bottleneck(inputs, channels, stride=stride, dilation=dilation, projection=True)
    return nn.Sequential(first, *(Bottleneck(4 * channels, channels, dilation=dilation) for _ in range(1, blocks)))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.05)  # Keras's momentum 0.95


def check_sides(images: Tensor, stride: int) -> None:
    """ValueError unless both sides of the images are divisible by `stride`."""
    height, width = images.shape[-2:]
    if height % stride or width % stride:
        raise ValueError(f"Sides must be divisible by {stride}, found {height}×{width}: resize or pad the images.")


def he_initialise(model: nn.Module) -> None:
    """He's normal weights and zero biases in all convolutions, in place."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)


def upsample_tf1(scores: Tensor, factor: int) -> Tensor:
    """Bilinear up-sampling as in TensorFlow 1: pixel i of the result lies at i/factor of the source, clamped.

    float (N, C, h, w) -> (N, C, factor·h, factor·w). The first pixels coincide, and the last source pixel is repeated
    at the end. Pixel centres, which torch aligns by default, are displaced by half a source pixel.
    """
    height, width = scores.shape[-2:]
    # one more row and column at the end, so that both ends fall on source pixels
    repeated = F.pad(scores, (0, 1, 0, 1), mode="replicate")
    size = (factor * height + 1, factor * width + 1)
    return F.interpolate(repeated, size, mode="bilinear", align_corners=True)[..., :-1, :-1]


def output_sizes(model: FCNResNet50, side: int) -> dict[str, int]:
    """Side of each block's output in the words of Table 1, read from a forward pass on the meta device."""
    model = copy.deepcopy(model).to("meta").eval()
    sizes: dict[str, int] = {}

    def record(block: str):
        return lambda module, inputs, output: sizes.update({block: output.shape[-1]})

    for block, name in BLOCKS.items():
        model.get_submodule(name).register_forward_hook(record(block))
    model.classifier.register_forward_hook(record("Conv6"))
    model.register_forward_hook(record("UpSampling"))
    model(torch.zeros(1, 3, side, side, device="meta"))
    return sizes


def keras_parameters(model: nn.Module) -> int:
    """Total parameters as Keras counts them: the weights and the running means and variances of BatchNorm."""
    statistics = (buffer for buffer in model.buffers() if buffer.is_floating_point())
    return sum(tensor.numel() for tensor in (*model.parameters(), *statistics))
