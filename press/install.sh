# Makes .venv and installs what requirements.lock names, then aelib itself in place.
# Called by the Makefile. uv does the work where it is on PATH, plain pip where it is not.
set -eu

fits() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

python=""
if [ -n "${PYTHON:-}" ]; then
    if ! fits "$PYTHON"; then
        echo "PYTHON=$PYTHON is not a Python this book runs on (3.10 to 3.13):" >&2
        "$PYTHON" --version >&2 || echo "  it could not be started." >&2
        exit 1
    fi
    python="$PYTHON"
else
    for candidate in python3 python3.11 python3.12 python3.13 python3.10 python; do
        if fits "$candidate"; then
            python="$candidate"
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "No Python from 3.10 to 3.13 was found; python3 is: $(python3 --version 2>&1 || true)" >&2
        echo "Install one, or name it: PYTHON=/path/to/python3.11 make book" >&2
        exit 1
    fi
fi

version() {
    "$1" -c 'import sys; print(*sys.version_info[:2], sep=".")' 2>/dev/null || echo none
}

rm -f .venv/ready

# A .venv that is broken, or of another Python than the one asked for by name, is made anew.
if [ -e .venv ]; then
    if ! fits .venv/bin/python; then
        echo "The .venv here does not run a Python from 3.10 to 3.13; making it anew."
        rm -rf .venv
    elif [ -n "${PYTHON:-}" ] && [ "$(version .venv/bin/python)" != "$(version "$python")" ]; then
        echo "The .venv here has Python $(version .venv/bin/python); making it anew."
        rm -rf .venv
    fi
fi

# CPU=1: torch from PyTorch's own list, built without CUDA, and none of NVIDIA's libraries.
lock=requirements.lock
cpu_torch=https://download.pytorch.org/whl/cpu
if [ -n "${CPU:-}" ]; then
    mkdir -p _build
    lock=_build/cpu.lock
    grep -vE '^(nvidia-|cuda-|triton)' requirements.lock >"$lock"
    grep '^torch' requirements.lock >_build/torch.lock
    export UV_TORCH_BACKEND=cpu
fi

no_cpu_torch() {
    echo "CPU=1 takes torch from $cpu_torch, which did not give what the lock names." >&2
    echo "Is there a network? Without CPU=1 all comes from PyPI, with what only a GPU needs." >&2
    exit 1
}

if command -v uv >/dev/null 2>&1; then
    echo "Installing with uv into .venv (a minute or so the first time)"
    [ -d .venv ] || uv venv --quiet --seed --python "$python" .venv
    if [ -n "${CPU:-}" ]; then
        uv pip install --quiet --python .venv/bin/python --no-deps -r _build/torch.lock ||
            no_cpu_torch
    fi
    uv pip install --quiet --python .venv/bin/python -r "$lock"
    uv pip install --quiet --python .venv/bin/python --no-deps -e .
else
    echo "Installing with pip into .venv (about ${CPU:+2 of }6 GB; some minutes the first time)"
    if [ ! -d .venv ]; then
        if ! "$python" -m venv .venv; then
            rm -rf .venv
            echo "$python cannot make virtual environments. On Debian: apt install python3-venv" >&2
            exit 1
        fi
    fi
    .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip
    if [ -n "${CPU:-}" ]; then
        .venv/bin/python -m pip install --disable-pip-version-check --quiet --no-deps \
            --index-url "$cpu_torch" -r _build/torch.lock || no_cpu_torch
    fi
    .venv/bin/python -m pip install --disable-pip-version-check --quiet -r "$lock"
    .venv/bin/python -m pip install --disable-pip-version-check --quiet --no-deps -e .
fi
.venv/bin/python -c 'import jupyter_book, nbclient, torch, torchvision'
