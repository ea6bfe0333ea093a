"""Attention as plain products on what nano itself asks: there it must be as exact as it was when all keys said the level."""

import numpy as np
import pytest
from torch import Tensor

from motionstream.media.images import load_first_frame
from motionstream.nn.attention import attention, attention_products, attention_reference
from motionstream.serve.gallery import Gallery
from motionstream.stream.engine import load_engine
from motionstream.stream.points import Point

CHUNKS = 5


@pytest.mark.parametrize("name", ["dog", "sailboat"])
def test_in_every_layer_of_a_stream_the_error_is_that_of_rounded_weights(name):
    engine = load_engine("nano", device="cpu", dtype="bfloat16", size=(96, 128))
    assert engine.fused is not None
    errors: list[tuple[float, float]] = []

    def watched(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        wanted = attention_reference(q.double(), k.double(), v.double())
        ways = attention_products(q, k, v), attention(q, k, v)
        errors.append(tuple(float((got.double() - wanted).norm() / wanted.norm()) for got in ways))
        return ways[1]

    engine.fused.attend = watched
    with engine.start(load_first_frame(Gallery().path(name), 128, 96)) as session:
        for chunk in range(CHUNKS):
            session.push([Point(n, 50.0 + 6 * chunk + 4 * (n % 6), 40.0 + 4 * (n // 6)) for n in range(24)])
            session.step()
    products, fused = np.array(errors).T
    assert len(products) >= 11 * CHUNKS - 5  # the last clean pass is not due yet
    assert products.max() < 3.5e-3
    assert (products < 2.1 * fused).all()
