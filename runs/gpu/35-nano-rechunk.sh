#!/usr/bin/env bash
# nano's student in the chunks it streams in: trained in chunks of three latent frames (20, 30), it learns the preset's own from
# itself; then a mean of the two, to choose from.
#   [IN=earlier_results] [OUT=folder] [FIT_MINUTES=4] [BATCH=32] [LR=3e-4] runs/gpu/35-nano-rechunk.sh
# From the mean of 30 where there is one, else from the student of 20 (INIT=FOLDER: another). On two cores the shipped weights took
# batch 2 and SET="cache=c1s2w4 grab_cache=c2s1w2 p_grab=0.4 sigmas=[1,0.7]", and no mean (docs/LOG.md, 2026-11-27, "I"), then from these
# SET="init=FOLDER cache=c1s1w2 grab_cache=c2s1w2 p_grab=0.4 sigmas=[1,0.7] uncovered_weight=4 resting_weight=6" (2026-11-28, "K"; the same guide:
# INIT=folder of commit 7014fda); to try: grab_blur_cells=1, longer. Batches of 24 ran once, with another guide.
set -euo pipefail
source "$(dirname "$0")/start.sh"
run=$work/short
trap 'keep_run "$run" student short' EXIT
begin
init=${INIT:-$(first student.safetensors "$work/mixed" "$start/mixed" "${students[@]:0:3}")}
[ -n "$init" ] || die "no student with long chunks in $work or IN: run 20 and 30 first, or give INIT=FOLDER"
ms train rechunk --preset "$preset" --vae "$start" --student "$init" --out "$run" --resume --minutes "$(left)" --set \
    batch="${BATCH:-32}" lr="${LR:-3e-4}" num_frames="${NUM_FRAMES:-45}" loop.fit_minutes="${FIT_MINUTES:-4}" loop.sheet_steps=100 ${SET:-}
ms train status --out "$run"
# All of it costs what rests beside a moved thing; three parts in ten shipped before (docs/LOG.md, 2026-11-27).
rm -rf "$work/short_mean"
ms train average --preset "$preset" --student "$init" --out "$work/short_mean" --set other="$run" share="${SHARE:-0.3}" cache="$(tag "$run")" sigmas="$(sigmas "$run")"
keep "$work/short_mean/student.safetensors" short_mean.safetensors
keep "$work/short_mean/config.json" short_mean_config.json
