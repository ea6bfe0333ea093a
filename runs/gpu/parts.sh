# Sourced by 60 to 62, not run: where results go, which of them are there, and how much time a call has left.
# shellcheck shell=bash disable=SC2034
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-python3} work=${WORK:-runs/work/gpu}
out=${OUT:-$work/out} minutes=${MINUTES:-9} failed=0
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
mkdir -p "$out"
end=$("$python" -c "import time; print(int(time.time() + 60 * $minutes))")
room=$("$python" -c "print(int(60 * $part_minutes))")
# What was measured with other options is another result: TAG names it in its file, by itself ARGS do.
tag=${TAG-${ARGS:-}}
tag=$(printf %s "$tag" | tr -cs 'A-Za-z0-9.' '-') # one dash in place of all that does not belong in a name
tag=${tag#-} tag=${tag%-} tag=${tag:+_$tag}

due() { # due NAME FILE: whether a part is yet to be measured and has time; sets `left`, in seconds
    [ ! -s "$2" ] || { echo "$1: measured before, $2"; return 1; }
    left=$((end - $(date +%s)))
    [ "$left" -ge "$room" ] || { echo "$1: no time left for it; call the script again"; return 1; }
}
fails() { # fails NAME SENTENCE: a part that fails (too little memory, say) must not cost the others their turn
    echo "$1: $2" >&2
    failed=1
}
