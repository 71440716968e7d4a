#!/bin/sh
# Bad usage: exit code 2, nothing on standard output, one line that says what is wrong and where to look.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"

refuses 2 '^mia: a command is missing (try mia --help)$'
refuses 2 '^mia: there is no command "walk" (try mia --help)$' walk
refuses 2 '"walk"' help walk
refuses 2 'one command' help run eval

refuses 2 '^mia run: --temp: "warm" is not a number (try mia run --help)$' run --temp warm
refuses 2 '^mia run: unknown option "--tmp"' run --tmp 1
refuses 2 'unknown option "--temp2=1"' run --temp2=1
refuses 2 '^mia run: -p needs a value (PROMPT)' run -p
refuses 2 '^mia run: --json takes no value' run --json=yes
refuses 2 '^mia run: unexpected argument "b.gguf"' run a.gguf b.gguf
for value in '' ' 1' 1x 1,5 nan inf 0x 1e999; do
    refuses 2 'is not a number' run --temp "$value"
done
refuses 2 '"-1" is not between 0 and 100' run --temp -1
refuses 2 'is not between' run --top-p 1.5
refuses 2 'is not between' run --min-p=-0.1
for value in '' ' 1' 1.5 1e3 x 0x10 5tokens; do
    refuses 2 'is not a whole number' run -n "$value"
done
refuses 2 'is not between' run -n -1
refuses 2 'is not between' run -n 99999999999999999999
refuses 2 'is not between 1 and 1024' run --threads 0
refuses 2 'is not between 1 and 1024' run --threads 1025
refuses 2 'is not between 1 and' run --ctx 0
for value in -1 1.5 18446744073709551616 0x1 x; do
    refuses 2 'seed: .* is not a whole number' run --seed "$value"
done
for value in '' 0 -1 1T 1.5G 1GB M 99999999999G 99999999999999999999; do
    refuses 2 'max-memory: .* is not a number of bytes' run --max-memory "$value"
done
refuses 2 'device: "gpu" is none of cpu, reference' run --device gpu
refuses 2 'device: "null"' run --device null
refuses 2 'stop: the text is empty' run --stop ''
refuses 2 'one line' run "--a
one line"

refuses 2 'MODEL.gguf is missing' eval
refuses 2 'FILE or --tokens is missing' eval "$model"
refuses 2 'exclude each other' eval "$model" FILE --tokens 1
for value in '' ',' '1,' ,1 1,,2 a 1,-2 '1, 2' 1.5 99999999999; do
    refuses 2 'is not a list of token ids' eval "$model" --tokens "$value"
done

refuses 2 'needs --random' bench --write "$work/x.gguf"
refuses 2 'exclude each other' bench "$model" --random layers=1
refuses 2 'nothing to measure' bench -p 0 -n 0
refuses 2 'is not between' bench --repeat 0
refuses 2 'unexpected argument' devices cpu
refuses 2 '^mia tokenize: ' tokenize
refuses 2 '^mia detokenize: ' detokenize
refuses 2 '^mia inspect: ' inspect

refuses 2 '"fold"' layout fold
refuses 2 '^mia layout: size: lacks its operand, A' layout size
refuses 2 '^mia layout: ' layout
