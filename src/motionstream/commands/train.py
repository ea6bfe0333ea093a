"""``motionstream train STAGE``: one verb per stage of nano's training; every run is resumable."""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from motionstream.commands.options import device_arguments, size_argument

STAGES = ("vae", "teacher", "ode-pairs", "causal-init", "distill", "rechunk", "recall", "average", "status")
EPILOG = """\
stages, in order (runs/nano_cpu.sh runs them all on two processor cores):
  vae          fit the latents, train the streaming decoder
  teacher      bidirectional flow matching with tracks           needs --vae
  ode-pairs    the teacher's trajectories, for method=ode        needs --vae --teacher
  causal-init  the causal student's start (method=forcing|ode)   needs --vae, and --teacher or init=DIR
  distill      Self Forcing with DMD                             needs --vae --teacher --student
  rechunk      the same student, smaller chunks or larger video  needs --vae --student
  recall       what gives frames the picture's own pixels back  needs --vae --student
  average      a mean of two students, or one's gain for another needs --student, --set other=DIR
  status       where a run stands: motionstream train status --out DIR

example, a minute on a laptop:
  motionstream train vae --preset tiny-debug --steps 20 --out /tmp/vae --set batch=2 fit_clips=16
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="key=value",
        dest="settings",
        help="settings of the stage: batch=8 lr=1e-3",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of this run")
    parser.add_argument("--preset", default="nano", help="a name, or a folder of weights to go on with as they are")
    size_argument(parser, "pixels of clips and of what is exported (default: the preset's)")
    parser.add_argument("--vae", type=Path, help="folder with vae.safetensors")
    parser.add_argument("--teacher", type=Path, help="folder with teacher.safetensors")
    parser.add_argument("--student", type=Path, help="folder with student.safetensors")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--steps", type=int, help="total updates")
    parser.add_argument("--minutes", type=float, help="stop after this long; --resume goes on")
    device_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if args.stage == "status":
        return _status(args.out)
    from motionstream.device import choose_compute
    from motionstream.files import alone_in, check_folder
    from motionstream.presets import PRESETS, preset
    from motionstream.stream.find_weights import read_config
    from motionstream.train.loop import IN_USE
    from motionstream.train.loop import run as run_loop

    config = _config(args)
    folder = Path(args.preset)
    chosen = read_config(folder) if args.preset not in PRESETS and folder.is_dir() else preset(args.preset)
    if args.size is not None:
        chosen = chosen.sized(*args.size)
    check_folder(args.out)
    if args.stage == "average":
        return _average(args, config, chosen)
    if chosen.vae_kind != "nano":
        raise ValueError(
            f"train {args.stage} makes models of nano's autoencoder alone, and {args.preset} has that of {chosen.vae_kind}: "
            "use --preset nano, or tiny-debug, to try it"
        )
    if args.out.is_dir():
        with alone_in(args.out, IN_USE):  # which the loop asks for again: here it is early, before a stage is prepared
            pass
    compute = choose_compute(args.device, args.dtype)
    print(f"{args.stage} of {chosen.name} on {compute.reason}")
    if args.stage == "ode-pairs":
        return _ode_pairs(args, config, chosen, compute)
    stage = _stage(args, config, chosen, compute)
    early = f"{args.out}: stopped early, --resume goes on"
    try:
        given = _given(args, config, chosen)
        # Scenes and noise of a seed are those of a kind of device.
        given |= {"--dtype": str(compute.dtype).removeprefix("torch."), "--device": compute.device.type}
        complete = run_loop(stage, config.loop, args.out, config=config, resume=args.resume, given=given)
    except (KeyboardInterrupt, SystemExit):  # saved before; the exit code tells a script of several stages to stop too
        print(early)
        raise
    print(f"{args.out}: complete" if complete else early)
    return 0


def _config(args: argparse.Namespace) -> Any:
    from motionstream.config import with_overrides
    from motionstream.train.average import AverageConfig
    from motionstream.train.causal_init import CausalInitConfig
    from motionstream.train.distill import DistillConfig
    from motionstream.train.ode_pairs import OdePairsConfig
    from motionstream.train.recall import RecallConfig
    from motionstream.train.rechunk import RechunkConfig
    from motionstream.train.teacher import TeacherTrainConfig
    from motionstream.train.vae import VAETrainConfig

    kinds: dict[str, Any] = {
        "vae": VAETrainConfig,
        "teacher": TeacherTrainConfig,
        "ode-pairs": OdePairsConfig,
        "causal-init": CausalInitConfig,
        "distill": DistillConfig,
        "rechunk": RechunkConfig,
        "recall": RecallConfig,
        "average": AverageConfig,
    }
    config = with_overrides(kinds[args.stage](), args.settings)
    if args.stage == "ode-pairs":
        if args.steps is not None or args.minutes is not None:
            raise ValueError("train ode-pairs takes no --steps or --minutes: use --set clips=N (finished shards are kept)")
        return config
    if args.stage == "average":
        if args.steps is not None or args.minutes is not None or args.resume:
            raise ValueError("train average trains nothing and takes no --steps, --minutes or --resume: leave them out")
        return config
    loop = config.loop
    if args.steps is not None and loop.fit_minutes:
        raise ValueError(f"--steps {args.steps} and loop.fit_minutes={loop.fit_minutes} both set the length: give one")
    if args.steps is not None:
        if args.steps < 1:
            raise ValueError(f"--steps {args.steps} must be at least 1")
        loop = replace(loop, steps=args.steps)
    if args.minutes is not None:
        loop = replace(loop, minutes=args.minutes)
    return replace(config, loop=_as_begun(args, loop))


def _as_begun(args: argparse.Namespace, loop: Any) -> Any:
    """A resumed run has the length that it began with, unless another one is asked for."""
    about = args.out / "train_config.json"
    asked = args.steps is not None or any(one.startswith(("loop.steps=", "loop.fit_minutes=")) for one in args.settings)
    if not args.resume or asked or not about.is_file():
        return loop
    before = _planned(about)
    if "steps" not in before:  # of a stage without updates: there is no length to take over
        return loop
    return replace(loop, steps=before["steps"], fit_minutes=before.get("fit_minutes", 0.0))


def _need(args: argparse.Namespace, name: str) -> Path:
    folder = getattr(args, name)
    if folder is None:
        raise ValueError(f"train {args.stage} needs --{name} DIR with {name}.safetensors (made by an earlier stage)")
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        raise ValueError(f"--{name} {folder} holds no {name}.safetensors: run the earlier stage first")
    return path


def _vae(args: argparse.Namespace, chosen: Any) -> Any:
    from motionstream.models.load import load_weights
    from motionstream.models.vae import NanoVAE

    vae = NanoVAE(chosen.vae)
    load_weights(_need(args, "vae"), vae)
    return vae


def _given(args: argparse.Namespace, config: Any, chosen: Any) -> dict[str, str]:
    """What a stage is given besides its settings, each with a mark by which a resumed run knows it again."""
    from motionstream.config import to_dict
    from motionstream.marks import mark_of

    given = {"--preset": hashlib.sha256(json.dumps(to_dict(chosen), sort_keys=True).encode()).hexdigest()[:16]}
    # With init the teacher is not read, and a later call may well find a newer one.
    begun = ("vae",) if getattr(config, "init", "") else ("vae", "teacher")
    needed = {"teacher": ("vae",), "rechunk": ("vae", "student"), "recall": ("vae", "student"), "causal-init": begun}
    for name in needed.get(args.stage, ("vae", "teacher", "student") if args.stage == "distill" else ()):
        made_for = getattr(args, name) / "config.json"  # rechunk's guide streams as this says
        also = [made_for] if (args.stage, name) == ("rechunk", "student") and made_for.is_file() else []
        given[f"--{name}"] = mark_of([_need(args, name), *also])
    if args.stage == "recall":
        streams = _as_streamed(args.student, chosen)
        given["--student's setting"] = f"{streams.cache.tag} {_listed(streams.sample.student_sigmas)}"
    about = Path(getattr(config, "pairs", "")) / "pairs_config.json"
    if getattr(config, "pairs", "") and about.is_file():
        # By number, too: more of them are other draws.
        given["pairs"] = f"{mark_of([about])} of {len(list(about.parent.glob('pairs_*.safetensors')))}"
    if getattr(config, "init", ""):
        name = args.stage if args.stage in ("teacher", "recall") else "student"
        given["init"] = mark_of([Path(config.init) / f"{name}.safetensors"])
    if getattr(config, "lpips_weight", 0) and Path(config.lpips).is_file():
        given["lpips"] = mark_of([Path(config.lpips)])
    return given


def _stage(args: argparse.Namespace, config: Any, chosen: Any, compute: Any) -> Any:
    if args.stage == "vae":
        from motionstream.train.vae import VAEStage

        return VAEStage(chosen, config, compute)
    vae = _vae(args, chosen)
    if args.stage == "teacher":
        from motionstream.train.teacher import TeacherStage

        return TeacherStage(chosen, config, vae, compute)
    if args.stage == "recall":
        from motionstream.train.recall import RecallStage

        student = _need(args, "student")
        return RecallStage(_as_streamed(student.parent, chosen), config, vae, student, compute)
    if args.stage == "rechunk":
        from motionstream.train.rechunk import RechunkStage

        student = _need(args, "student")
        _check_levels(student.parent, config, chosen)
        return RechunkStage(chosen, config, vae, student, _made_for(student.parent), compute)
    if args.stage == "causal-init":
        from motionstream.train.causal_init import CausalInitStage

        return CausalInitStage(chosen, config, vae, None if config.init else _need(args, "teacher"), compute)
    from motionstream.train.distill import DistillStage

    teacher, student = _need(args, "teacher"), _need(args, "student")
    _check_levels(student.parent, config, chosen)
    return DistillStage(chosen, config, vae, teacher, student, compute)


def _check_levels(folder: Path, config: Any, chosen: Any) -> None:
    """Refuse a student made for other noise levels than the preset's, unless the settings say which (ValueError)."""
    from motionstream.stream.find_weights import read_config

    if config.sigmas or not (folder / "config.json").is_file():
        return
    levels, wanted = read_config(folder).sample.student_sigmas, chosen.sample.student_sigmas
    if levels != wanted:
        raise ValueError(
            f"--student {folder} was made for the noise levels {_listed(levels)}, and {chosen.name} has {_listed(wanted)}: "
            f'say which to train, as with --set "sigmas={_listed(levels)}"'
        )


