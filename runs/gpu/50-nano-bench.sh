#!/usr/bin/env bash
# Streaming speed and memory of nano on this machine: the device's own type in turn with the naive engine, then float32, then
# the slow reference path. Weights with the same chunks, size and noise levels have the same speed, so the short student (35) comes first.
#   [IN=earlier_results] [OUT=folder] [CHUNKS=1000] runs/gpu/50-nano-bench.sh
# The report names hardware, torch, command and commit (a number without them does not count; CONTRIBUTING.md, rule 11).
set -euo pipefail
source "$(dirname "$0")/start.sh"
begin
student=$(first student.safetensors "$work/short_mean" "$start/short_mean" "$work/short" "$start/short" "${students[@]}")
[ -n "$student" ] || die "no student.safetensors in $work, IN or $shipped: run 20-nano-student.sh first"
# The report asks git for the commit where it is not told.
[ -n "${MOTIONSTREAM_COMMIT:-}" ] || command -v git > /dev/null || die "git is not installed, and the report needs it, or MOTIONSTREAM_COMMIT, to name the commit"
assemble "$work/nano" "$student"
bench() { ms bench --preset "$work/nano" --chunks "${CHUNKS:-1000}" "$@"; }
bench --vs naive --out "$out/bench.json"
bench --dtype float32 --out "$out/bench_float32.json"
bench --reference --out "$out/bench_reference.json"
