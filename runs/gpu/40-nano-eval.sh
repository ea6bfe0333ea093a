#!/usr/bin/env bash
# Suite "drags" for what 10, 20 and 30 made: student with teacher, then the distilled student, the mean of both, and the ones
# with short chunks, where they are.
#   [IN=earlier_results] [OUT=folder] [SCENES=64] [QUICK=1] runs/gpu/40-nano-eval.sh
# Each is judged in the size its config.json names: that of 20 at 128x96, that of 35 at 192x144.
# How long it takes there is not known: scenes are drawn on the processor, so give it cores, or SCENES=16 QUICK=1 first.
set -euo pipefail
source "$(dirname "$0")/start.sh"
begin
options=(--suite drags --scenes "${SCENES:-64}" --late-scenes "${LATE_SCENES:-16}" ${QUICK:+--quick})

student=$(first student.safetensors "${students[@]}")
[ -n "$student" ] || die "no student.safetensors in $work, IN or $shipped: run 20-nano-student.sh first"
assemble "$work/nano" "$student"
ms eval --preset "$work/nano" "${options[@]}" --out "$out/eval_student.json"
for name in distilled mixed short short_mean; do
    student=$(first student.safetensors "$work/$name" "$start/$name")
    [ -n "$student" ] || continue
    assemble "$work/nano_$name" "$student"
    ms eval --preset "$work/nano_$name" "${options[@]}" --no-teacher --out "$out/eval_$name.json"
done