def _as_streamed(folder: Path, chosen: Any) -> Any:
    """``chosen`` with the chunks and noise levels that the student in ``folder`` streams in, where its config.json says."""
    from motionstream.stream.find_weights import read_config

    if not (folder / "config.json").is_file():
        return chosen
    made = read_config(folder)
    return replace(chosen, cache=made.cache, sample=replace(chosen.sample, student_sigmas=made.sample.student_sigmas))


def _made_for(folder: Path) -> Any:
    """The cache setting that a student was made for: the ``config.json`` beside it says so."""
    from motionstream.stream.find_weights import read_config

    return read_config(folder).cache


def _ode_pairs(args: argparse.Namespace, config: Any, chosen: Any, compute: Any) -> int:
    from motionstream.marks import mark_of
    from motionstream.models.dit import WanDiT
    from motionstream.models.load import load_weights
    from motionstream.train.ode_pairs import make_pairs

    vae = _vae(args, chosen).to(compute.device).eval()
    teacher = WanDiT(chosen.model, chosen.geometry.t_stride)
    load_weights(_need(args, "teacher"), teacher)
    given = {f"--{name}": mark_of([_need(args, name)]) for name in ("vae", "teacher")}
    count = make_pairs(teacher.to(compute.device).eval(), vae, chosen, config, compute, args.out, given)
    print(f"{args.out}: {count} trajectories")
    return 0


