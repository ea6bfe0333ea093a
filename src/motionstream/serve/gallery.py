"""The pictures that come with the package: what the page offers to begin with.

>>> Gallery().entry("cat")["object"]
[90, 20, 590, 470]
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image

FOLDER = Path(str(resources.files("motionstream"))) / "assets" / "gallery"


class Gallery:
    """Read once; ``folder`` holds ``gallery.json`` and the pictures it names."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files: dict[str, Path] = {}
        self._entries: dict[str, dict[str, Any]] = {}
        for row in json.loads((folder / "gallery.json").read_text(encoding="utf-8")):
            path = folder / row["file"]
            with Image.open(path) as image:
                size = list(image.size)
            self._files[path.stem] = path
            self._entries[path.stem] = {
                "name": path.stem,
                "caption": row["caption"],
                "prompt": row.get("prompt", row["caption"]),
                "url": f"gallery/{path.name}",
                "object": row["object"],
                "size": size,
                "credit": f"{row['author']}, {row['licence']}",
            }

    def entries(self) -> list[dict[str, Any]]:
        """All of them, as ``GET /api/gallery`` gives them."""
        return list(self._entries.values())

    def entry(self, name: str) -> dict[str, Any]:
        """One of them; ``KeyError`` for a name that is not in it."""
        return self._entries[name]

    def path(self, name: str) -> Path | None:
        """File of a picture, None for a name that is not in the gallery."""
        return self._files.get(name)
