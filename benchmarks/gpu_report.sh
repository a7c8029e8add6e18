#!/usr/bin/env bash
# Everything that needs a GPU, in order of worth, in less than eight minutes, also on a machine
# that reaches no package registry and lacks some of what this package needs.
#
#   benchmarks/gpu_report.sh --wheels WHEELS [3.12]   # on a machine with a registry
#   benchmarks/gpu_report.sh OUT [WHEELS]             # on the machine with the GPU
#
# The first makes the folder WHEELS with what is small of this package's needs, for x86-64 and
# that version of Python; call it once more for a second version. PyTorch, NumPy, Pillow, Jinja2,
# psutil and pytest are not in there and must be on the machine with the GPU already, and for all
# steps torchvision, onnx, onnxruntime, accelerate, tensorboard, torchmetrics, hypothesis,
# pytest-timeout and pytest-xdist too; a step that lacks something else is told as failed, and the
# rest go on. Carry the checkout and WHEELS there (together 45 MiB); nothing is built or installed
# in the checkout or in Python: of WHEELS, what Python lacks goes to a folder of its own.
#
# OUT gets three files: report.tar with a file a step, added as soon as the step ends, summary.txt
# with how each ended, and tables.md with what they measured. So whatever ends the run, what was
# done is there. A step that fails or runs too long is told, and the rest go on; one that has no
# time left, or no GPU, is skipped, and it says so. Exit code 0 if no step failed.
#
# Environment:
#   BUDGET=460    seconds for everything
#   TINY=1        the smallest settings, within two minutes on two cores without a GPU: rehearse
#   STEPS="a b"   only these steps
#   SLOW=1        how many times as long as usual each step may take, on a machine that is busy
#   PYTHON=python3
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
python=${PYTHON:-python3}

make_wheels() { # folder, version of Python
    local platforms=() n
    for n in manylinux1 manylinux2014 manylinux_2_5 manylinux_2_17 manylinux_2_24 manylinux_2_27 \
        manylinux_2_28 manylinux_2_31; do
        platforms+=(--platform "${n}_x86_64")
    done
    get() { # version, names
        "$python" -m pip download -q --no-deps --only-binary=:all: --implementation cp \
            --python-version "$1" "${platforms[@]}" -c constraints.txt -d "$folder" "${@:2}"
    }
    local folder=$1 version=$2 slim
    get "$version" annotated-types click cloudpickle dask distributed filelock fsspec \
        importlib-metadata lazy-importer locket msgpack packaging partd pathspec pydantic pydantic-core pyyaml \
        safetensors simplejpeg sortedcontainers tblib tifffile toolz tornado typing-extensions \
        typing-inspection urllib3 zict zipp || return
    # imagecodecs is 25 MiB, of which JPEG needs one: one wheel for all versions from 3.11 on.
    compgen -G "$folder/imagecodecs-*" >/dev/null && return
    slim=$(mktemp -d) && get 3.11 imagecodecs && "$python" -m pip install -q --target "$slim/tool" \
        wheel && PYTHONPATH=$slim/tool "$python" -m wheel unpack -d "$slim" \
        "$folder"/imagecodecs-*.whl || return
    rm "$folder"/imagecodecs-*.whl
    find "$slim" -path '*/imagecodecs*' -name '*.so*' ! -name '_imcd.*' ! -name '_jpeg8.*' \
        ! -name '_shared*' ! -name 'libjpeg-*' -delete
    PYTHONPATH=$slim/tool "$python" -m wheel pack -d "$folder" "$slim"/imagecodecs-* >/dev/null
    rm -r "$slim"
}

if [ "${1:-}" = --wheels ]; then
    make_wheels "${2:?the folder for the wheels}" "${3:-3.12}" && du -sh "$2"
    exit
fi

out=${1:?usage: benchmarks/gpu_report.sh OUT [WHEELS], or --wheels WHEELS [VERSION]}
wheels=${2:-} budget=${BUDGET:-460}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit
[ -z "$wheels" ] || wheels=$(cd "$wheels" && pwd) || exit
work=$(mktemp -d) && mkdir "$work/report" || exit
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM INT
rm -f "$out/report.tar"
: >"$out/summary.txt" >"$out/tables.md"
failed=0

