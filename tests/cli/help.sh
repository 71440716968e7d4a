#!/bin/sh
# Help: every command has it, on standard output, and it names every option; --version.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"

# documents COMMAND WORD...
documents() {
    command=$1
    shift
    expect 0 "$command" --help
    [ ! -s "$work/err" ] || fail "mia $command --help writes to standard error"
    grep -q "^usage: mia $command" "$work/out" || fail "mia $command --help has no usage line"
    for word in --help "$@"; do
        grep -q -e "^  $word\( \|$\)" "$work/out" || fail "mia $command --help does not list $word"
    done
    awk 'length > 120' "$work/out" | grep -q . && fail "mia $command --help has lines over 120 characters"
    cp "$work/out" "$work/first"
    expect 0 help "$command"
    cmp -s "$work/out" "$work/first" || fail "mia help $command differs from mia $command --help"
}

documents run MODEL.gguf -p -n --temp --top-k --top-p --min-p --repeat-penalty --repeat-last-n --stop --seed \
    --threads --device --ctx --max-memory --json
documents eval MODEL.gguf FILE --ctx --logits --tokens --threads --device --max-memory
documents bench MODEL.gguf -p -n --threads --repeat --json --random --write --device --max-memory
documents trace MODEL.gguf -p -n -o --threads --device --ctx --max-memory
documents plan MODEL.gguf --ctx --rows -n --memory --device --json
documents export MODEL.gguf --step -o --rows --ctx --without-weights --device --max-memory
documents exec FILE.mia --input --output --zeros --weights --device --threads --max-memory
documents graph FILE --format --plan -o --rows --ctx --device
documents devices
documents tokenize --no-bos
documents detokenize
documents inspect --json
documents layout

expect 0 --help
for command in run tokenize detokenize eval inspect devices bench plan trace export exec graph layout; do
    grep -q "^  $command " "$work/out" || fail "mia --help does not list $command"
done
cp "$work/out" "$work/first"
expect 0 help
cmp -s "$work/out" "$work/first" || fail "mia help differs from mia --help"

expect 0 --version
grep -qx 'mia [0-9]*\.[0-9]*\.[0-9]*' "$work/out" || fail "mia --version"

# a word that looks like --help but is a value, or stands behind --
refuses 1 'no-such-file' run no-such-file -p --help
refuses 1 '\-\-help' run -- --help
