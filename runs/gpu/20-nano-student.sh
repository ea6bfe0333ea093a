#!/usr/bin/env bash
# The causal student's start on one GPU, from the teacher of 10-nano-teacher.sh; planned to stay under ten minutes a call.
#   [IN=earlier_results] [OUT=folder] [METHOD=forcing|ode] [STEPS=n] runs/gpu/20-nano-student.sh
# UNTESTED THERE: batch 32, learning rate 5e-4 and the step plan were never run on a GPU.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3} work=${WORK:-runs/work/gpu} preset=${PRESET:-nano} minutes=${MINUTES:-8.5} in=${IN:-}
method=${METHOD:-forcing}
out=${OUT:-$work/out} shipped=src/motionstream/weights/$preset run=$work/student
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

ms() { "$python" -m motionstream "$@"; }
left() { "$python" -c "print(max(0.3, $minutes - $SECONDS / 60))"; } # minutes of this call that remain
keep() { # keep FILE NAME: copy a result of at most 16 MiB
    [ -f "$1" ] || return 0
    if [ "$(wc -c < "$1")" -le 16777216 ]; then cp "$1" "$out/$2"; else echo "not kept, over 16 MiB: $1" >&2; fi
}
collect() {
    mkdir -p "$out"
    keep "$run/student.safetensors" student.safetensors
    keep "$run/metrics.jsonl" student_metrics.jsonl
    keep "$run/train_config.json" student_train_config.json
    keep "$(ls "$run"/sheet_*.png 2> /dev/null | tail -n 1)" student_sheet.png
}
trap collect EXIT
plan_steps() { # updates until the end of this call, by the speed measured so far
    "$python" - "$run/metrics.jsonl" "$(left)" << 'EOF'
import json, pathlib, statistics, sys
path = pathlib.Path(sys.argv[1])
rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
speed = statistics.median(row["steps_per_s"] for row in rows[-5:]) if rows else 0.5
done = rows[-1]["step"] if rows else 0
print(max(4, (done + int(0.9 * speed * 60 * float(sys.argv[2]))) // 4 * 4))
EOF
}

# Latents and teacher belong together, so both come from one place.
if [ ! -f "$work/vae/vae.safetensors" ] || [ ! -f "$work/teacher/teacher.safetensors" ]; then
    found=
    for source in ${in:+"$in"} "$shipped"; do
        if [ -f "$source/vae.safetensors" ] && [ -f "$source/teacher.safetensors" ]; then found=$source && break; fi
    done
    [ -n "$found" ] || { echo "no vae.safetensors with teacher.safetensors in $work, IN or $shipped: run 10-nano-teacher.sh" >&2; exit 2; }
    mkdir -p "$work/vae" "$work/teacher"
    cp "$found/vae.safetensors" "$found/config.json" "$work/vae/"
    cp "$found/teacher.safetensors" "$work/teacher/"
fi

has_compiler='import shutil, importlib.util as u; print(str(bool(u.find_spec("triton") and (shutil.which("cc") or shutil.which("gcc")))).lower())'
compile=${COMPILE:-$("$python" -c "$has_compiler")}
how=(method=forcing num_frames="${NUM_FRAMES:-45}")
if [ "$method" = ode ]; then
    # Shards that exist are kept, so a timeout loses one shard at most; the paper made 4,000 trajectories.
    how=(method=ode pairs="$work/pairs")
    timeout "${PAIRS_SECONDS:-200}" "$python" -m motionstream train ode-pairs --preset "$preset" --vae "$work/vae" \
        --teacher "$work/teacher" --out "$work/pairs" --set clips="${CLIPS:-1024}" batch="${PAIRS_BATCH:-64}" || true
fi
train() { # train STEPS MINUTES SHEET_STEPS
    ms train causal-init --preset "$preset" --vae "$work/vae" --teacher "$work/teacher" --out "$run" --resume \
        --steps "$1" --minutes "$2" --set "${how[@]}" batch="${BATCH:-32}" lr="${LR:-5e-4}" compile="$compile" \
        loop.log_steps=5 loop.sheet_steps="$3" ${SET:-}
}
# The learning rate falls over the last 40 % of STEPS, so STEPS should fit the time: measure for 1.5 minutes, then plan.
if [ -n "${STEPS:-}" ]; then
    echo "$STEPS" > "$work/student_steps"
elif [ ! -f "$work/student_steps" ]; then
    train 1000000 1.5 0
    plan_steps > "$work/student_steps"
fi
steps=$(cat "$work/student_steps")
echo "causal-init: $steps steps"
train "$steps" "$(left)" "$((steps >= 4 ? steps / 4 : 1))"
ms train status --out "$run"
