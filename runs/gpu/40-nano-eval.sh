#!/usr/bin/env bash
# Suite "drags" for what 10, 20 and 30 made: student with teacher, then the distilled student, the mean of both, and the ones
# with short chunks, where they are.
#   [IN=earlier_results] [OUT=folder] [SCENES=64] [QUICK=1] [MINUTES=8.5] runs/gpu/40-nano-eval.sh
# One whose JSON lies in OUT is skipped (TAG names others), and none is begun with less than PART_MINUTES (2) left, so the
# script can be called again; what is not done after MINUTES is ended and leaves no file.
# Each is judged in the size its config.json names: that of 20 at 128x96, that of 35 at 192x144.
# How long it takes there is not known: scenes are drawn on the processor, so give it cores, or SCENES=16 QUICK=1 first.
set -euo pipefail
source "$(dirname "$0")/start.sh"
begin
options=(--suite drags --scenes "${SCENES:-64}" --late-scenes "${LATE_SCENES:-16}" ${QUICK:+--quick})

failed=0 named=${TAG:+_$TAG}
judge() { # judge NAME STUDENT_FOLDER OPTIONS...
    local file=$out/eval_$1$named.json name=$1 folder=$work/nano_$1 student=$2
    [ ! -s "$file" ] || { echo "$name: judged before, $file"; return; }
    "$python" -c "import sys; sys.exit($(left) < ${PART_MINUTES:-2})" || { echo "$name: no time left for it; call the script again"; return; }
    assemble "$folder" "$student"
    if ! timeout "$(left)m" "$python" -m motionstream eval --preset "$folder" "${options[@]}" "${@:3}" --out "$file.part.json"; then
        echo "$name: failed" >&2
        failed=1
        return
    fi
    mv "$file.part.json" "$file"
}

student=$(first student.safetensors "${students[@]}")
[ -n "$student" ] || die "no student.safetensors in $work, IN or $shipped: run 20-nano-student.sh first"
judge student "$student"
for name in distilled mixed short short_mean; do
    student=$(first student.safetensors "$work/$name" "$start/$name")
    [ -z "$student" ] || judge "$name" "$student" --no-teacher
done
exit "$failed"
