"""What the README's commands install is enough for what they start."""

import re
import subprocess
import sys
import tomllib

from project_files import ROOT

PACKAGES = {  # extra's package -> module, where the names differ
    "opencv-python-headless": "cv2",
    "scikit-image": "skimage",
    "pre-commit": "pre_commit",
}


def test_the_studio_starts_with_what_make_demo_installs():
    """Every package of the other extras is hidden; the studio, a transfer and a tracker must be there all the same."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = {name: {re.split(r"[<>=!~ \[]", line)[0] for line in lines} for name, lines in extras.items()}
    assert '-e ".[serve]"' in (ROOT / "Makefile").read_text(encoding="utf-8")
    others = set().union(*(found for name, found in named.items() if name != "serve")) - named["serve"]
    hidden = sorted(PACKAGES.get(name, name) for name in others)
    assert "matplotlib" in hidden
    modules = ("serve.app", "serve.launch", "serve.studio", "commands.demo", "commands.transfer", "stream.outline")
    lines = [
        "import sys",
        f"sys.modules.update(dict.fromkeys({hidden!r}))",
        *(f"import motionstream.{module}" for module in modules),
        "from motionstream.stream.outline import can_outline",
        "from motionstream.tracking.tracker import make_tracker",
        "assert can_outline(), 'a touch would not take the thing under it'",
        "make_tracker('lk')",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
