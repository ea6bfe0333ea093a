#!/usr/bin/env bash
# Parts of a stream alone: attention back ends, FP8 products, decoders, a training step, a profile of three chunks, how far
# the forms of the transformer lie apart.
#   [OUT=folder] [PARTS="attention fp8 decode train profile forms"] [PRESETS="nano wan2.1-1.3b wan2.2-5b"] [MINUTES=9] runs/gpu/62-kernels.sh
# A JSON for each part and preset; one that lies in OUT is skipped and none is begun without time left, so the script can be
# called again. Weights are random. ARGS are passed on to benchmarks/kernels.py.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3} work=${WORK:-runs/work/gpu}
out=${OUT:-$work/out} minutes=${MINUTES:-9} part_minutes=${PART_MINUTES:-1}
parts=${PARTS:-attention fp8 decode train profile forms}
presets=${PRESETS:-nano wan2.1-1.3b wan2.2-5b}
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
mkdir -p "$out"
end=$("$python" -c "import time; print(int(time.time() + 60 * $minutes))")
room=$("$python" -c "print(int(60 * $part_minutes))")

failed=0
for preset in $presets; do
    for part in $parts; do
        case $part in
            attention | fp8 | decode | train | profile | forms) ;;
            *) echo "unknown part $part: use attention, fp8, decode, train, profile, forms" >&2; exit 2 ;;
        esac
        file=$out/kernels_${preset##*/}_$part.json
        [ ! -s "$file" ] || { echo "$preset $part: measured before, $file"; continue; }
        left=$((end - $(date +%s)))
        [ "$left" -ge "$room" ] || { echo "$preset $part: no time left for it; call the script again"; continue; }
        echo "$preset $part"
        # shellcheck disable=SC2086
        if ! timeout "$left" "$python" benchmarks/kernels.py "$part" --preset "$preset" ${ARGS:-} > "$file.part"; then
            echo "$preset $part: failed" >&2
            failed=1
            continue
        fi
        cat "$file.part"
        tail -n 1 "$file.part" > "$file" && rm "$file.part"
    done
done
exit "$failed"
