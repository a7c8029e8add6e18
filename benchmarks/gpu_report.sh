#!/usr/bin/env bash
# Everything that needs a GPU, in one go and in order of worth, for a machine without a registry.
#
#   benchmarks/gpu_report.sh OUT [WHEELS] [DATA]
#
# OUT gets a log a step and a summary; WHEELS is a directory of wheels for what Python lacks
# there (dask, distributed, tensorrt_rtx ...); DATA is the shipped recipes' mosaics, to train the
# shipped models anew. A step that fails or runs too long leaves its log and the rest go on.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:?usage: benchmarks/gpu_report.sh OUT [WHEELS] [DATA]}
wheels=${2:-} data=${3:-}
mkdir -p "$out"

step() { # name, seconds, command
    local name=$1 limit=$2 start=$SECONDS
    shift 2
    if timeout "$limit" "$@" >"$out/$name.log" 2>&1; then local how=ok; else local how="failed ($?)"; fi
    printf '%-16s %5d s  %s\n' "$name" $((SECONDS - start)) "$how" | tee -a "$out/summary.txt"
}

python=python3
if [ -n "$wheels" ]; then
    step venv 120 python3 -m venv --system-site-packages "$out/venv"
    python=$out/venv/bin/python
    step wheels 300 "$python" -m pip install --no-index --find-links "$wheels" --no-deps "$wheels"/*.whl
fi
export PYTHONPATH=$PWD PIX2PIX_BATCH_CACHE=$out/cache
tool="$python -m pix2pix_batch.cli"

step machine 60 nvidia-smi
step doctor 120 $tool doctor
step tests 600 "$python" -m pytest -q -m gpu -rs -p no:cacheprovider
step build 300 $tool engine build map2aerial
step list 60 $tool engine list
step bench 300 $tool engine bench map2aerial
mkdir -p "$out/maps"
for i in $(seq 256); do cp examples/maps/iberia.png "$out/maps/$i.png"; done
for backend in auto torch; do
    step "convert-$backend" 300 $tool convert "$out/maps" "$out/aerial-$backend" \
        --backend $backend --format jpg --json
done
step train 400 "$python" benchmarks/train.py --steps 100 --batches 1 4 16 --out "$out/train.md"
if [ -n "$data" ]; then
    for recipe in map2aerial day2night; do
        step "recipe-$recipe" 900 $tool train "$data" "$out/run-$recipe" --recipe $recipe
        rm -rf "$out/run-$recipe"/checkpoints
    done
fi
rm -rf "$out/venv" "$out/maps"
cat "$out/summary.txt"
