#!/usr/bin/env bash
# nano's causal student on one GPU, in pictures of SMALL (128x96); FIT_MINUTES and MINUTES as in 10.
#   [IN=earlier_results] [OUT=folder] [METHOD=rollout|forcing|ode] [FIT_MINUTES=8] runs/gpu/20-nano-student.sh
# METHOD=rollout, the default, goes on with a student on its own rollouts: that of METHOD=forcing in the work folder, else of
# IN, else the shipped one (INIT=FOLDER: another). It streams up to PAST (8) chunks before a clip is judged. forcing and ode make
# a first student from the teacher of 10 (else of IN, else the shipped one); ode writes CLIPS trajectories first. All but PAST is
# as it was run on a GPU (README.md).
set -euo pipefail
source "$(dirname "$0")/start.sh"
method=${METHOD:-rollout}
begin
teacher=$(first teacher.safetensors "$work/teacher" "$start")
[ -n "$teacher" ] || die "no teacher.safetensors in $work, or with the same latents in IN or $shipped: run 10-nano-teacher.sh first"
case $method in
    rollout)
        run=$work/student name=student fit=8
        init=${INIT:-$(first student.safetensors "$work/student_forcing" "$start")}
        [ -n "$init" ] || die "no student to go on from: run METHOD=forcing $0 first"
        how=(method=forcing init="$init" own=rollout p_own_context=1.0 past_chunks="${PAST:-8}" error=robust batch="${BATCH:-96}" lr="${LR:-1.5e-3}" ema=0.98
            'camera_tracks=[32,200]' 'tracks_per_object=[4,96]' p_camera=0.35 p_anchor=1.0 seed=21)
        ;;
    forcing)
        run=$work/student_forcing name=student_forcing fit=8
        how=(method=forcing p_own_context=0.0 batch="${BATCH:-32}" lr="${LR:-1e-3}" ema=0.97)
        ;;
    ode)
        run=$work/student_ode name=student_ode fit=4.5
        how=(method=ode pairs="$work/pairs" batch="${BATCH:-32}" lr="${LR:-1e-3}" ema=0.97)
        ;;
    *) die "unknown METHOD=$method: use rollout, forcing or ode" ;;
esac
trap 'keep_run "$run" student "$name"' EXIT
frames=${NUM_FRAMES:-57}
if [ "$method" = ode ] && [ ! -f "$run/checkpoint.pt" ]; then # a run goes on with the trajectories that it began with
    # Shards that exist are kept, so a timeout loses one shard at most; the paper made 4,000 trajectories.
    timeout "${PAIRS_SECONDS:-200}" "$python" -m motionstream train ode-pairs --preset "$preset" ${small[@]+"${small[@]}"} --vae "$start" --teacher "$teacher" \
        --out "$work/pairs" --set clips="${CLIPS:-256}" batch="${PAIRS_BATCH:-64}" num_frames="$frames" || true
fi
ms train causal-init --preset "$preset" ${small[@]+"${small[@]}"} --vae "$start" --teacher "$teacher" --out "$run" --resume --minutes "$(left)" --set \
    "${how[@]}" cache="$cache" num_frames="$frames" p_mask_chunk=0.0 p_drop_motion=0.0 warmup=20 decay_share=0.5 \
    loop.fit_minutes="${FIT_MINUTES:-$fit}" loop.sheet_steps=100 ${SET:-}
ms train status --out "$run"
