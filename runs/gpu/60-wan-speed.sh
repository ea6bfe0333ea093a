#!/usr/bin/env bash
# Streaming speed of Wan 2.1 1.3B at 832x480 and Wan 2.2 5B at 1280x704 with random weights: real ones are as fast.
#   [OUT=folder] [PARTS="1.3b 5b 1.3b-fp8 5b-fp8 1.3b-compiled 1.3b-naive t2v 1.3b-diffusers 1.3b-full 5b-full"] [CHUNKS=30] [MINUTES=9] runs/gpu/60-wan-speed.sh
# A JSON for each part: fps, milliseconds a chunk (p50, p95, p99) and by stage, first frame, memory, versions. A part whose
# JSON lies in OUT is skipped, and none is begun with less than PART_MINUTES left, so the script can be called again.
# The parts *-fp8 and *-compiled run the transformer in another form; *-naive and *-diffusers also measure another engine in
# turn with ours (motionstream bench --vs), in ROUNDS rounds.
# The parts *-full decode with Wan's own decoder; they and *-diffusers need diffusers and are left out without it. The others
# need neither diffusers nor transformers: the tiny autoencoder decodes, prompts and pictures become random rows.
# ARGS are passed on to `motionstream bench`; PRESET_13, PRESET_T2V, PRESET_5B may be folders with another config.json.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3} work=${WORK:-runs/work/gpu}
out=${OUT:-$work/out} chunks=${CHUNKS:-30} minutes=${MINUTES:-9} part_minutes=${PART_MINUTES:-2}
parts=${PARTS:-1.3b 5b 1.3b-fp8 5b-fp8 1.3b-compiled 1.3b-naive t2v 1.3b-diffusers 1.3b-full 5b-full} rounds=${ROUNDS:-3}
preset_13=${PRESET_13:-wan2.1-1.3b} preset_t2v=${PRESET_T2V:-wan2.1-1.3b-t2v} preset_5b=${PRESET_5B:-wan2.2-5b}
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
mkdir -p "$out"
end=$("$python" -c "import time; print(int(time.time() + 60 * $minutes))")

failed=0
for part in $parts; do
    more=
    case $part in
        1.3b) preset=$preset_13 ;;
        5b) preset=$preset_5b ;;
        t2v) preset=$preset_t2v ;;
        1.3b-fp8) preset=$preset_13 more=--fp8 ;;
        5b-fp8) preset=$preset_5b more=--fp8 ;;
        1.3b-compiled) preset=$preset_13 more="--rows compiled" ;;
        1.3b-naive) preset=$preset_13 more="--vs naive --rounds $rounds" ;;
        1.3b-diffusers) preset=$preset_13 more="--vs diffusers --rounds $rounds" ;;
        1.3b-full) preset=$preset_13 more=--full-vae ;;
        5b-full) preset=$preset_5b more=--full-vae ;;
        *) echo "unknown part $part: use 1.3b, 5b, 1.3b-fp8, 5b-fp8, 1.3b-compiled, t2v, 1.3b-naive, 1.3b-diffusers, 1.3b-full, 5b-full" >&2; exit 2 ;;
    esac
    file=$out/wan_speed_$part.json partial=$out/.partial_wan_speed_$part.json
    [ ! -s "$file" ] || { echo "$part: measured before, $file"; continue; }
    left=$((end - $(date +%s)))
    room=$("$python" -c "print(int(60 * $part_minutes))")
    [ "$left" -ge "$room" ] || { echo "$part: no time left for it; call the script again"; continue; }
    if [[ $part == *-full || $part == *-diffusers ]] && ! "$python" -c "import diffusers" 2> /dev/null; then
        echo "$part: left out, diffusers is not installed"
        continue
    fi
    echo "$part: $preset, $chunks chunks"
    # A part that fails (too little memory, say) must not cost the others their turn.
    # shellcheck disable=SC2086
    if ! timeout "$left" "$python" -m motionstream bench --preset "$preset" --random-weights $more --chunks "$chunks" \
        --json --out "$partial" ${ARGS:-}; then
        echo "$part: failed" >&2
        failed=1
        continue
    fi
    mv "$partial" "$file"
done
exit "$failed"
