#!/usr/bin/env bash
# Teacher (10) and student (20) side by side on one GPU, as a part was trained that went before what ships: neither fills it alone.
#   [IN=earlier_results] [OUT=folder] [FIT_MINUTES=5.6] runs/gpu/15-nano-pair.sh
# Both go on from the weights of IN or the package. Variables of 10 and 20 apply to both, so BATCH, LR and SET do too.
set -euo pipefail
source "$(dirname "$0")/start.sh"
begin
for name in teacher student; do
    [ -f "$start/$name.safetensors" ] || die "no $name.safetensors with these latents in IN or $shipped: run 10 and 20 (METHOD=forcing, then 20 again) first"
done
! other_codes "$start" || die "the weights of IN or $shipped were trained with other track codes than the preset's: run 10, METHOD=forcing 20 and 20 first"
export FIT_MINUTES=${FIT_MINUTES:-5.6}
runs/gpu/10-nano-teacher.sh > "$work/teacher.log" 2>&1 &
teacher=$!
METHOD=rollout runs/gpu/20-nano-student.sh > "$work/student.log" 2>&1 &
student=$!
failed=0
wait "$teacher" || failed=1
wait "$student" || failed=1
tail -n 6 "$work/teacher.log" "$work/student.log"
exit "$failed"
