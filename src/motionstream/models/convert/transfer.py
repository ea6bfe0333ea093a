"""One conversion from end to end: open, recognise, compare with a preset, then write tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from motionstream.config import PresetConfig, from_dict
from motionstream.models.convert.fit import Fit, fit, resized
from motionstream.models.convert.forms import FORMS, write_form
from motionstream.models.convert.lora import Lora, read_lora
from motionstream.models.convert.probe import Found, matching_preset, probe
from motionstream.models.convert.source import Checkpoint, open_checkpoint, stem_of
from motionstream.models.convert.taehv import is_taehv, plan_taehv, taehv_sizes, write_taehv
from motionstream.models.convert.write import Plan, plan_bytes, replace_text
from motionstream.models.tensor_files import read_settings
from motionstream.presets import PRESETS, preset

ROLES = ("student", "teacher")


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What to convert and how.

    Args:
        source, target: files or folders. to: a name of :data:`~motionstream.models.convert.forms.FORMS`.
        preset: the form to bring it to; None = the preset whose sizes the checkpoint has.
        role: "student" or "teacher", the file name in our folders; None = "student" for a pickle with a generator,
            else "teacher".
        part: dictionary of a pickle. lora: a LoRA file to merge; ``lora_alpha`` where it has none in it.
        dtype: of the tensors written; None keeps theirs.
        allow_partial: write although tensors are missing (made anew), unexpected (dropped) or mis-shaped (made anew; the
            patch embedding is cut).
        shard_bytes: largest shard; None = one file.
    """

    source: Path
    target: Path
    to: str = "ours"
    preset: PresetConfig | None = None
    role: str | None = None
    part: str | None = None
    lora: Path | None = None
    lora_alpha: float | None = None
    dtype: torch.dtype | None = None
    allow_partial: bool = False
    shard_bytes: int | None = None


@dataclass(frozen=True)
class Report:
    """What was found and what was (or would be) written; ``role`` is "" outside our folders, ``files`` after a dry run."""

    kind: str
    preset: PresetConfig | None
    role: str
    fit: Fit | None
    merged: int
    nbytes: int
    files: list[Path] = field(default_factory=list)


def convert(job: Conversion, *, dry_run: bool = False) -> Report:
    """Convert a checkpoint.

    Raises:
        ValueError: what was found does not fit; one sentence that says what was found and what would fit.
    """
    if job.to not in FORMS:
        raise ValueError(f"to={job.to!r} is unknown: use {', '.join(FORMS)}")
    if job.role not in (None, *ROLES):
        raise ValueError(f"role={job.role!r} is unknown: use {' or '.join(ROLES)}")
    checkpoint = open_checkpoint(job.source, part=job.part, stems=(job.role,) if job.role else ROLES)
    read = [job.source.resolve(), checkpoint.path.resolve(), *([job.lora.resolve()] if job.lora is not None else [])]
    if job.target.exists() and job.target.resolve() in (*read, *(path.parent for path in read)):
        raise ValueError(f"{job.target} is where the source lies: choose another place to write to")
    if is_taehv(checkpoint):
        return _convert_taehv(job, checkpoint, dry_run)
    found = probe(checkpoint)
    chosen = job.preset or _saved_preset(job.source) or matching_preset(checkpoint, found)
    _check_target(job, chosen)
    made = fit(checkpoint, found, chosen)
    if not made.complete and not job.allow_partial:
        raise ValueError(
            f"{checkpoint.path} does not fit {chosen.name}: {made.complaint()}; name another preset, or accept the loss "
            "(--allow-partial)"
        )
    lora = None
    if job.lora is not None:
        lora = read_lora(open_checkpoint(job.lora), _shapes(checkpoint, found), job.lora_alpha)
        taken = {name for name in (*made.copied, *made.added) if name in found.names}
        changed = [*(f"{module}.weight" for module in lora.pairs), *lora.differences]
        unmerged = [name for name in changed if name not in taken]
        if unmerged:
            raise ValueError(f"{job.lora} changes {unmerged[0]}, which {chosen.name} does not take from {checkpoint.path}")
    plan = _plan(job, checkpoint, found, made)
    role = (job.role or _role_of(job, checkpoint)) if job.to == "ours" else ""
    kind = f"{found.style} names" + (f" after {found.prefix!r}" if found.prefix else "")
    kind += f", part {checkpoint.part!r}" if checkpoint.part else ""
    report = Report(kind, chosen, role, made, len(lora.pairs) if lora else 0, plan_bytes(plan))
    if dry_run:
        return report
    form = FORMS[job.to]
    stem = role if job.to == "ours" else form.stem
    files = write_form(form, job.target, stem, plan, _values(plan, checkpoint, found, lora), job.shard_bytes)
    if form.config is not None and (beside := form.config_path(job.target)) is not None:
        replace_text(beside, form.config(chosen))
        files.append(beside)
    report.files.extend(files)
    return report


