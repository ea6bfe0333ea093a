#!/usr/bin/env bash
# nano from nothing on two processor cores: latents, teacher, causal student (teacher forcing, its own rollouts, short chunks), evaluation.
# Two and a quarter hours on two cores with AMX (docs/training.md), much longer without. Kill it any time: run again, and it goes on from the last checkpoint.
#   runs/nano_cpu.sh [WORK_FOLDER]
# SCALE=0.1 shortens every stage to a tenth (a look at the whole road in 20 minutes; the result follows nothing yet).
# PRESET=tiny-debug SCALE=0.01 tests the plumbing in a minute. DISTILL=150 adds that many steps of Self Forcing with DMD.
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-runs/work} preset=${PRESET:-nano} scale=${SCALE:-1}
ms=(.venv/bin/motionstream)
[ -x "${ms[0]}" ] || ms=(python3 -m motionstream)
steps() { awk -v n="$1" -v s="$scale" 'BEGIN { n = int(n * s); print (n < 4 ? 4 : n) }'; }
train() { # train STAGE FOLDER STEPS [more arguments]
    "${ms[@]}" train "$1" --preset "$preset" --out "$work/$2" --resume --steps "$(steps "$3")" "${@:4}"
}
made=(--vae "$work/vae" --teacher "$work/teacher")
short=c3s1w1 # what the preset streams in
[ "$preset" != nano ] || short=c1s1w2

train vae vae 2200
# What comes from where is learnt first, from pairs of the picture and one later latent frame.
train teacher teacher 1200 --vae "$work/vae" --set pairs_until=0.3 dense_until=0.3 long_from=0.75
# On the truth first: every chunk is denoised given true chunks through the real cache.
train causal-init forced 200 "${made[@]}" --set cache=c3s1w1 batch=4 ema=0.99 decay_share=0.5
# Then on itself: it streams from pure noise, and the truth judges what it made (docs/LOG.md says why all motion is told).
train causal-init student 450 "${made[@]}" --set init="$work/forced" own=rollout p_own_context=0.75 error=robust \
    cache=c3s1w1 p_mask_chunk=0 p_drop_motion=0 num_frames=57 batch=4 lr=1e-3 warmup=40 decay_share=0.5 ema=0.995 \
    'camera_tracks=[32,150]' p_camera=0.25 p_anchor=1.0

# And from chunks of three latent frames to chunks of one, which react sooner.
train rechunk short 150 --vae "$work/vae" --student "$work/student" --set batch=2 decay_share=0.5

mkdir -p "$work/nano"
# A part of what it learnt is enough for that, and all of it costs what rests beside a moved thing (docs/LOG.md, 2026-11-27).
rm -rf "$work/mean"
"${ms[@]}" train average --preset "$preset" --student "$work/student" --out "$work/mean" --set other="$work/short" share=0.3 cache=$short
cp "$work/vae/vae.safetensors" "$work/teacher/teacher.safetensors" "$work/mean/student.safetensors" \
    "$work/mean/config.json" "$work/nano/"
"${ms[@]}" eval --suite drags --preset "$work/nano" --scenes 16 --quick --no-teacher --out "$work/eval" --no-videos

if [ "${DISTILL:-0}" -gt 0 ]; then
    train distill distilled "$DISTILL" "${made[@]}" --student "$work/student" --set cache=c3s1w1 batch=2 truth_weight=1.0
    train rechunk distilled_short 150 --vae "$work/vae" --student "$work/distilled" --set batch=2 decay_share=0.5
    rm -rf "$work/distilled_mean"
    "${ms[@]}" train average --preset "$preset" --student "$work/distilled" --out "$work/distilled_mean" --set other="$work/distilled_short" share=0.3 cache=$short
    mkdir -p "$work/nano_distilled"
    cp "$work"/nano/{vae,teacher}.safetensors "$work/nano/config.json" "$work/distilled_mean/student.safetensors" "$work/nano_distilled/"
    "${ms[@]}" eval --suite drags --preset "$work/nano_distilled" --scenes 16 --quick --no-teacher --out "$work/eval_distilled" --no-videos
    "${ms[@]}" eval --compare "$work/eval" "$work/eval_distilled"
fi
