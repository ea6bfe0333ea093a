from pathlib import Path

import pytest
from safetensors.torch import load_file

import motionstream
from motionstream import cli
from motionstream.presets import preset


@pytest.mark.parametrize("name", ["nano", "tiny-debug"])
def test_info(capsys, last_json, check_sentence, name: str):
    assert cli.main(["info", name, "--json", "--device", "cpu", "--dtype", "float32"]) == 0
    facts = last_json()
    assert (facts["device"], facts["dtype"], list(facts["presets"])) == ("cpu", "float32", [name])
    sizes, config = facts["presets"][name], preset(name)
    assert sizes["size"] == [config.geometry.width, config.geometry.height]
    assert sizes["chunk_frames"] == ([1, 4] if name == "nano" else [9, 12])
    tokens = config.cache.slots * config.geometry.tokens_per_frame
    assert sizes["memory"]["cache"] == 3 * 4 * config.model.num_layers * tokens * config.model.dim
    assert sizes["parameters"]["dit"] > sizes["parameters"]["vae"] > 1000
    assert cli.main(["info"]) == 0
    assert "compute: cpu" in capsys.readouterr().out
    assert cli.main(["info", "mega"]) == 2
    check_sentence("unknown preset 'mega'")


def test_the_recall_that_ships_is_counted(capsys, last_json):
    assert cli.main(["info", "--json", "--device", "cpu"]) == 0
    counted = {name: sizes["parameters"].get("recall") for name, sizes in last_json()["presets"].items()}
    stored = load_file(Path(motionstream.__file__).parent / "weights/nano/recall.safetensors")
    assert counted.pop("nano") == sum(weight.numel() for weight in stored.values())
    assert set(counted.values()) == {None}
    assert cli.main(["info", "nano", "--device", "cpu"]) == 0
    assert ", recall 201.8 k" in capsys.readouterr().out