def _listed(levels: tuple[float, ...]) -> str:
    return f"[{','.join(f'{level:g}' for level in levels)}]"


def _average(args: argparse.Namespace, config: Any, chosen: Any) -> int:
    from motionstream.stream.find_weights import read_config
    from motionstream.train.average import average_students
    from motionstream.train.dit_stage import with_cache

    folders = [folder for folder in (args.student, Path(config.other)) if folder and (folder / "config.json").is_file()]
    made_for = [read_config(folder) for folder in folders]
    caches, levels = [one.cache for one in made_for], [one.sample.student_sigmas for one in made_for]
    if len(set(caches)) > 1 and not config.cache:
        raise ValueError(
            f"{folders[0]} was made for {caches[0].tag} and {folders[1]} for {caches[1].tag}: "
            "say what the mean is for, as with cache=c1s1w2"
        )
    if len(set(levels)) > 1 and not config.sigmas:
        raise ValueError(
            f"{folders[0]} was made for the noise levels {_listed(levels[0])} and {folders[1]} for {_listed(levels[1])}: "
            f'say what the mean is for, as with "sigmas={_listed(levels[1])}"'
        )
    chosen = with_cache(chosen, config.cache) if config.cache else replace(chosen, cache=caches[0]) if caches else chosen
    sizes = [(one.geometry.width, one.geometry.height) for one in made_for]
    if len(set(sizes)) > 1 and args.size is None and not config.base:
        (w, h), (w2, h2) = sizes
        raise ValueError(
            f"{folders[0]} was made for {w}x{h} pixels and {folders[1]} for {w2}x{h2}: "
            f"say what the mean is for, as with --size {w2}x{h2}"
        )
    if made_for and args.size is None:
        chosen = chosen.sized(made_for[0].geometry.height, made_for[0].geometry.width)
    sigmas = config.sigmas or (levels[0] if levels else chosen.sample.student_sigmas)
    chosen = replace(chosen, sample=replace(chosen.sample, student_sigmas=sigmas))
    average_students(chosen, config, _need(args, "student"), args.out)
    if config.base:
        print(f"{args.out}: {args.student} and {config.share:g} of what {config.other} gained over {config.base}")
    else:
        print(f"{args.out}: {1 - config.share:g} of {args.student} and {config.share:g} of {config.other}")
    return 0


