#!/usr/bin/env bash
# What gives nano's frames the picture's own pixels back (train recall), for the newest student there is (INIT=FOLDER: another).
#   [IN=earlier_results] [OUT=folder] [FIT_MINUTES=4] [BATCH=32] [LR=1.5e-3] runs/gpu/36-nano-recall.sh
# Goes on from the recall of IN or of the package; FROM=nothing: a new one. The settings are those of two cores (docs/training.md), with a
# larger batch; not run on a GPU.
set -euo pipefail
source "$(dirname "$0")/start.sh"
run=$work/recall
trap 'keep_run "$run" recall recall' EXIT
begin
student=${INIT:-$(first student.safetensors "$work/short" "$work/mixed" "${students[@]}")}
[ -n "$student" ] || die "no student in $work, or with the same latents in IN or $shipped: run 20-nano-student.sh first, or give INIT=FOLDER"
from=()
[ "${FROM:-}" = nothing ] || [ ! -f "$start/recall.safetensors" ] || from=(init="$start")
ms train recall --preset "$preset" ${small[@]+"${small[@]}"} --vae "$start" --student "$student" --out "$run" --resume --minutes "$(left)" --set \
    batch="${BATCH:-32}" lr="${LR:-1.5e-3}" decay_share=0.5 ${from[@]+"${from[@]}"} loop.fit_minutes="${FIT_MINUTES:-4}" loop.sheet_steps=200 ${SET:-}
ms train status --out "$run"
