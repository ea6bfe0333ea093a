"""One concept per file: source files stay short, and no file is a drawer for things without a name."""

from project_files import ROOT, project_files

MAX_LINES = 400
SOURCE_SUFFIXES = {".py", ".js", ".css", ".html", ".sh"}
DRAWERS = {"utils", "util", "misc", "common", "helpers", "helper", "base"}


def test_source_files_are_short():
    long = []
    for path in project_files():
        if path.suffix in SOURCE_SUFFIXES:
            num_lines = len(path.read_text(encoding="utf-8").splitlines())
            if num_lines > MAX_LINES:
                long.append(f"{path.relative_to(ROOT)} has {num_lines} lines, more than {MAX_LINES}: split off a concept")
    assert not long, "\n" + "\n".join(long)


def test_no_drawer_modules():
    drawers = []
    for path in project_files():
        name = path.relative_to(ROOT)
        if path.suffix == ".py" and DRAWERS & {path.stem.lower(), *(part.lower() for part in name.parts[:-1])}:
            drawers.append(f"{name}: name the file after its concept, not after having none")
    assert not drawers, "\n" + "\n".join(drawers)
