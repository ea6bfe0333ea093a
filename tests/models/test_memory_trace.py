import torch
from torch import nn

from motionstream.models.memory_trace import MemoryTrace, made_in, products_in, rehearsal


def test_counts_what_is_held_and_the_most():
    with MemoryTrace() as trace:
        a = torch.zeros(1000)
        b = a.view(10, 100)[2:]  # a view holds nothing of its own
        assert (trace.live, trace.peak) == (4000, 4000)
        c = a + 1
        del c
        assert (trace.live, trace.peak) == (4000, 8000)
        del a
        assert trace.live == 4000  # b still holds it
        assert trace.restart() == 4000 == trace.peak
        b.add_(1)
        assert trace.peak == 4000
        del b
        assert trace.live == 0


def test_what_the_backward_pass_needs_is_held():
    layer, x = nn.Linear(50, 60), torch.ones(7, 50, requires_grad=True)
    with MemoryTrace() as trace:
        trace.ignore(layer, x)
        out = layer(x).relu()
        assert trace.live == 4 * 7 * 60  # relu keeps its output, the product keeps x
        out.sum().backward()
        del out
        assert trace.live == 4 * (7 * 50 + 60 * 50 + 60)  # the gradients


def test_rehearsal_has_shapes_but_no_numbers():
    with rehearsal() as trace, torch.inference_mode(), products_in(torch.bfloat16):
        layer = made_in(torch.bfloat16, lambda: nn.Linear(100_000, 100_000))  # 20 GB, were it real
        trace.ignore(layer)
        before = trace.restart()
        out = layer(torch.empty(3, 100_000))
        assert (out.dtype, out.shape) == (torch.bfloat16, (3, 100_000))
        assert trace.peak - before == 3 * 100_000 * (4 + 2 + 2)  # the input, its copy in bfloat16, the output
    assert torch.get_default_dtype() == torch.float32
