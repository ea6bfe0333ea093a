#!/usr/bin/env bash
# nano's teacher on one GPU, in pictures of SMALL (128x96), from that of IN, else from the shipped one, else from nothing (FROM=nothing: always).
#   [IN=earlier_results] [OUT=folder] [FIT_MINUTES=8] [MINUTES=8.5] runs/gpu/10-nano-teacher.sh
# It trains for FIT_MINUTES in all, and the learning rate falls to its end by then; a call stops after MINUTES and is gone on
# with by the next. Latents are those of IN or the package; where there are none they are trained first (VAE_MINUTES).
# The settings are those of the part on one H200 that went before the shipped teacher, which then learnt other codes on two cores
# (README.md). From nothing they were not run on a GPU.
set -euo pipefail
source "$(dirname "$0")/start.sh"
run=$work/teacher
trap 'keep_run "$run" teacher teacher' EXIT
begin

if [ ! -f "$start/vae.safetensors" ]; then
    ms train vae --preset "$preset" ${small[@]+"${small[@]}"} --out "$work/vae" --resume --set batch="${VAE_BATCH:-16}" \
        loop.fit_minutes="${VAE_MINUTES:-2}" ${VAE_SET:-}
    cp "$work/vae/vae.safetensors" "$work/vae/config.json" "$start/"
fi
from=(dense_until=0.2)
if [ "${FROM:-}" != nothing ] && [ -f "$start/teacher.safetensors" ]; then
    from=(dense_until=0.0 init="$start")
    # What comes from where is learnt anew, and fastest from pairs (docs/LOG.md, 2026-11-29).
    ! other_codes "$start" || from+=(recode=true pairs_until="${PAIRS_UNTIL:-0.4}" pair_batch="${PAIR_BATCH:-256}")
fi

# torch.compile needs triton and a C compiler.
has_compiler='import shutil, importlib.util as u; print(str(bool(u.find_spec("triton") and (shutil.which("cc") or shutil.which("gcc")))).lower())'
frames=${NUM_FRAMES:-57}
# gap_steps=0: measuring the gap compiles the blocks again for another batch size, half a minute each time.
ms train teacher --preset "$preset" ${small[@]+"${small[@]}"} --vae "$start" --out "$run" --resume --minutes "$(left)" --set \
    batch="${BATCH:-64}" num_frames="$frames" long_frames="$frames" 'tracks_per_object=[4,96]' "${from[@]}" \
    lr="${LR:-1.5e-3}" warmup=30 ema=0.99 decay_share=0.4 gap_steps=0 seed=31 compile="${COMPILE:-$("$python" -c "$has_compiler")}" \
    loop.fit_minutes="${FIT_MINUTES:-8}" loop.sheet_steps=200 ${SET:-}
ms train status --out "$run"
