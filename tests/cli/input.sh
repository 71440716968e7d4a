#!/bin/sh
# Bad input: exit code 1, nothing on standard output, one line that names the cause.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"

printf 'not a model' >"$work/text.gguf"
: >"$work/empty.gguf"
head -c 300000 "$model" >"$work/cut.gguf"
{ printf 'GGUF\011\000\000\000'; tail -c +9 "$model" | head -c 1000; } >"$work/version.gguf"

for command in run inspect tokenize detokenize bench; do
    refuses 1 "^mia $command: .*no/such.gguf" "$command" no/such.gguf
    for file in text empty cut version; do
        refuses 1 "^mia $command: .*$work/$file.gguf" "$command" "$work/$file.gguf"
    done
    refuses 1 "^mia $command: " "$command" "$work"
done
refuses 1 "$work/cut.gguf" eval "$work/cut.gguf" --tokens 1,2
refuses 1 'no/such.txt: No such file' eval "$model" no/such.txt
refuses 1 "^mia eval: $work: " eval "$model" "$work"
refuses 1 '999999 is not in the vocabulary of 4096' eval "$model" --tokens 1,999999 --logits "$work/x"
refuses 1 '--tokens has 3 tokens; a window of 512 needs 512' eval "$model" --tokens 1,2,3
printf '' >"$work/nothing"
printf 'x' >"$work/short"
refuses 1 "^mia eval: $work/nothing is empty\$" eval "$model" "$work/nothing"
refuses 1 "^mia eval: $work/short has [0-9]* tokens; a window of 512 needs 512" eval "$model" "$work/short"
refuses 1 '--tokens has 1 token; a window of 512 needs 512' eval "$model" --tokens 7
refuses 1 'a window of 2 scores nothing' eval "$model" --tokens 1,2,3 --ctx 2
refuses 1 'no/such/dir' eval "$model" --tokens 1,2,3 --logits no/such/dir/x
refuses 1 '^mia run: the prompt has [0-9][0-9]* tokens, the context holds 4$' run "$model" --ctx 4 \
    -p 'Once upon a time there was a king who had three daughters.'

# more memory than allowed: refused before anything is loaded, with the bytes needed, whatever part is too large

# limited LIMIT BYTES COMMAND ARGUMENT...: refused with --max-memory LIMIT, which is BYTES; sets $needed
limited() {
    limit=$1
    bytes=$2
    shift 2
    refuses 1 "^mia $1: $model needs [0-9][0-9]* bytes, the limit is $bytes\$" "$@" --max-memory "$limit"
    needed=$(sed 's/.* needs \([0-9]*\) bytes.*/\1/' "$work/err")
    [ "$needed" -gt "$bytes" ] || fail "$needed bytes are needed, but refused by a limit of $bytes"
}

for command in run bench; do
    limited 1M 1048576 $command "$model"
    limited 1 1 $command "$model"
done
limited 1000K 1024000 eval "$model" --tokens 1,2,3 --logits "$work/x"
[ ! -e "$work/x" ] || fail "the file of the logits was made before the model was refused"
expect 0 run "$model" -n 1 --max-memory 1G
limited 1M 1048576 run "$model" -n 1
enough=$needed
expect 0 run "$model" -n 1 --max-memory "$enough"
limited $((enough - 1)) $((enough - 1)) run "$model" -n 1
[ "$needed" -eq "$enough" ] || fail "$needed bytes are needed with a limit of one less than $enough"
