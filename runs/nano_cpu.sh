#!/usr/bin/env bash
# nano from nothing on two processor cores: latents, teacher, causal student, distillation, evaluation.
# An estimated three hours on two cores with AMX, much longer without; each stage was run, not yet this script as a whole.
# Kill it any time: run again, and it goes on from the last
# checkpoint.
#   runs/nano_cpu.sh [WORK_FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-runs/work}
ms=(.venv/bin/motionstream)
[ -x "${ms[0]}" ] || ms=(python3 -m motionstream)

"${ms[@]}" train vae --out "$work/vae" --resume --steps 2200
"${ms[@]}" train teacher --vae "$work/vae" --out "$work/teacher" --resume --steps 1500 --set dense_until=0.3 long_from=0.75
"${ms[@]}" train causal-init --vae "$work/vae" --teacher "$work/teacher" --out "$work/student" --resume --steps 600 \
    --set batch=4 ema=0.99 decay_share=0.5
"${ms[@]}" train distill --vae "$work/vae" --teacher "$work/teacher" --student "$work/student" --out "$work/distilled" \
    --resume --steps 150 --set batch=2 truth_weight=1.0

mkdir -p "$work/nano"
cp "$work/vae/vae.safetensors" "$work/vae/config.json" "$work/teacher/teacher.safetensors" "$work/nano/"
cp "$work/student/student.safetensors" "$work/nano/"
"${ms[@]}" eval --suite drags --preset "$work/nano" --scenes 16 --quick
echo "Compare $work/student with $work/distilled by the same suite; keep the better as $work/nano/student.safetensors."
