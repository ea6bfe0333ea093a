#!/usr/bin/env bash
# nano's teacher on one GPU of the H200 class: one call is planned to stay under ten minutes, and calls add up.
#   [IN=earlier_results] [OUT=folder] [STEPS=n] runs/gpu/10-nano-teacher.sh
# Without latents it takes those of IN or the shipped ones, and trains them for two minutes where there are none.
# UNTESTED THERE: batch 128, learning rate 2e-3, 1 to 64 tracks an object and the step plan were never run on a GPU.
# Watch gap_pct in metrics.jsonl (docs/training.md); a wrong guess shows there within a minute or two.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3} work=${WORK:-runs/work/gpu} preset=${PRESET:-nano} minutes=${MINUTES:-8.5} in=${IN:-}
out=${OUT:-$work/out} shipped=src/motionstream/weights/$preset run=$work/teacher
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

ms() { "$python" -m motionstream "$@"; }
left() { "$python" -c "print(max(0.3, $minutes - $SECONDS / 60))"; } # minutes of this call that remain
keep() { # keep FILE NAME: copy a result of at most 16 MiB
    [ -f "$1" ] || return 0
    if [ "$(wc -c < "$1")" -le 16777216 ]; then cp "$1" "$out/$2"; else echo "not kept, over 16 MiB: $1" >&2; fi
}
collect() {
    mkdir -p "$out"
    keep "$work/vae/vae.safetensors" vae.safetensors
    keep "$work/vae/config.json" config.json
    keep "$run/teacher.safetensors" teacher.safetensors
    keep "$run/metrics.jsonl" teacher_metrics.jsonl
    keep "$run/train_config.json" teacher_train_config.json
    keep "$(ls "$run"/sheet_*.png 2> /dev/null | tail -n 1)" teacher_sheet.png
}
trap collect EXIT
plan_steps() { # updates until the end of this call, by the speed measured so far
    "$python" - "$run/metrics.jsonl" "$(left)" << 'EOF'
import json, pathlib, statistics, sys
path = pathlib.Path(sys.argv[1])
rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
speed = statistics.median(row["steps_per_s"] for row in rows[-5:]) if rows else 2.0
done = rows[-1]["step"] if rows else 0
print(max(4, (done + int(0.85 * speed * 60 * float(sys.argv[2]))) // 4 * 4))
EOF
}

mkdir -p "$work"
# Latents first: a teacher is worth nothing with the latents of another one.
if [ ! -f "$work/vae/vae.safetensors" ]; then
    if [ -n "$in" ] && [ -f "$in/vae.safetensors" ]; then
        mkdir -p "$work/vae" && cp "$in/vae.safetensors" "$in/config.json" "$work/vae/"
    elif [ -n "$in" ] && [ -f "$in/teacher.safetensors" ]; then
        echo "$in has teacher.safetensors but not the vae.safetensors it was trained with: add that file" >&2
        exit 2
    elif [ -f "$shipped/vae.safetensors" ]; then
        mkdir -p "$work/vae" && cp "$shipped/vae.safetensors" "$shipped/config.json" "$work/vae/"
    else
        ms train vae --preset "$preset" --out "$work/vae" --resume --steps "${VAE_STEPS:-1500}" --minutes 2 \
            --set batch="${VAE_BATCH:-16}" ${VAE_SET:-}
    fi
fi
# A fresh machine with earlier weights goes on from them (new optimiser, new schedule, no dense phase).
if [ ! -f "$run/checkpoint.pt" ] && [ -n "$in" ] && [ -f "$in/teacher.safetensors" ]; then
    mkdir -p "$work/start" && cp "$in/teacher.safetensors" "$work/start/"
fi
start=(dense_until=0.2 long_from=0.6)
[ ! -f "$work/start/teacher.safetensors" ] || start=(dense_until=0.0 long_from=0.3 init="$work/start")

# torch.compile needs triton and a C compiler.
has_compiler='import shutil, importlib.util as u; print(str(bool(u.find_spec("triton") and (shutil.which("cc") or shutil.which("gcc")))).lower())'
compile=${COMPILE:-$("$python" -c "$has_compiler")}
train() { # train STEPS MINUTES SHEET_STEPS
    ms train teacher --preset "$preset" --vae "$work/vae" --out "$run" --resume --steps "$1" --minutes "$2" --set \
        batch="${BATCH:-128}" num_frames="${NUM_FRAMES:-21}" long_frames="${LONG_FRAMES:-33}" 'tracks_per_object=[1,64]' \
        lr="${LR:-2e-3}" compile="$compile" gap_steps=50 loop.log_steps=5 loop.sheet_steps="$3" "${start[@]}" ${SET:-}
}
# The learning rate falls over the last third of STEPS, so STEPS should fit the time: measure for 1.5 minutes, then plan.
if [ -n "${STEPS:-}" ]; then
    echo "$STEPS" > "$work/teacher_steps"
elif [ ! -f "$work/teacher_steps" ]; then
    train 1000000 1.5 0
    plan_steps > "$work/teacher_steps"
fi
steps=$(cat "$work/teacher_steps")
echo "teacher: $steps steps"
train "$steps" "$(left)" "$((steps >= 4 ? steps / 4 : 1))"
ms train status --out "$run"
