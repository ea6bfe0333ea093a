#!/usr/bin/env bash
# For a batch machine that gives back what lies in OUT alone, and few files: the command's results are collected in a folder of
# the tree that git ignores, where the next call finds them too, and go back as one file, also where the command failed.
#   OUT=folder_that_comes_back runs/gpu/packed.sh MINUTES COMMAND...
# The command has MINUTES (its own variable MINUTES is half a minute less, for what must still be written), and is then
# interrupted as by Ctrl-C, so that pytest still says what failed, and ended 20 seconds later.
set -euo pipefail
minutes=${1:-} back=${OUT:-}
[[ $minutes =~ ^[0-9]+(\.[0-9]+)?$ && $# -ge 2 ]] || { echo "use: OUT=folder $0 MINUTES COMMAND..." >&2; exit 2; }
[ -n "$back" ] || { echo "OUT is not set: name the folder that comes back" >&2; exit 2; }
mkdir -p "$back"
back=$(cd "$back" && pwd)
cd "$(dirname "$0")/../.."
work=${WORK:-runs/work/gpu}
mkdir -p "$work/out"
[ "$(cd "$work/out" && pwd)" != "$back" ] || { echo "OUT=$OUT is where results are collected: name another folder" >&2; exit 2; }
shift
call=1 failed=0
while [ -e "$work/out/said_$call.log" ]; do call=$((call + 1)); done
seconds=$(printf '%.0f' "$(awk "BEGIN { print 60 * $minutes }")")
inside=$(awk "BEGIN { print ($minutes > 1) ? $minutes - 0.5 : $minutes / 2 }")
OUT=$work/out WORK=$work MINUTES=$inside timeout -s INT -k 20 "$seconds" "$@" 2>&1 | tee "$work/out/said_$call.log" || failed=$?
[ "$failed" != 124 ] || echo "ended after $minutes minutes"
tar -cf "$back/gpu_results.tar" -C "$work" out
echo "packed: $(tar -tf "$back/gpu_results.tar" | grep -vc '/$') files"
exit "$failed"