def _row(line: str) -> dict[str, Any]:
    """A line of metrics; empty where it is none, as the last one of a run that was stopped while it wrote."""
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _planned(about: Path) -> dict[str, Any]:
    """The ``loop`` of a run's ``train_config.json``; empty for a stage without one.

    Raises:
        ValueError: a damaged file.
    """
    try:
        config = json.loads(about.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{about} is not valid JSON ({error}): restore it, or begin a new run") from error
    loop = config.get("loop") if isinstance(config, dict) else None
    return loop if isinstance(loop, dict) else {}


def _status(folder: Path) -> int:
    metrics = folder / "metrics.jsonl"
    if not metrics.is_file():
        raise ValueError(f"{folder} holds no run (no metrics.jsonl)")
    rows = [row for line in metrics.read_text(errors="replace").splitlines() if "step" in (row := _row(line))]
    planned = _planned(folder / "train_config.json")
    last = rows[-1] if rows else {"step": 0}
    print(f"{folder}: step {last['step']}" + (f" of {planned['steps']}" if "steps" in planned else ""))
    for key, value in last.items():
        if key != "step" and isinstance(value, (int, float)):
            print(f"  {key} {value:.5g}")
    sheets = sorted(folder.glob("sheet_*.png"))
    if sheets:
        print(f"  latest sheet {sheets[-1]}")
    return 0