tell() { # step, seconds, how it ended
    printf '%-16s %4d s  %s\n' "$1" "$2" "$3" | tee -a "$out/summary.txt"
}

wanted() {
    case " ${STEPS:-$1} " in *" $1 "*) ;; *) return 1 ;; esac
}

keep() { # the step's output goes into the tar, and its table into tables.md
    local file=$work/report/$1
    tar -rf "$out/report.tar" -C "$work/report" "$1.txt"
    if [ -s "$file.md" ]; then
        tar -rf "$out/report.tar" -C "$work/report" "$1.md"
        { printf '## %s\n\n' "$1" && cat "$file.md" && echo; } >>"$out/tables.md"
    fi
}

step() { # name, seconds at most, command
    local name=$1 limit=$((${SLOW:-1} * $2)) start=$SECONDS left=$((budget - SECONDS)) how=ok code
    shift 2
    wanted "$name" || return 0
    if ((left < 10)); then
        tell "$name" 0 "skipped: out of time"
        return 0
    fi
    timeout -k 5 "$((limit < left ? limit : left))" "$@" >"$work/report/$name.txt" 2>&1 </dev/null
    code=$?
    if ((code == 124 || code == 137)); then how="out of time"; elif ((code)); then
        how="failed ($code) $(grep -v '^ *$' "$work/report/$name.txt" | tail -n 1 | cut -c 1-160)"
    fi
    ((code == 0)) || failed=1
    tell "$name" $((SECONDS - start)) "$how"
    keep "$name"
    return "$code"
}

gpu_step() { # as step
    wanted "$1" || return 0
    if [ -n "$gpu" ]; then step "$@"; else tell "$1" 0 "skipped: no GPU"; fi
}

md() { # where a step's table goes
    printf '%s' "$work/report/$1.md"
}

look() { # what the machine is
    nvidia-smi
    nvidia-smi -q -d CLOCK,POWER,PERFORMANCE
    ls -l /dev/nvidia* /dev/dxg
    ldconfig -p | grep -E 'nvinfer|nvidia-ml|libcuda'
    [ -n "${TINY:-}" ] || find / -xdev -name 'libnvinfer*' 2>/dev/null | head
    nproc
    free -m
    df -h /tmp
    "$python" -VV
    "$python" -m pip list 2>/dev/null
    true
}

add_wheels() { # what Python lacks of them
    local names
    names=$("$python" - "$wheels" <<'PY'
import sys
from importlib import metadata
from pathlib import Path

names = {path.name.split("-")[0].replace("_", "-") for path in Path(sys.argv[1]).glob("*.whl")}
for name in sorted(names):
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        print(name)
PY
    ) || return
    echo "adds: ${names//$'\n'/ }"
    # shellcheck disable=SC2086 # names, one a word
    [ -z "$names" ] || "$python" -m pip install -q --no-index --no-deps --no-compile \
        --find-links "$wheels" --target "$work/site" $names || return
    PYTHONPATH=$work/site "$python" -c \
        'import pix2pix_batch.execution.cluster, pix2pix_batch.execution.worker'
}

run_tests() { # names of files: the tests that need a GPU
    "$python" -m pytest -q -m gpu -rs -n 0 -p no:cacheprovider -p no:randomly \
        --continue-on-collection-errors "${@/#/tests/gpu/}"
    local code=$?
    ((code == 5)) && return 0 # none are there, or none are chosen
    return "$code"
}

digest() { # of all files in a folder
    (cd "$1" && find . -name '*.jpg' -type f | LC_ALL=C sort | xargs sha256sum | sha256sum)
}

convert_twice() { # the same bytes from another number of workers
    local workers first second
    for workers in "$@"; do
        rm -rf "$work/twice"
        "$python" -m pix2pix_batch.cli convert "$work/images" "$work/twice" --format jpg \
            --workers "$workers" --json || return
        second=$(digest "$work/twice")
        echo "$workers workers: $second"
        [ "${first:=$second}" = "$second" ] || { echo "another digest" && return 1; }
    done
    rm -rf "$work/twice"
}

