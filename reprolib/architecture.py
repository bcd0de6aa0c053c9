"""A network's stages, shapes and connections, read off its real modules by running it once."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_UPSAMPLING = (nn.PixelShuffle, nn.Upsample, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass
class Stage:
    """One box of an architecture drawing: modules in a row whose outputs have one shape."""

    kind: str
    label: str
    shape: tuple[int, ...]  # channels, then the spatial sides
    sources: set[int]  # the stages whose outputs it reads
    modules: int = 1
    calls: list[int] = field(default_factory=list)


def stages(model: nn.Module, input_size: tuple[int, ...]) -> list[Stage]:
    """Run a network once on zeros; its stages in the order of execution, with their shapes and connections.

    `input_size`: (channels, *sides) without the batch. Modules that follow each other in a chain and keep the
    shape form one stage; a convolution of another kernel or dilation opens a new one. Connections are
    followed through functions such as `torch.cat` and `+`. Stage 0 is the input.
    """
    calls = _trace(model, input_size)
    readers: dict[int, int] = {}
    for call in calls:
        for source in call.sources:
            readers[source] = readers.get(source, 0) + 1
    found: list[Stage] = []
    stage_of: dict[int, int] = {}
    for i, call in enumerate(calls):
        previous = next(iter(call.sources)) if len(call.sources) == 1 else None
        host = found[stage_of[previous]] if previous is not None else None
        joins = (
            host is not None
            and stage_of[previous] != 0
            and host.calls[-1] == previous
            and readers[previous] == 1
            and host.shape == call.shape
            and (call.kind == "" or call.label == host.label)
        )
        if joins:
            host.modules += call.kind != ""
            host.calls.append(i)
            stage_of[i] = stage_of[previous]
        else:
            sources = {stage_of[source] for source in call.sources}
            stage_of[i] = len(found)
            kind, label = (call.kind, call.label) if call.kind else _join(call, [found[s] for s in sources])
            found.append(Stage(kind, label, call.shape, sources, calls=[i]))
    return found


def _join(call: "_Call", sources: list[Stage]) -> tuple[str, str]:
    """Kind and label of the box of an activation or normalisation: how the stages that it reads were joined."""
    concatenated = call.shape[0] == sum(source.shape[0] for source in sources) and len(sources) > 1
    return "join", "concatenation" if concatenated else "sum" if len(sources) > 1 else "activation"


@dataclass
class _Call:
    kind: str  # "" for what only follows a convolution: activation, normalisation, dropout
    label: str
    shape: tuple[int, ...]
    sources: set[int]


class _Provenance(TorchFunctionMode):
    """Marks the result of every torch function with the calls that its arguments come from."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        made_by = _made_by((args, kwargs))
        for tensor in _tensors(result):
            # A parameter is a tensor too, but does not depend on the input.
            if made_by and not isinstance(tensor, nn.Parameter):
                tensor.made_by = made_by
        return result


def _trace(model: nn.Module, input_size: tuple[int, ...]) -> list[_Call]:
    calls = [_Call(kind="other", label="input", shape=tuple(input_size), sources=set())]

    def record(module: nn.Module, inputs: tuple, output) -> None:
        for tensor in _tensors(output):
            kind, label = _describe(module)
            calls.append(_Call(kind, label, tuple(tensor.shape[1:]), _made_by(inputs)))
            tensor.made_by = {len(calls) - 1}

    leaves = [module for module in model.modules() if not list(module.children())]
    parameter = next(model.parameters(), torch.zeros(()))
    handles = [leaf.register_forward_hook(record) for leaf in leaves if not isinstance(leaf, nn.Identity)]
    training = {module: module.training for module in model.modules()}
    picture = torch.zeros(1, *input_size, device=parameter.device, dtype=parameter.dtype)
    picture.made_by = {0}
    try:
        model.eval()
        with torch.no_grad(), _Provenance():
            model(picture)
    finally:
        for module, was_training in training.items():
            module.training = was_training
        for handle in handles:
            handle.remove()
    return calls


def _describe(module: nn.Module) -> tuple[str, str]:
    if isinstance(module, _CONVOLUTIONS):
        dilation = max(module.dilation)
        kernel = "×".join(map(str, module.kernel_size))
        if dilation > 1:
            return "dilated convolution", f"{kernel} conv, dilation {dilation}"
        return "convolution", f"{kernel} conv"
    if isinstance(module, _UPSAMPLING):
        names = {nn.PixelShuffle: "pixel shuffle", nn.Upsample: "up-sampling"}
        return "up-sampling", names.get(type(module), "transposed conv")
    name = type(module).__name__
    if "Pool" in name:
        return "pooling", "pooling"
    if isinstance(module, nn.Linear):
        return "linear", "linear"
    passes_on = ("Norm", "Dropout", "LU", "Sigmoid", "Tanh", "Softmax", "Pad", "Flatten", "Hardswish")
    return ("", "") if any(part in name for part in passes_on) else ("other", name)


def _tensors(values) -> Iterator[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(tuple(values.values()))
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _tensors(value)


def _made_by(values) -> set[int]:
    return {call for tensor in _tensors(values) for call in getattr(tensor, "made_by", ())}
