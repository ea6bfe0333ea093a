#!/usr/bin/env bash
# Parts of a stream alone: attention back ends, FP8 products, decoders, a training step, a profile of three chunks, how far
# the forms of the transformer lie apart.
#   [OUT=folder] [PARTS="attention fp8 decode train profile forms"] [PRESETS="nano wan2.1-1.3b wan2.2-5b"] [MINUTES=9] runs/gpu/62-kernels.sh
# A JSON for each part and preset; one that lies in OUT is skipped and none is begun without time left, so the script can be
# called again. Weights are random. ARGS are passed on to benchmarks/kernels.py and named in the file
# (TAG: another name).
set -euo pipefail
part_minutes=${PART_MINUTES:-1}
source "$(dirname "$0")/parts.sh"
parts=${PARTS:-attention fp8 decode train profile forms}
presets=${PRESETS:-nano wan2.1-1.3b wan2.2-5b}

for preset in $presets; do
    for part in $parts; do
        case $part in
            attention | fp8 | decode | train | profile | forms) ;;
            *) echo "unknown part $part: use attention, fp8, decode, train, profile, forms" >&2; exit 2 ;;
        esac
        file=$out/kernels_${preset##*/}_$part$tag.json
        due "$preset $part" "$file" || continue
        echo "$preset $part"
        # shellcheck disable=SC2086
        if ! timeout "$left" "$python" benchmarks/kernels.py "$part" --preset "$preset" ${ARGS:-} > "$file.part"; then
            fails "$preset $part" failed
            continue
        fi
        cat "$file.part"
        tail -n 1 "$file.part" > "$file" && rm "$file.part"
    done
done
exit "$failed"
