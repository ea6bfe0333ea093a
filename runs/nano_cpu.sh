#!/usr/bin/env bash
# nano from nothing on two processor cores: latents, teacher, causal student (teacher forcing, its own rollouts, short chunks, at 128x96; then 192x144), evaluation.
# Two and a quarter hours on two cores with AMX without the last stage (docs/training.md), much longer without AMX. Kill it any time: run again, and it goes on from the last checkpoint.
#   runs/nano_cpu.sh [WORK_FOLDER]
# SCALE=0.1 shortens every stage to a tenth (a look at the whole road; the result follows nothing yet).
# PRESET=tiny-debug SCALE=0.01 tests the plumbing in a minute. DISTILL=96 adds that many steps of Self Forcing with DMD.
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-runs/work} preset=${PRESET:-nano} scale=${SCALE:-1}
ms=(.venv/bin/motionstream)
[ -x "${ms[0]}" ] || ms=(python3 -m motionstream)
steps() { awk -v n="$1" -v s="$scale" 'BEGIN { n = int(n * s); print (n < 4 ? 4 : n) }'; }
train() { # train STAGE FOLDER STEPS [more arguments]
    "${ms[@]}" train "$1" --preset "$preset" ${size[@]+"${size[@]}"} --out "$work/$2" --resume --steps "$(steps "$3")" "${@:4}"
}
made=(--vae "$work/vae" --teacher "$work/teacher")
short=c3s1w1 small=() # what the preset streams in; what is learnt first is learnt on small pictures
[ "$preset" != nano ] || { short=c1s1w2 && small=(--size 128x96); }
size=(${small[@]+"${small[@]}"})

train vae vae 2200
# What comes from where is learnt first, from pairs of the picture and one later latent frame.
train teacher teacher 1200 --vae "$work/vae" --set pairs_until=0.3 dense_until=0.3 long_from=0.75
# On the truth first: every chunk is denoised given true chunks through the real cache.
train causal-init forced 200 "${made[@]}" --set cache=c3s1w1 batch=4 ema=0.99 decay_share=0.5
# Then on itself: it streams from pure noise, and the truth judges what it made (docs/LOG.md says why all motion is told).
train causal-init student 450 "${made[@]}" --set init="$work/forced" own=rollout p_own_context=0.75 error=robust \
    cache=c3s1w1 p_mask_chunk=0 p_drop_motion=0 num_frames=57 batch=4 lr=1e-3 warmup=40 decay_share=0.5 ema=0.995 \
    'camera_tracks=[32,150]' p_camera=0.25 p_anchor=1.0

# And from chunks of three latent frames to chunks of one, which react sooner, told what a hand tells (docs/LOG.md, 2026-11-29).
told=(p_still_untold=0.9 p_hide_resting=0.05 p_brush=0.1)
hand=(truth=true batch=3 num_frames=33 lr=4e-4 decay_share=0.5 "${told[@]}" p_twin=0.4 p_camera=0.2 p_grab=0.3 grab_blur_cells=1 uncovered_weight=4 resting_weight=6)
train rechunk short 500 --vae "$work/vae" --student "$work/student" --set "${hand[@]}" 'tracks_per_object=[12,128]'

folder() { # folder NAME STUDENT: a folder of weights as `eval` reads it
    mkdir -p "$work/$1"
    cp "$work/vae/vae.safetensors" "$work/teacher/teacher.safetensors" "$work/$2/student.safetensors" "$work/$2/config.json" "$work/$1/"
}
# At last in pictures of the preset's size, with as many tracks to a cell, and with such as begin later, on what the camera brings into view.
size=()
train rechunk large 400 --vae "$work/vae" --student "$work/short" --set "${hand[@]}" p_spill=0.4 p_late_tracks=0.7 p_camera=0.5 'tracks_per_object=[24,288]' 'camera_tracks=[36,340]'
folder nano large
if [ "$preset" = nano ]; then # ids of other presets do not say where a track begins
    size=(${small[@]+"${small[@]}"})
    train recall recall 2000 --vae "$work/vae" --student "$work/large" --set lr=1.5e-3
    cp "$work/recall/recall.safetensors" "$work/nano/"
fi
"${ms[@]}" eval --suite drags --preset "$work/nano" --scenes 16 --quick --no-teacher --out "$work/eval" --no-videos

if [ "${DISTILL:-0}" -gt 0 ]; then
    size=(${small[@]+"${small[@]}"})
    train distill distilled "$DISTILL" "${made[@]}" --student "$work/short" --set cache=$short batch=4 critic_per_student=3 critic_warmup=$(($(steps "$DISTILL") < 15 ? 1 : 12)) \
        lr_student=3e-5 lr_critic=1e-4 truth_weight=0.3 score_shift=3.0 ema=0.95 text_guidance=1.0 motion_guidance=1.0 \
        "${told[@]}" 'tracks_per_object=[12,128]' p_twin=0.3 p_camera=0.25 p_anchor=1.0
    # Distilled on small pictures; what that gained is added to the student of large ones.
    rm -rf "$work/distilled_mean"
    "${ms[@]}" train average --preset "$preset" --student "$work/large" --out "$work/distilled_mean" \
        --set other="$work/distilled" base="$work/short" share=0.7 cache=$short
    folder nano_distilled distilled_mean
    [ ! -f "$work/nano/recall.safetensors" ] || cp "$work/nano/recall.safetensors" "$work/nano_distilled/"
    "${ms[@]}" eval --suite drags --preset "$work/nano_distilled" --scenes 16 --quick --no-teacher --out "$work/eval_distilled" --no-videos
    "${ms[@]}" eval --compare "$work/eval" "$work/eval_distilled"
fi
