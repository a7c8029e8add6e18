#!/usr/bin/env bash
# Everything that needs a GPU, in one go and in order of worth, for a machine without a registry.
#
#   benchmarks/gpu_report.sh OUT [WHEELS] [DATA]
#
# OUT gets a file a step and summary.txt. WHEELS is a directory of wheels for what Python lacks
# there (dask, distributed, tensorrt_rtx ...); DATA is the shipped recipes' mosaics, to train the
# shipped models anew. A step that fails or runs too long leaves its file and the rest go on; what
# has no time left is skipped. Without a GPU the steps that need one are skipped, the others run.
#
# Environment:
#   BUDGET=1500   seconds for everything but DATA's trainings, which come last and have their own
#   TINY=1        the smallest settings: seconds a step, to see that all of it runs
#   STEPS="a b"   only these steps
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
out=${1:?usage: benchmarks/gpu_report.sh OUT [WHEELS] [DATA]}
wheels=${2:-} data=${3:-}
budget=${BUDGET:-1500}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit
: >"$out/summary.txt"

told() { # step, seconds, how it ended
    printf '%-20s %5d s  %s\n' "$1" "$2" "$3" | tee -a "$out/summary.txt"
}

step() { # name, seconds at most, command
    local name=$1 limit=$2 start=$SECONDS left=$((budget - SECONDS)) how=ok
    shift 2
    case " ${STEPS:-$name} " in *" $name "*) ;; *) return ;; esac
    if ((left < 10)); then
        told "$name" 0 "skipped: out of time"
        return
    fi
    timeout -k 10 "$((limit < left ? limit : left))" "$@" >"$out/$name.txt" 2>&1 </dev/null
    local code=$?
    if ((code == 124)); then how="out of time"; elif ((code)); then how="failed ($code)"; fi
    told "$name" $((SECONDS - start)) "$how"
}

gpu_step() { # as step
    case " ${STEPS:-$1} " in *" $1 "*) ;; *) return ;; esac
    if [ -n "$gpu" ]; then step "$@"; else told "$1" 0 "skipped: no GPU"; fi
}

python=${PYTHON:-python3}
if [ -n "$wheels" ]; then
    step venv 120 "$python" -m venv --system-site-packages "$out/venv"
    python=$out/venv/bin/python
    step wheels 300 "$python" -m pip install --no-index --find-links "$wheels" --no-deps "$wheels"/*.whl
fi
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PIX2PIX_BATCH_CACHE=$out/cache
tool=("$python" -m pix2pix_batch.cli)
gpu=$("$python" -c 'import torch; print("yes" if torch.cuda.is_available() else "")' 2>"$out/torch.txt")

# What the settings are: few and small with TINY.
engines=(--batches 1 8 32 128 --seconds 2) images=2048
codecs=(--seconds 1) train=(--steps 60 --batches 1 4 16)
if [ -n "${TINY:-}" ]; then
    engines=(--batches 1 2 --seconds 0.1 --ngf 1 --starts 1 --only TorchEngine tensorrt) images=8
    codecs=(--seconds 0.05) train=(--steps 4 --batches 1 --ngf 2)
fi

gpu_step machine 30 nvidia-smi
step doctor 60 "${tool[@]}" doctor
gpu_step build 180 "${tool[@]}" engine build map2aerial
gpu_step bench 90 "${tool[@]}" engine bench map2aerial
step engines 480 "$python" benchmarks/engines.py "${engines[@]}" --out "$out/engines"

make='import sys; from pathlib import Path; sys.path.insert(0, "benchmarks")
from measure import make_images; make_images(Path(sys.argv[1]), int(sys.argv[2]))'
rm -rf "$out/images"
step images 60 "$python" -c "$make" "$out/images" "$images"
for form in jpg png; do
    for backend in auto torch; do
        rm -rf "$out/converted"
        step "convert-$form-$backend" 120 "${tool[@]}" convert "$out/images" "$out/converted" \
            --model map2aerial --backend "$backend" --format "$form" --json
    done
done
step codecs 90 "$python" benchmarks/codecs.py "${codecs[@]}" --out "$out/codecs.md"
gpu_step tests 400 "$python" -m pytest -q -m gpu -rs -p no:cacheprovider
gpu_step verify 60 "${tool[@]}" engine verify map2aerial
step train 240 "$python" benchmarks/train.py "${train[@]}" --out "$out/train.md"

if [ -n "$data" ]; then
    for recipe in map2aerial day2night; do
        budget=$((SECONDS + 900))
        gpu_step "recipe-$recipe" 900 "${tool[@]}" train "$data" "$out/run-$recipe" --recipe "$recipe"
        rm -rf "$out/run-$recipe"/checkpoints
    done
fi
rm -rf "$out/venv" "$out/images" "$out/converted"
printf 'in %s: %d s of %d\n' "$out" "$SECONDS" "$budget"