refuse_batch() { # a batch that does not fit is an error with a reason, or a note
    "$python" -m pix2pix_batch.cli convert "$work/images" "$work/large" --batch-size "$1" \
        --limit 4 --json
    local code=$?
    rm -rf "$work/large"
    ((code == 0 || code == 2)) # whatever it says stands above
}

measure_engines() { # options
    "$python" benchmarks/engines.py "$@" --out "$work/engines" &&
        cp "$work/engines/engines.md" "$work/report/"
}

# Functions run in a process of their own, which timeout can end.
export python wheels work
export -f look add_wheels run_tests digest convert_twice refuse_batch measure_engines

step machine 20 bash -c look
[ -z "$wheels" ] || step wheels 40 bash -c add_wheels
export PYTHONPATH=$work/site:$PWD${PYTHONPATH:+:$PYTHONPATH} PIX2PIX_BATCH_CACHE=$work/cache
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 XDG_STATE_HOME=$work/state
gpu=$("$python" -c 'import torch; print("yes" if torch.cuda.is_available() else "")' 2>/dev/null)

# What the settings are: few and small with TINY.
cores=$(nproc)
count=32000 workers=(0 16 8 4 1) pngs=8000 few=512 large=16384 absurd=4096
jpeg=(--seconds 2) speed=(--batches 1 32 128 --seconds 1 --compile fp16) codecs=(--seconds 0.5)
train=(--steps 64 --batches 1 16) engines=(--batches 1 8 32 128 --seconds 1)
if [ -n "${TINY:-}" ]; then
    count=64 workers=(1) pngs=32 few=8 large=64 jpeg=(--seconds 0.1)
    speed=(--batches 2 --seconds 0.02 --ngf 1 --precisions fp32)
    codecs=(--seconds 0.02) train=(--steps 1 --batches 1 --ngf 1)
    engines=(--batches 1 --seconds 0.02 --ngf 1 --starts 0 --only tensorrt)
fi
make='import sys; from pathlib import Path; sys.path.insert(0, "benchmarks")
from pipeline import make_inputs; make_inputs(Path(sys.argv[1]), int(sys.argv[2]))'
if wanted same-bytes || wanted refusal; then
    "$python" -c "$make" "$work/images" "$few" >"$work/report/images.txt" 2>&1 || keep images
fi

step doctor 30 "$python" -m pix2pix_batch.cli doctor
step tests 60 bash -c 'run_tests "$@"' tests test_torch.py test_tensorrt.py
step exact 45 "$python" benchmarks/gpu.py exact --out "$(md exact)"
step same-bytes 60 bash -c "convert_twice 1 $cores"
step jpeg 120 "$python" benchmarks/pipeline.py --model map2aerial --images "$count" \
    --workers "${workers[@]}" "${jpeg[@]}" --out "$(md jpeg)"
step speed 100 "$python" benchmarks/gpu.py speed "${speed[@]}" --out "$(md speed)"
gpu_step memory 40 "$python" benchmarks/gpu.py memory --batch "$large" --out "$(md memory)"
gpu_step refusal 30 bash -c "refuse_batch $absurd"
step png 40 "$python" benchmarks/pipeline.py --model map2aerial --form png --images "$pngs" \
    --workers 0 "${jpeg[@]}" --out "$(md png)"
step tests-commands 90 bash -c 'run_tests "$@"' tests test_commands.py
step codecs 40 "$python" benchmarks/codecs.py "${codecs[@]}" --out "$(md codecs)"
step train 60 "$python" benchmarks/train.py "${train[@]}" --out "$(md train)"
step instant 40 "$python" benchmarks/pipeline.py --images "$count" --workers 0 "${jpeg[@]}" \
    --out "$(md instant)"
gpu_step build 60 "$python" -m pix2pix_batch.cli engine build map2aerial
gpu_step verify 30 "$python" -m pix2pix_batch.cli engine verify map2aerial
step engines 120 bash -c 'measure_engines "$@"' engines "${engines[@]}"
printf 'in %s: %d s of %d\n' "$out" "$SECONDS" "$budget"
exit "$failed"
