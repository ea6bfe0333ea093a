#!/usr/bin/env bash
# Streaming speed of Wan 2.1 1.3B at 832x480 and Wan 2.2 5B at 1280x704 with random weights: real ones are as fast.
#   [OUT=folder] [PARTS="1.3b 5b 1.3b-fp8 5b-fp8 1.3b-fp8-all 1.3b-compiled 1.3b-naive t2v 1.3b-diffusers 1.3b-full 5b-full"] [CHUNKS=30] [MINUTES=9] runs/gpu/60-wan-speed.sh
# A JSON for each part: fps, milliseconds a chunk (p50, p95, p99) and by stage, first frame, memory, versions. A part whose
# JSON lies in OUT is skipped, and none is begun with less than PART_MINUTES left, so the script can be called again.
# The parts *-fp8, *-fp8-all and *-compiled run the transformer in another form, and fail where it did not run so; *-naive and
# *-diffusers also measure another engine in turn with ours (motionstream bench --vs), in ROUNDS rounds.
# The parts *-full decode with Wan's own decoder; they and *-diffusers need diffusers and are left out without it. The others
# need neither diffusers nor transformers: the tiny autoencoder decodes, prompts and pictures become random rows.
# ARGS are passed on to `motionstream bench` and named in the file (TAG: another name); PRESET_13, PRESET_T2V, PRESET_5B may be
# folders with another config.json.
set -euo pipefail
part_minutes=${PART_MINUTES:-2} chunks=${CHUNKS:-30} rounds=${ROUNDS:-3}
source "$(dirname "$0")/parts.sh"
parts=${PARTS:-1.3b 5b 1.3b-fp8 5b-fp8 1.3b-fp8-all 1.3b-compiled 1.3b-naive t2v 1.3b-diffusers 1.3b-full 5b-full}
preset_13=${PRESET_13:-wan2.1-1.3b} preset_t2v=${PRESET_T2V:-wan2.1-1.3b-t2v} preset_5b=${PRESET_5B:-wan2.2-5b}

for part in $parts; do
    more='' ran=''
    case $part in
        1.3b) preset=$preset_13 ;;
        5b) preset=$preset_5b ;;
        t2v) preset=$preset_t2v ;;
        1.3b-fp8) preset=$preset_13 more="--fp8 early" ran="products in FP8 in all steps but the last" ;;
        5b-fp8) preset=$preset_5b more="--fp8 early" ran="products in FP8 in all steps but the last" ;;
        1.3b-fp8-all) preset=$preset_13 more="--fp8 all" ran="products in FP8 in all passes" ;;
        1.3b-compiled) preset=$preset_13 more="--rows compiled" ran="fused, compiled" ;;
        1.3b-naive) preset=$preset_13 more="--vs naive --rounds $rounds" ;;
        1.3b-diffusers) preset=$preset_13 more="--vs diffusers --rounds $rounds" ;;
        1.3b-full) preset=$preset_13 more=--full-vae ;;
        5b-full) preset=$preset_5b more=--full-vae ;;
        *) echo "unknown part $part: use 1.3b, 5b, 1.3b-fp8, 5b-fp8, 1.3b-fp8-all, 1.3b-compiled, t2v, 1.3b-naive, 1.3b-diffusers, 1.3b-full, 5b-full" >&2; exit 2 ;;
    esac
    file=$out/wan_speed_$part$tag.json partial=$out/.partial_wan_speed_$part$tag.json
    due "$part" "$file" || continue
    if [[ $part == *-full || $part == *-diffusers ]] && ! "$python" -c "import diffusers" 2> /dev/null; then
        echo "$part: left out, diffusers is not installed"
        continue
    fi
    echo "$part: $preset, $chunks chunks"
    # shellcheck disable=SC2086
    if ! timeout "$left" "$python" -m motionstream bench --preset "$preset" --random-weights $more --chunks "$chunks" \
        --json --out "$partial" ${ARGS:-}; then
        fails "$part" failed
        continue
    fi
    path=$("$python" -c "import json, sys; print(json.load(open(sys.argv[1]))['path'])" "$partial")
    if [[ $path != *"$ran"* ]]; then
        rm "$partial"
        fails "$part" "not kept, for it did not run with $ran (but: $path)"
        continue
    fi
    mv "$partial" "$file"
done
exit "$failed"
