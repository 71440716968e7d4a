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
refuses 1 '3 tokens are no window of 512' eval "$model" --tokens 1,2,3
refuses 1 'no/such/dir' eval "$model" --tokens 1,2,3 --logits no/such/dir/x
refuses 1 'cxt\|context\|ctx\|[0-9]' run "$model" --ctx 4 -p 'Once upon a time there was a king who had three daughters.'

# more memory than allowed: refused before anything is loaded, with the bytes needed
for command in run bench; do
    refuses 1 "^mia $command: .*[0-9]\{7,\}" "$command" "$model" --max-memory 1M
done
refuses 1 '[0-9]\{7,\}' eval "$model" --tokens 1,2,3 --logits "$work/x" --max-memory 1000K
needed=$(grep -o '[0-9]\{7,\}' "$work/err" | sort -n | tail -1)
[ "$needed" -gt 1024000 ] || fail "the bytes needed are not in the message"
expect 0 run "$model" -n 1 --max-memory 1G
refuses 1 'needs [0-9]* bytes' run "$model" -n 1 --max-memory 1M
needed=$(sed 's/.*needs \([0-9]*\) bytes.*/\1/' "$work/err")
expect 0 run "$model" -n 1 --max-memory "$needed"
refuses 1 "needs $needed bytes" run "$model" -n 1 --max-memory $((needed - 1))
