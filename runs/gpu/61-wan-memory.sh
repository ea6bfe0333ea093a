#!/usr/bin/env bash
# Predicted against measured memory of Wan 2.1 1.3B and Wan 2.2 5B: one denoising step of a stream at full depth, and a
# teacher's step with few layers and frames. Weights are random.
#   [OUT=folder] [PARTS="1.3b 5b"] [LAYERS=4] [FRAMES=21] [MINUTES=9] runs/gpu/61-wan-memory.sh
# A JSON for each part and depth; one that lies in OUT is skipped, and none is begun without time left. STREAM_LAYERS (default:
# all) makes the first smaller for small GPUs. ARGS are passed on to benchmarks/memory.py and named in the file
# (TAG: another name).
set -euo pipefail
part_minutes=${PART_MINUTES:-1.5}
source "$(dirname "$0")/parts.sh"
parts=${PARTS:-1.3b 5b}
preset_13=${PRESET_13:-wan2.1-1.3b} preset_5b=${PRESET_5B:-wan2.2-5b}

for part in $parts; do
    case $part in
        1.3b) preset=$preset_13 ;;
        5b) preset=$preset_5b ;;
        *) echo "unknown part $part: use 1.3b, 5b" >&2; exit 2 ;;
    esac
    for step in stream teacher; do
        file=$out/wan_memory_${part}_$step$tag.json
        due "$part $step" "$file" || continue
        more="--steps $step"
        [ "$step" = stream ] && more="$more ${STREAM_LAYERS:+--layers $STREAM_LAYERS}"
        [ "$step" = teacher ] && more="$more --layers ${LAYERS:-4} --frames ${FRAMES:-21}"
        echo "$part $step: $preset"
        # shellcheck disable=SC2086
        if ! timeout "$left" "$python" benchmarks/memory.py --preset "$preset" $more ${ARGS:-} > "$file.part"; then
            fails "$part $step" failed
            continue
        fi
        cat "$file.part"
        tail -n 1 "$file.part" > "$file" && rm "$file.part"
    done
done
exit "$failed"
