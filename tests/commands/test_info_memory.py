import pytest

from motionstream import cli


def test_for_and_fit(capsys, last_json, check_sentence):
    assert cli.main(["info", "nano", "--for", "stream", "--fit", "2GB", "--json"]) == 0
    facts = last_json()
    assert (facts["preset"], facts["purpose"], facts["predicted"]) == ("nano", "stream", True)
    assert facts["parts"]["cache"] == 3 * 2 * 6 * 4 * 432 * 256  # bfloat16: what a GPU computes in
    assert facts["fits"].endswith("nothing given up")
    assert facts["total"] == facts["peak"] + facts["reserve"] < 2 * 10**9
    assert cli.main(["info", "tiny-debug", "--for", "teacher", "--gpus", "2", "--batch", "3"]) == 0
    out = capsys.readouterr().out
    assert "tiny-debug teacher on each of 2 GPUs, clips of 33 frames, batch 3: predicted, not measured" in out
    assert "activations" in out
    assert cli.main(["info", "wan2.1-1.3b", "--for", "stream", "--fit", "6GiB"]) == 2
    check_sentence("6.4 GB is too little: give --fit 12GB")


def test_another_size_needs_another_memory(last_json):
    found = {}
    for size in ("128x96", "192x144"):
        assert cli.main(["info", "nano", "--for", "stream", "--size", size, "--json"]) == 0
        found[size] = last_json()["parts"]["cache"]
    assert found["192x144"] == 432 / 192 * found["128x96"]
    assert cli.main(["info", "nano", "--size", "128x96", "--json"]) == 0
    assert last_json()["presets"]["nano"]["size"] == [128, 96]


def test_fp8_holds_its_products_beside_the_weights(capsys, last_json):
    held = {}
    for more in ([], ["--fp8"], ["--fp8", "all"]):
        assert cli.main(["info", "wan2.1-1.3b", "--for", "stream", "--json", *more]) == 0
        report = last_json()
        assert held.setdefault(bool(more), report) == report, "either form holds both"
    extra = held[True]["parts"]["fp8_products"]
    assert held[False]["parts"]["fp8_products"] == 0
    assert 1.0e9 < extra < held[True]["parts"]["dit"], "a byte for each number of most products"
    assert held[True]["peak"] - held[False]["peak"] == extra


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--for", "stream"], "--for needs a preset"),
        (["--size", "128x96"], "--size needs a preset"),
        (["nano", "--size", "130x96"], "width=130 must be a positive multiple of 8"),
        (["nano", "--fit", "2GB"], "--fit needs a purpose"),
        (["nano", "--for", "stream", "--fit", "much"], "'much' must be a size of memory"),
        (["nano", "--for", "stream", "--fit", "0GB"], "'0GB'"),
        (["nano", "--for", "stream", "--gpus", "2"], "a stream runs on one GPU"),
        (["nano", "--for", "teacher", "--gpus", "0"], "--gpus"),
        (["nano", "--for", "stream", "--dtype", "bogus"], "dtype 'bogus' is unknown: use float32, bfloat16, float16"),
        (["nano", "--gpus", "2"], "--gpus needs a purpose"),
        (["nano", "--batch", "4"], "--batch needs a purpose"),
        (["nano", "--fp8"], "--fp8 needs a purpose"),
        (["nano", "--for", "stream", "--batch", "4"], "--for stream makes one video: leave it out"),
        (["nano", "--fp8", "--for", "stream"], "--fp8 is for Wan presets, and nano is none"),
        (["nano", "--for", "stream", "--device", "cuda:9"], "--device cuda:9 is not asked for a prediction"),
        (["nano", "--fp8", "--for", "teacher"], "--for teacher trains: leave it out"),
    ],
)
def test_bad_input(check_sentence, arguments: list[str], complaint: str):
    assert cli.main(["info", *arguments]) == 2
    check_sentence(complaint)