def _check_target(job: Conversion, chosen: PresetConfig) -> None:
    """The target's kind suits the form, and a folder of ours does not get weights of a second configuration."""
    form, target = FORMS[job.to], job.target
    if target.suffix in (".safetensors", ".pt", ".pth") and (job.to == "ours" or not form.is_file(target)):
        fits = "a folder" if job.to == "ours" else f"a folder or a name that ends in {form.suffix}"
        raise ValueError(f"{target} cannot hold --to {job.to}: give {fits}")
    if form.pickled and job.shard_bytes is not None:
        raise ValueError(f"--shard-gb is for safetensors, and --to {job.to} writes one .pt: leave it out")
    if job.to == "ours" and target.is_dir() and (held := _saved_preset(target)) not in (None, chosen):
        raise ValueError(f"{target} holds weights of another configuration ({held.name}): choose another folder")


def _plan(job: Conversion, checkpoint: Checkpoint, found: Found, made: Fit) -> Plan:
    """Every tensor to write; widest types first, so that each lies on a multiple of its own size."""
    usual = next((entry.dtype for entry in checkpoint.entries.values() if len(entry.shape) == 2), None) or torch.float32
    plan: Plan = {}
    for name, shape in made.shapes.items():
        stored = checkpoint.entries[found.names[name]].dtype if name in found.names else usual
        plan[name] = (shape, job.dtype or stored or usual)
    return dict(sorted(plan.items(), key=lambda item: -item[1][1].itemsize))


def _values(plan: Plan, checkpoint: Checkpoint, found: Found, lora: Lora | None) -> Iterator[tuple[str, Tensor]]:
    for name, (shape, dtype) in plan.items():
        value = checkpoint.read(found.names[name]) if name in found.names else None
        if lora is not None and value is not None:
            value = lora.applied(name, value)
        if value is None or tuple(value.shape) != shape:
            value = resized(name, value, shape)
        yield name, value.to(dtype)


def _shapes(checkpoint: Checkpoint, found: Found) -> dict[str, tuple[int, ...]]:
    return {ours: checkpoint.entries[name].shape for ours, name in found.names.items()}


def _role_of(job: Conversion, checkpoint: Checkpoint) -> str:
    if (stem := stem_of(checkpoint.path)) in ROLES:  # one of our own files
        return stem
    return "student" if checkpoint.part.startswith("generator") or job.lora is not None else "teacher"


def _saved_preset(source: Path) -> PresetConfig | None:
    """The configuration in one of our own folders."""
    path = (source if source.is_dir() else source.parent) / "config.json"
    if not path.is_file():
        return None
    values = read_settings(path)
    return from_dict(PresetConfig, values) if "geometry" in values else None


def read_preset(name_or_path: str) -> PresetConfig:
    """A preset by its name, or the configuration in a ``config.json`` (or the folder that holds one)."""
    path = Path(name_or_path)
    if name_or_path in PRESETS or not path.exists():
        return preset(name_or_path)
    made = _saved_preset(path if path.is_dir() else path.parent)
    if made is None:
        raise ValueError(f"{path} is not a configuration of ours: use one of {', '.join(PRESETS)}, or a folder we wrote")
    return made


def _convert_taehv(job: Conversion, checkpoint: Checkpoint, dry_run: bool) -> Report:
    if job.to != "ours" or job.preset is not None or job.lora is not None:
        raise ValueError(
            f"{checkpoint.path} is a TAEHV autoencoder, which has one form: leave --to, --preset and --lora out (a target "
            "that ends in .pth gives TAEHV's own container)"
        )
    channels, patch = taehv_sizes(checkpoint)
    kind = f"TAEHV autoencoder of {channels} latent channels, patch {patch}"
    plan = plan_taehv(checkpoint, job.dtype)
    report = Report(kind, None, "tiny_vae", None, 0, plan_bytes(plan))
    if not dry_run:
        report.files.extend(write_taehv(checkpoint, job.target, plan))
    return report
