#!/usr/bin/env bash
# Suite "drags" for what 10, 20 and 30 made: student with teacher, then the distilled student where there is one.
#   [IN=earlier_results] [OUT=folder] [SCENES=64] [QUICK=1] runs/gpu/40-nano-eval.sh
# How long it takes there is not known: scenes are drawn on the processor, so give it cores, or SCENES=16 QUICK=1 first.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3} work=${WORK:-runs/work/gpu} preset=${PRESET:-nano} in=${IN:-}
out=${OUT:-$work/out} shipped=src/motionstream/weights/$preset
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
mkdir -p "$out"

ms() { "$python" -m motionstream "$@"; }
find_file() { # find_file NAME PLACES...: the first that exists, or nothing
    local place
    for place in "${@:2}"; do
        if [ -f "$place/$1" ]; then echo "$place/$1" && return; fi
    done
}
gather() { # gather FOLDER STUDENT_FILE: a folder of weights as `eval` and `bench` read it
    rm -rf "$1" && mkdir -p "$1"
    cp "$2" "$1/student.safetensors"
    cp "$vae" "$1/vae.safetensors"
    cp "$config" "$1/config.json"
    [ -z "$teacher" ] || cp "$teacher" "$1/teacher.safetensors"
}
# Weights of one place only: what was trained here, else IN, else what ships.
student='' distilled=''
if [ -f "$work/student/student.safetensors" ]; then
    vae=$work/vae/vae.safetensors config=$work/vae/config.json student=$work/student/student.safetensors
    teacher=$(find_file teacher.safetensors "$work/teacher")
    distilled=$(find_file student.safetensors "$work/distilled")
else
    for place in ${in:+"$in"} "$shipped"; do
        student=$(find_file student.safetensors "$place")
        if [ -n "$student" ]; then
            vae=$place/vae.safetensors config=$place/config.json teacher=$(find_file teacher.safetensors "$place")
            distilled=$(find_file distilled.safetensors "$place")
            break
        fi
    done
fi
[ -n "$student" ] || { echo "no student.safetensors in $work, IN or $shipped: run 20-nano-student.sh first" >&2; exit 2; }
options=(--suite drags --scenes "${SCENES:-64}" --late-scenes "${LATE_SCENES:-16}" ${QUICK:+--quick})

gather "$work/nano" "$student"
ms eval --preset "$work/nano" "${options[@]}" --out "$out/eval_student.json"
if [ -n "$distilled" ]; then
    gather "$work/nano_distilled" "$distilled"
    ms eval --preset "$work/nano_distilled" "${options[@]}" --no-teacher --out "$out/eval_distilled.json"
fi
