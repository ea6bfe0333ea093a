#!/usr/bin/env bash
# Streaming speed and memory of nano on this machine: the device's own type in turn with the naive engine, then float32, then
# the slow reference path. Any weights have the same speed.
#   [IN=earlier_results] [OUT=folder] [CHUNKS=1000] runs/gpu/50-nano-bench.sh
# The report names hardware, torch, command and commit (a number without them does not count; CONTRIBUTING.md, rule 11).
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3} work=${WORK:-runs/work/gpu} preset=${PRESET:-nano} in=${IN:-}
out=${OUT:-$work/out} shipped=src/motionstream/weights/$preset
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
mkdir -p "$out"

folder=
for place in "$work/nano" ${in:+"$in"} "$shipped"; do
    if [ -f "$place/student.safetensors" ] && [ -f "$place/vae.safetensors" ] && [ -f "$place/config.json" ]; then
        folder=$place && break
    fi
done
[ -n "$folder" ] || { echo "no student, vae and config.json in $work/nano, IN or $shipped: run 40-nano-eval.sh first" >&2; exit 2; }
# The report asks git for the commit.
command -v git > /dev/null || { echo "git is not installed, and the report needs it to name the commit" >&2; exit 2; }
"$python" -m motionstream bench --preset "$folder" --chunks "${CHUNKS:-1000}" --vs naive --out "$out/bench.json"
"$python" -m motionstream bench --preset "$folder" --chunks "${CHUNKS:-1000}" --dtype float32 --out "$out/bench_float32.json"
"$python" -m motionstream bench --preset "$folder" --chunks "${CHUNKS:-1000}" --reference --out "$out/bench_reference.json"
