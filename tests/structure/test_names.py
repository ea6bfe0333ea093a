"""What must not appear in any text file of the project: to-do marks and paths of one person's machine."""

import re

import pytest
from project_files import ROOT, project_files, text_of

# Written in pieces, so that this file passes its own test.
TO_DO = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
MACHINE_FOLDERS = ("work", "home", "root", "Users", "opt", "mnt", "workspace")
MACHINE_PATH = re.compile(r"(?<![\w./~:$}<>*-])/(?:" + "|".join(MACHINE_FOLDERS) + r")/[\w.{$-]+")


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in project_files():
        for number, line in enumerate((text_of(path) or "").splitlines(), start=1):
            if match := pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match.group()}")
    return found


def test_no_to_do_marks():
    found = lines_with(TO_DO)
    assert not found, "open an issue instead of leaving a mark:\n" + "\n".join(found)


def test_no_machine_paths():
    found = lines_with(MACHINE_PATH)
    assert not found, "paths that exist on one machine only:\n" + "\n".join(found)


@pytest.mark.parametrize("folder", MACHINE_FOLDERS)
def test_machine_paths_are_seen(folder: str):
    assert MACHINE_PATH.search(f'open("/{folder}/someone/video.mp4")')


@pytest.mark.parametrize("harmless", ["https://example.org/home/page", "runs/work/log", "../opt/x", "/usr/bin/env"])
def test_other_paths_are_not(harmless: str):
    assert not MACHINE_PATH.search(harmless)
