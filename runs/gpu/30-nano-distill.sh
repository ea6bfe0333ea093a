#!/usr/bin/env bash
# Self Forcing with DMD on one GPU, from the results of 10 and 20; planned to stay under ten minutes a call.
#   [IN=earlier_results] [OUT=folder] [TRUTH_WEIGHT=1.0] runs/gpu/30-nano-distill.sh
# UNTESTED THERE: batch 32 and the learning rates (those of the CPU configuration) were never run on a GPU.
# TRUTH_WEIGHT=0 is the paper's pure DMD. Frames: at most the teacher's horizon (its long_frames); with the default 33 a
# rollout has three chunks and nothing leaves the window yet. Train the teacher with LONG_FRAMES=45 and use NUM_FRAMES=45
# here to roll it.
# No schedule depends on the number of steps, so a call simply goes on until its time is over. On a fresh machine (no
# checkpoint) the student of IN, distilled or not, is the start; optimisers and critic then begin anew.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3} work=${WORK:-runs/work/gpu} preset=${PRESET:-nano} minutes=${MINUTES:-8.5} in=${IN:-}
out=${OUT:-$work/out} shipped=src/motionstream/weights/$preset run=$work/distilled
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

ms() { "$python" -m motionstream "$@"; }
left() { "$python" -c "print(max(0.3, $minutes - $SECONDS / 60))"; } # minutes of this call that remain
keep() { # keep FILE NAME: copy a result of at most 16 MiB
    [ -f "$1" ] || return 0
    if [ "$(wc -c < "$1")" -le 16777216 ]; then cp "$1" "$out/$2"; else echo "not kept, over 16 MiB: $1" >&2; fi
}
collect() {
    mkdir -p "$out"
    keep "$run/student.safetensors" distilled.safetensors
    keep "$run/metrics.jsonl" distilled_metrics.jsonl
    keep "$run/train_config.json" distilled_train_config.json
    keep "$(ls "$run"/sheet_*.png 2> /dev/null | tail -n 1)" distilled_sheet.png
}
trap collect EXIT

# Latents, teacher and student belong together, so all come from one place.
if [ ! -f "$work/vae/vae.safetensors" ] || [ ! -f "$work/teacher/teacher.safetensors" ] || [ ! -f "$work/student/student.safetensors" ]; then
    found=
    for source in ${in:+"$in"} "$shipped"; do
        if [ -f "$source/vae.safetensors" ] && [ -f "$source/teacher.safetensors" ] && [ -f "$source/student.safetensors" ]; then
            found=$source && break
        fi
    done
    [ -n "$found" ] || { echo "vae, teacher and student are not all in $work, IN or $shipped: run 10 and 20 first" >&2; exit 2; }
    mkdir -p "$work/vae" "$work/teacher" "$work/student"
    cp "$found/vae.safetensors" "$found/config.json" "$work/vae/"
    cp "$found/teacher.safetensors" "$work/teacher/"
    cp "$found/student.safetensors" "$work/student/"
    # Go on from an earlier distillation where there is one.
    [ ! -f "$found/distilled.safetensors" ] || cp "$found/distilled.safetensors" "$work/student/student.safetensors"
fi
ms train distill --preset "$preset" --vae "$work/vae" --teacher "$work/teacher" --student "$work/student" --out "$run" \
    --resume --steps "${STEPS:-100000}" --minutes "$(left)" --set batch="${BATCH:-32}" num_frames="${NUM_FRAMES:-33}" \
    truth_weight="${TRUTH_WEIGHT:-1.0}" loop.log_steps=10 loop.sheet_steps="${SHEET_STEPS:-50}" ${SET:-}
ms train status --out "$run"
