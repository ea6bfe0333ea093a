#!/usr/bin/env bash
# nano's student in the chunks it streams in, told what a hand tells, from the truth of its clips: what the shipped student was made by.
#   [IN=earlier_results] [OUT=folder] [FIT_MINUTES=8] [BATCH=32] [LR=4e-4] runs/gpu/35-nano-rechunk.sh
# From the newest student there is (INIT=FOLDER: another). The settings are those of two cores at 192x144 (docs/LOG.md, 2026-11-29: batch 3, 33
# frames), with a larger batch; not run on a GPU.
# GUIDED=1: instead it learns its chunks from itself, streamed in those it was made for (chunks of three: 20, 30), and then a mean of
# the two is made, to choose from. SET="cache=c1s2w4 grab_cache=c2s1w2 p_grab=0.4 sigmas=[1,0.7]" made nano's first one (2026-11-27, "I"; at 128x96).
set -euo pipefail
source "$(dirname "$0")/start.sh"
run=$work/short
trap 'keep_run "$run" student short' EXIT
begin
places=("$work/mixed" "${students[@]:0:3}" "$start/mixed" "$start/short" "$start")
how=(lr="${LR:-4e-4}" truth=true p_still_untold=0.9 p_hide_resting=0.05 p_twin=0.3 p_brush=0.1 p_spill=0.3 p_late_tracks=0.7 'tracks_per_object=[24,288]' 'camera_tracks=[36,340]'
    p_grab=0.3 grab_blur_cells=1 uncovered_weight=4 resting_weight=6 p_camera=0.5)
if [ -n "${GUIDED:-}" ]; then
    places=("$work/mixed" "${students[@]:0:3}" "$start/mixed" "$start")
    how=(lr="${LR:-3e-4}")
fi
init=${INIT:-$(first student.safetensors "${places[@]}")}
[ -n "$init" ] || die "no student in $work, or with the same latents in IN or $shipped: run METHOD=forcing 20 and 20 first, or give INIT=FOLDER"
ms train rechunk --preset "$preset" --vae "$start" --student "$init" --out "$run" --resume --minutes "$(left)" --set \
    sigmas="$(sigmas "$init")" batch="${BATCH:-32}" num_frames="${NUM_FRAMES:-45}" "${how[@]}" loop.fit_minutes="${FIT_MINUTES:-8}" loop.sheet_steps=100 ${SET:-}
ms train status --out "$run"
[ -n "${GUIDED:-}" ] || exit 0
# All of it costs what rests beside a moved thing; three parts in ten shipped before (docs/LOG.md, 2026-11-27).
rm -rf "$work/short_mean"
# shellcheck disable=SC2046
ms train average --preset "$preset" $(size "$run") --student "$init" --out "$work/short_mean" --set other="$run" share="${SHARE:-0.3}" cache="$(tag "$run")" sigmas="$(sigmas "$run")"
keep "$work/short_mean/student.safetensors" short_mean.safetensors
keep "$work/short_mean/config.json" short_mean_config.json
