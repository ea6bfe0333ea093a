"""Suites by name: what they need, how they are built, and the run from rows to report and page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motionstream.errors import UserError
from motionstream.eval.camera_cases import CameraCases
from motionstream.eval.cases import CaseSource
from motionstream.eval.drag_suite import DragSuite
from motionstream.eval.horizon import PAPER_SETTINGS, PUBLISHED_MULTIPLES, HorizonSuite
from motionstream.eval.page import write_page
from motionstream.eval.report import FLOOR, build_report
from motionstream.eval.rows import REPORT, SAMPLE, SHOWN, RowFile, write_json
from motionstream.eval.space_cases import SpaceCases
from motionstream.eval.tasks import Gallery, Suite, run_tasks
from motionstream.eval.teacher import load_teacher
from motionstream.eval.video_suite import VideoSuite
from motionstream.files import alone_in
from motionstream.marks import mark_of
from motionstream.models.lpips import LPIPS
from motionstream.stream.engine import StreamEngine
from motionstream.stream.find_weights import weights_folder

SETTINGS_OF_MODEL = ("setting", "sigmas", "dtype")
"""What of the environment, besides the weights, decides what a model makes."""


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """What the command line says; None = the suite's own default.

    Attributes:
        suite: a name in `SUITES`. data: the user's folder; for clips and transfer videos instead of the bundled ones.
        scenes, late_scenes, seeds, frames, grid: sizes. cache_settings: of suite horizon;
            none are the model's own and the paper's.
        tracker: of `motionstream.tracking`. depth_model: a folder, for llff.
        quick, no_teacher: leave conditions out.
    """

    suite: str
    data: Path | None = None
    scenes: int | None = None
    late_scenes: int = 16
    seeds: tuple[int, ...] | None = None
    frames: int | None = None
    grid: tuple[int, int] | None = None
    cache_settings: tuple[str, ...] = ()
    tracker: str = "lk"
    depth_model: Path | None = None
    quick: bool = False
    no_teacher: bool = False


def build_suite(engine: StreamEngine, preset: str, options: EvalOptions, lpips: LPIPS | None) -> Suite:
    """The suite that ``options`` ask for.

    Raises:
        UserError: missing data, or values that do not fit the model.
    """
    if options.suite == "transfer":
        return _transfer(engine, options)
    teacher = None if options.no_teacher or options.suite == "horizon" else load_teacher(preset, engine)
    if options.suite == "drags":
        sizes = {} if options.scenes is None else {"scenes": options.scenes}
        return DragSuite(
            engine,
            **sizes,
            late_scenes=options.late_scenes,
            teacher=teacher,
            quick=options.quick,
            seeds=options.seeds or (0,),
        )
    if options.suite == "horizon":
        sizes = {} if options.scenes is None else {"scenes": options.scenes}
        return HorizonSuite(
            engine,
            num_frames=options.frames or PUBLISHED_MULTIPLES[-1] * engine.preset.clip_frames,
            settings=options.cache_settings or (engine.preset.cache.tag, *PAPER_SETTINGS),
            seeds=options.seeds or (0, 1, 2),
            grid=options.grid or cell_grid(engine),
            lpips=lpips,
            tracker=options.tracker,
            **sizes,
        )
    source = _source(engine, options)
    clip, frames = engine.preset.clip_frames, source.settings["frames"]
    if teacher is not None and frames > clip:
        source.notes.append(f"The teacher makes clips of {clip} frames and is left out of this run of {frames}.")
        teacher = None
    return VideoSuite(
        engine, source, scenes=options.scenes, seeds=options.seeds or (0,), teacher=teacher, lpips=lpips,
        tracker=options.tracker, quick=options.quick,
    )  # fmt: skip


def _transfer(engine: StreamEngine, options: EvalOptions) -> Suite:
    # needs PyAV and OpenCV, as below
    from motionstream.eval.transfer_cases import MIN_FRAMES
    from motionstream.eval.transfer_suite import TransferSuite

    if options.grid is not None:
        raise UserError("suite transfer covers clips as `motionstream transfer` does: leave --grid out")
    frames = options.frames or engine.preset.clip_frames
    if frames < MIN_FRAMES:
        raise UserError(f"--frames {frames} is too short for suite transfer: use at least {MIN_FRAMES}")
    return TransferSuite(
        engine, frames=frames, scenes=options.scenes, seeds=options.seeds or (0,), clips=options.data,
        tracker=options.tracker, quick=options.quick,
    )  # fmt: skip


def _source(engine: StreamEngine, options: EvalOptions) -> CaseSource:
    # Reading and tracking video need PyAV and OpenCV; suites drags and horizon run where there is only torch.
    from motionstream.eval.clip_cases import ClipCases, bundled_clips, folder_clips
    from motionstream.eval.datasets import PAPER_FRAMES, PAPER_GRID, davis_cases, sora_cases
    from motionstream.eval.llff_cases import LLFFCases

    geometry, name = engine.preset.geometry, options.suite
    paper = name in ("davis", "sora", "llff")
    grid = options.grid or (PAPER_GRID if paper else cell_grid(engine))
    frames = options.frames or (PAPER_FRAMES if paper else engine.preset.clip_frames)
    geometry.latent_frames(frames)  # a sentence where it does not fit the latent grid
    if frames < 2:
        raise UserError(f"--frames {frames} is too short: nothing moves in it")
    if name == "camera":
        return CameraCases(geometry, frames, grid)
    if name == "camera3d":
        return SpaceCases(geometry, frames, grid)
    if name == "davis":
        return davis_cases(options.data, geometry, grid, frames, options.tracker)
    if name == "sora":
        return sora_cases(options.data, geometry, grid, frames, options.tracker)
    if name == "llff":
        return LLFFCases(options.data, geometry, frames, grid, options.depth_model)
    if options.data is None:
        clips = bundled_clips(frames)
        notes = ["The bundled clips, cut into windows; every window starts from its own first frame."]
    else:
        clips = folder_clips(options.data, geometry.fps)
        notes = [f"Clips of the folder {options.data.name!r}: not the bundled set."]
    made = ClipCases(
        "clips", clips, geometry, max_frames=frames, grid=grid, expected=len(clips), tracker=options.tracker, notes=notes
    )
    if options.data is not None:
        made.settings["data"] = options.data.resolve().name
    return made


def cell_grid(engine: StreamEngine) -> tuple[int, int]:
    """One point for each latent cell."""
    return engine.preset.geometry.latent_height, engine.preset.geometry.latent_width


def weights_mark(preset: str) -> str:
    """What tells one set of weights from another: "random", or a digest over size, beginning and end of the files."""
    folder = weights_folder(preset)
    return "random" if folder is None else mark_of(sorted(folder.glob("*.safetensors")))


def run_suite(
    suite: Suite, *, out: Path | None, preset: str, environment: dict[str, Any], lpips_missing: str, videos: bool = True
) -> dict[str, Any]:
    """Measure what is not in ``out`` yet, and write rows, report and page there; returns the report.

    Args:
        environment: of the report; its ``preset``, ``size``, ``sample`` (settings of sampling), `SHOWN` and
            `SETTINGS_OF_MODEL` also tell whose rows ``out`` holds.

    Raises:
        ValueError: ``out`` holds rows of another run or is written by another process, or no sample can be used.
    """
    if out is None:
        return _run_suite(suite, None, preset, environment, lpips_missing, videos)
    out.mkdir(parents=True, exist_ok=True)
    with alone_in(out, "being measured into"):
        return _run_suite(suite, out, preset, environment, lpips_missing, videos)


def _run_suite(
    suite: Suite, out: Path | None, preset: str, environment: dict[str, Any], lpips_missing: str, videos: bool
) -> dict[str, Any]:
    seeds = list(getattr(suite, "seeds", [0]))
    told = (*SETTINGS_OF_MODEL, *(("device", "hardware") if suite.name == "speed" else ()))
    identity = {
        "suite": suite.name, "preset": environment["preset"], "size": environment["size"], "weights": weights_mark(preset),
        "settings_of_model": {name: environment[name] for name in told}, **suite.settings,
        **{f"{SAMPLE}{name}": value for name, value in environment["sample"].items() if name != "student_sigmas"},
        **{name: True for name in SHOWN if environment.get(name)},  # not said in folders from before they were
    }  # fmt: skip
    rows = RowFile(out, identity)
    gallery = Gallery(out if videos else None)
    tasks = suite.tasks(gallery)
    left_out: dict[str, str] = {}
    measured = run_tasks(tasks, rows, suite.name, left_out)
    report = build_report(
        suite=suite.name,
        rows=measured,
        samples=suite.samples,
        expected=suite.expected,
        seeds=seeds,
        settings=suite.settings,
        notes=[*suite.notes, *(f"Left out {name}: {why}." for name, why in left_out.items())],
        lpips_missing=lpips_missing,
        extra=suite.extra(measured),
        environment={**environment, "weights": identity["weights"]},
        floor=getattr(suite, "floor", FLOOR),
    )
    if out is not None:
        write_json(out / REPORT, report)
        write_page(out, report, measured, main_metric=suite.main_metric, less_is_better=suite.less_is_better)
    return report
