#!/usr/bin/env bash
# Self Forcing with DMD on one GPU, from teacher and student of 10 and 35 (else 20), of IN, or the shipped ones; then the mean of
# both students (mixed), because distilled weights alone oversaturate.
#   [IN=earlier_results] [OUT=folder] [STEPS=139] [SHARE=0.7] [TRUTH_WEIGHT=0.3] runs/gpu/30-nano-distill.sh
# STEPS critic updates, a third as many of the student after the first 12; no schedule depends on the number, so a larger one goes on
# with a finished run. SHARE is the weight of the distilled student. TRUTH_WEIGHT=0 TEXT_GUIDANCE=3.0 MOTION_GUIDANCE=1.5 is the paper's pure DMD.
# It learns on pictures of SMALL (128x96), those of the teacher; the mean is for those of the student. NUM_FRAMES: at most the teacher's
# horizon; 57 for the one of 10 in the work folder, else 33: the shipped one learnt no more with the codes it has now. Chunks are those
# of the student (CACHE: others). The settings are those of two cores at 128x96
# (docs/LOG.md, 2026-11-29), the batch and the learning rate of a run on a GPU (README.md). On a fresh machine the distilled
# student of IN is the start where there is one; optimisers and critic then begin anew.
set -euo pipefail
source "$(dirname "$0")/start.sh"
run=$work/distilled
collect() {
    keep_run "$run" student distilled
    keep "$work/mixed/student.safetensors" mixed.safetensors
    keep "$work/mixed/config.json" mixed_config.json
}
trap collect EXIT
begin
teacher=$(first teacher.safetensors "$work/teacher" "$start")
student=$(first student.safetensors "$work/short" "${students[@]:0:3}" "$start/distilled" "$start/short" "$start")
frames=33
[ "$teacher" != "$work/teacher" ] || frames=57
[ -n "$teacher" ] && [ -n "$student" ] || die "teacher and student are not both in $work, or with the same latents in IN or $shipped: run 10 and 20 first"
ms train distill --preset "$preset" ${small[@]+"${small[@]}"} --vae "$start" --teacher "$teacher" --student "$student" --out "$run" \
    --resume --steps "${STEPS:-139}" --minutes "$(left)" --set cache="${CACHE:-$(tag "$student")}" sigmas="$(sigmas "$student")" batch="${BATCH:-48}" num_frames="${NUM_FRAMES:-$frames}" \
    critic_per_student=3 critic_warmup=12 lr_student="${LR:-5e-5}" lr_critic=1e-4 truth_weight="${TRUTH_WEIGHT:-0.3}" \
    text_guidance="${TEXT_GUIDANCE:-1.0}" motion_guidance="${MOTION_GUIDANCE:-1.0}" p_still_untold=0.9 p_hide_resting=0.05 p_anchor=1.0 p_twin=0.3 \
    p_brush=0.1 'tracks_per_object=[12,128]' p_camera=0.25 \
    score_shift=3.0 ema=0.95 seed=41 loop.log_steps=10 loop.sheet_steps="${SHEET_STEPS:-50}" ${SET:-}
ms train status --out "$run"
rm -rf "$work/mixed"
# shellcheck disable=SC2046
ms train average --preset "$preset" $(size "$student") --student "$student" --out "$work/mixed" --set other="$run" share="${SHARE:-0.7}" \
    cache="$(tag "$run")" sigmas="$(sigmas "$run")"
