# Sourced by 10 to 50, not run: settings, the weights that a work folder starts from, and where results go. A student's
# config.json lies beside it.
# shellcheck shell=bash disable=SC2034
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-python3} work=${WORK:-runs/work/gpu} preset=${PRESET:-nano} minutes=${MINUTES:-8.5} in=${IN:-}
out=${OUT:-$work/out} cache=${CACHE:-c3s1w1} shipped=src/motionstream/weights/$preset start=$work/start
students=("$work/student" "$work/student_forcing" "$work/student_ode" "$start") # the first that exists is "the student"
# What comes from where is learnt on small pictures, by 10 to 20, and distilled there (30); 35 brings it to the preset's size.
small=()
[ "$preset" != nano ] || small=(--size "${SMALL:-128x96}")
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

ms() { "$python" -m motionstream "$@"; }
left() { "$python" -c "print(max(0.1, $minutes - $SECONDS / 60))"; } # minutes of this call that remain
die() { echo "$*" >&2 && exit 2; }
first() { # first NAME FOLDERS...: the first folder that holds the file, or nothing
    local folder
    for folder in "${@:2}"; do
        if [ -f "$folder/$1" ]; then echo "$folder" && return; fi
    done
}
tag() { # tag FOLDER: the cache setting that a student was made for, as c1s1w2
    "$python" -c "import json, sys; print('c{chunk_frames}s{sink_chunks}w{window_chunks}'.format(**json.load(open(sys.argv[1]))['cache']))" "$1/config.json"
}
size() { # size FOLDER: --size and the pixels of what a student was made for
    "$python" -c "import json, sys; print('--size {width}x{height}'.format(**json.load(open(sys.argv[1]))['geometry']))" "$1/config.json"
}
sigmas() { # sigmas FOLDER: the noise levels that a student was made for, as [1.0]
    "$python" -c "import json, sys; print(str(json.load(open(sys.argv[1]))['sample']['student_sigmas']).replace(' ', ''))" "$1/config.json"
}
other_codes() { # other_codes FOLDER: whether its teacher reads other track codes than the preset's
    local config=$1/teacher_config.json
    [ -f "$config" ] || config=$1/config.json
    [ -f "$config" ] && "$python" -c "import json, sys
from motionstream.config import to_dict
from motionstream.presets import preset
told = json.load(open(sys.argv[1]))['model']['tracks']
own = json.loads(json.dumps(to_dict(preset(sys.argv[2]))))['model']['tracks']
sys.exit(all(own[key] == value for key, value in told.items() if key in own))" "$config" "$preset"
}
keep() { # keep FILE NAME: copy a result of at most 16 MiB
    mkdir -p "$out"
    [ -f "$1" ] || return 0
    if [ "$(wc -c < "$1")" -le 16777216 ]; then cp "$1" "$out/$2"; else echo "not kept, over 16 MiB: $1" >&2; fi
}
keep_run() { # keep_run RUN WEIGHTS NAME: what a run made, as NAME.safetensors and NAME_*
    keep "$1/$2.safetensors" "$3.safetensors"
    keep "$1/metrics.jsonl" "$3_metrics.jsonl"
    keep "$1/train_config.json" "$3_train_config.json"
    keep "$(ls "$1"/sheet_*.png 2> /dev/null | tail -n 1)" "$3_sheet.png"
    keep "$start/vae.safetensors" vae.safetensors
    keep "$start/config.json" config.json
    keep "$1/config.json" "$3_config.json" # says for which cache setting a student was made
}
# Weights go together only with the same latents. The latents of IN come before the shipped ones; models are then taken from
# IN, and from the package only where its latents are the same file.
begin() {
    local place name own
    mkdir -p "$start" "$out"
    [ -z "$in" ] || [ -f "$in/vae.safetensors" ] || die "IN=$in holds no vae.safetensors: add the one its models were trained with"
    for place in ${in:+"$in"} "$shipped"; do
        [ -f "$place/vae.safetensors" ] || continue
        [ -f "$start/vae.safetensors" ] || cp "$place/vae.safetensors" "$place/config.json" "$start/"
        cmp -s "$place/vae.safetensors" "$start/vae.safetensors" || continue
        for name in teacher student recall; do
            [ ! -f "$start/$name.safetensors" ] && [ -f "$place/$name.safetensors" ] || continue
            cp "$place/$name.safetensors" "$start/"
            [ "$name" != teacher ] || [ ! -f "$place/teacher_config.json" ] || cp "$place/teacher_config.json" "$start/"
            [ "$name" != student ] || [ ! -f "$place/student_config.json" ] || cp "$place/student_config.json" "$start/config.json"
        done
        for name in distilled mixed short short_mean; do
            [ ! -f "$start/$name/student.safetensors" ] && [ -f "$place/$name.safetensors" ] || continue
            mkdir -p "$start/$name" && cp "$place/$name.safetensors" "$start/$name/student.safetensors"
            # results from before students kept their own config have one for all
            own=$place/${name}_config.json
            [ -f "$own" ] || own=$place/config.json
            cp "$own" "$start/$name/config.json"
        done
    done
}
assemble() { # assemble FOLDER STUDENT_FOLDER: a folder of weights as `eval` and `bench` read it
    local teacher recall
    teacher=$(first teacher.safetensors "$work/teacher" "$start")
    rm -rf "$1" && mkdir -p "$1"
    cp "$2/student.safetensors" "$2/config.json" "$start/vae.safetensors" "$1/"
    [ -z "$teacher" ] || cp "$teacher/teacher.safetensors" "$1/"
    recall=$(first recall.safetensors "$work/recall" "$start")
    [ -z "$recall" ] || cp "$recall/recall.safetensors" "$1/"
}
