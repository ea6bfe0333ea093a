import pytest
import torch
from torch import nn

from motionstream.train.ema import EMA


class Counter(nn.Module):
    """A weight, a floating buffer and an integer one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def become(self, value: float) -> None:
        with torch.no_grad():
            self.weight.fill_(value)
            self.mean.fill_(value)
            self.count.fill_(int(value))


def test_average_follows_its_recursion():
    module = Counter()
    ema, wanted = EMA(module, decay=0.9), 0.0
    for n in range(1, 200):
        module.become(float(n))
        ema.update(module)
        decay = min(0.9, (1 + n) / (10 + n))
        wanted = decay * wanted + (1 - decay) * n
        assert ema.shadow["weight"][0].item() == pytest.approx(wanted, rel=1e-5)
    assert ema.shadow["mean"][0].item() == pytest.approx(wanted, rel=1e-5)
    assert ema.shadow["count"].item() == 199, "integers are copied, not averaged"
    assert module.weight[0].item() == 199, "the module itself is untouched"


def test_the_start_is_forgotten_early():
    module = Counter()
    module.become(1000.0)
    ema = EMA(module, decay=0.9999)
    module.become(1.0)
    for _ in range(100):
        ema.update(module)
    assert ema.shadow["weight"][0].item() == pytest.approx(1.0, abs=0.1)


def test_copy_and_resume():
    module, other = Counter(), Counter()
    ema = EMA(module, 0.9)
    for n in range(5):
        module.become(n)
        ema.update(module)
    ema.copy_to(other)
    assert torch.equal(other.weight, ema.shadow["weight"])
    resumed = EMA(Counter(), 0.9)
    resumed.load_state_dict(ema.state_dict())
    assert resumed.updates == 5
    for each in (ema, resumed):
        module.become(50)
        each.update(module)
    assert all(torch.equal(resumed.shadow[k], v) for k, v in ema.shadow.items())


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2.0])
def test_bad_decays_are_refused(decay):
    with pytest.raises(ValueError, match="ema decay"):
        EMA(Counter(), decay)
