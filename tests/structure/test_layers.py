"""Imports point downwards only: every module has a rank, and may import lower ranks or its own component.

The table below is the architecture. It reads imports with `ast` and imports nothing itself.
"""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"
PACKAGE = "motionstream"

# Component (first name under the package; "" is the package itself) -> rank.
RANKS = {
    "shapes": 0,
    "config": 0,
    "presets": 0,
    "device": 0,
    "errors": 0,
    "files": 0,
    "marks": 0,
    "assets": 0,
    "media": 1,
    "nn": 1,
    "flow": 2,
    "tracks": 2,
    "models": 3,
    "camera": 3,
    "causal": 4,
    "data": 5,
    "train": 6,
    "stream": 6,
    "tracking": 6,
    "eval": 7,
    "serve": 7,
    "bench": 7,
    "commands": 8,
    "cli": 8,
    "__main__": 8,
    "": 8,
}
# The ground floor and the roof are each one component: their files may import one another.
SHARED_FLOORS = {0, 8}
# Arrows that point down and are still not wanted.
FORBIDDEN = {
    ("stream", "data"),
    ("stream", "train"),
    ("serve", "data"),
    ("serve", "train"),
}


def module_name(path: Path, src: Path) -> str:
    parts = path.relative_to(src).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def component(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imported_modules(tree: ast.AST, module: str, is_package: bool, known: set[str]) -> list[tuple[int, str]]:
    """Every module of ours that the file names, lazy imports inside functions included."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                base = module.split(".")
                base = base[: len(base) - node.level + is_package]
                origin = ".".join([*base, origin]) if origin else ".".join(base)
            for alias in node.names:  # `from motionstream import shapes` names the module, not the package
                child = f"{origin}.{alias.name}"
                found.append((node.lineno, child if child in known else origin))
    return [(line, name) for line, name in found if name.split(".")[0] == PACKAGE]


def layer_errors(src: Path) -> list[str]:
    files = {module_name(path, src): path for path in sorted((src / PACKAGE).rglob("*.py"))}
    known = set(files)
    errors = []
    for module, path in files.items():
        here = component(module)
        if here not in RANKS:
            errors.append(f"{module}: '{here}' has no rank; add it to RANKS in tests/structure/test_layers.py")
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        for line, target in imported_modules(tree, module, path.name == "__init__.py", known):
            there = component(target)
            where = f"{path.relative_to(src)}:{line}: {module} imports {target}"
            if there not in RANKS:
                errors.append(f"{where}: '{there}' has no rank; add it to RANKS in tests/structure/test_layers.py")
            elif (here, there) in FORBIDDEN:
                errors.append(f"{where}: {here} must not know {there}")
            elif here == there or (RANKS[here] == RANKS[there] and RANKS[here] in SHARED_FLOORS):
                continue
            elif RANKS[there] >= RANKS[here]:
                errors.append(f"{where}: rank {RANKS[there]} is not below rank {RANKS[here]}; arrows point down only")
    return errors


def test_imports_point_down():
    errors = layer_errors(SRC)
    assert not errors, "\n" + "\n".join(dict.fromkeys(errors))


@pytest.mark.parametrize(
    ("module", "line", "complaint"),
    [
        ("nn/rope.py", "from motionstream.models.dit import WanDiT", "arrows point down"),
        ("stream/engine.py", "from ..data import shards", "must not know data"),
        ("flow/path.py", "from motionstream import tracks", "arrows point down"),
        ("shapes.py", "import motionstream", "arrows point down"),
        ("nowhere.py", "import os", "add it to RANKS"),
        ("train/distill.py", "def f():\n    from ..stream.engine import StreamEngine", "arrows point down"),
        ("causal/rollout.py", "from ..models import dit\nfrom . import plan\nimport torch", None),
        ("presets.py", "from .config import ModelConfig", None),
    ],
)
def test_the_check_itself(tmp_path: Path, module: str, line: str, complaint: str | None):
    for name in ("__init__", "data/__init__", "tracks/__init__", "models/__init__", "causal/__init__"):
        (tmp_path / PACKAGE / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / PACKAGE / f"{name}.py").touch()
    path = tmp_path / PACKAGE / module
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line + "\n", encoding="utf-8")
    errors = layer_errors(tmp_path)
    if complaint is None:
        assert not errors
    else:
        assert errors
        assert complaint in errors[0]
