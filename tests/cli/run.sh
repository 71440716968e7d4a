#!/bin/sh
# mia run: what stands on standard output to the byte, and the closing figures.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"

# the prompt, the text, one newline; figures on standard error
expect 0 run "$model" -p 'Once upon a time' -n 12 --temp 0
cp "$work/out" "$work/first"
head -c 16 "$work/out" | grep -qx 'Once upon a time' || fail "the prompt does not come first"
[ "$(tail -c 1 "$work/out" | od -An -c | tr -d ' ')" = '\n' ] || fail "no newline at the end"
[ "$(wc -c <"$work/out")" -gt 30 ] || fail "hardly a text"
figure load | grep -qx '[0-9.]* ms' || fail "the figure load"
figure prompt | grep -q '^[0-9]* tokens, [0-9.]* tokens/s$' || fail "the figure prompt"
figure generated | grep -q '^12 tokens, [0-9.]* tokens/s$' || fail "the figure generated"
figure 'peak memory' | grep -q 'MiB' || fail "the figure peak memory"
grep -q "$(printf '\033')" "$work/err" && fail "escape sequences in what is no terminal"
grep -q '^seed' "$work/err" && fail "a seed without draws"

# the same again: other spellings, other numbers of threads
for threads in 1 2 5; do
    expect 0 run --temp=0 -n 12 --threads $threads -p 'Once upon a time' -- "$model"
    cmp -s "$work/out" "$work/first" || fail "another text with $threads threads"
done

# -n counts what is generated; 0 is none
expect 0 run "$model" -p 'The fox' -n 0
printf 'The fox\n' | cmp -s - "$work/out" || fail "-n 0 gives more than the prompt and a newline"
expect 0 run "$model" -p 'The fox' -n 1 --temp 0
[ "$(figure generated)" = '1 token' ] || fail "-n 1 generates one token, at no rate"

# without a prompt, and with UTF-8 in it
expect 0 run "$model" -n 5 --temp 0
[ "$(wc -c <"$work/out")" -gt 5 ] || fail "no text without a prompt"
prompt='Grüße, 王 🦊 said'
expect 0 run "$model" -p "$prompt" -n 5 --temp 0
[ "$(head -c ${#prompt} "$work/out")" = "$prompt" ] || fail "the UTF-8 prompt is not on standard output as given"

# a seed makes it reproducible; a drawn one is shown and does the same
expect 0 run "$model" -p 'Once' -n 20 --seed 7 --temp 1
cp "$work/out" "$work/seven"
expect 0 run "$model" -p 'Once' -n 20 --seed 7 --temp 1
cmp -s "$work/out" "$work/seven" || fail "the same seed gives another text"
expect 0 run "$model" -p 'Once' -n 20 --seed 8 --temp 1
cmp -s "$work/out" "$work/seven" && fail "another seed gives the same text"
expect 0 run "$model" -p 'Once' -n 20 --temp 1
cp "$work/out" "$work/drawn"
seed=$(figure seed)
[ -n "$seed" ] || fail "the drawn seed is not shown"
expect 0 run "$model" -p 'Once' -n 20 --temp 1 --seed "$seed"
cmp -s "$work/out" "$work/drawn" || fail "the drawn seed does not give its text again"

# stop strings: the text ends before the first that comes up
expect 0 run "$model" -p 'Once upon a time' -n 60 --temp 0 --stop 'no such words' --stop king
[ "$(head -n 1 "$work/out")" = "$(head -n 1 "$work/first" | sed 's/king.*//')" ] || fail "--stop king"

# a full context ends the text and is told
expect 0 run "$model" -p 'Once upon a time' --ctx 24 --temp 0
grep -q 'the context of 24 tokens is full' "$work/err" || fail "the full context is not told"
expect 0 run "$model" --ctx 1 --temp 0
grep -qx 'the context of 1 token is full' "$work/err" || fail "the full context of one token is not told"
grep -q 'trained' "$work/err" && fail "a warning for a short context"

# one beyond what the model was trained for is told, and allowed
expect 0 run "$model" --ctx 513 -n 1
grep -qx 'mia run: the model was trained for 512 tokens of context; beyond that its text degrades' "$work/err" ||
    fail "--ctx 513 is not warned of"
expect 0 run "$model" --ctx 512 -n 1
grep -q 'trained' "$work/err" && fail "a warning for the trained context"

# a prompt of several parts is told whole
expect 0 run "$model" --ctx 2000 -n 2 --temp 0 -p "$(yes 'a king and a fox' | head -250)"
figure prompt | grep -Eqx '[0-9]{4} tokens, [0-9.]+ tokens/s' || fail "the figure of a long prompt"
figure generated | grep -Eqx '2 tokens, [0-9.]+ tokens/s' || fail "the figure generated after a long prompt"

# no model: the bundled one tells a story with its card's settings
expect 0 run --seed 3 -n 60
head -c 16 "$work/out" | grep -qx 'Once upon a time' || fail "the bundled model's story"
cp "$work/out" "$work/story"
expect 0 run "$model" --seed 3 -n 60 -p 'Once upon a time' --temp 0.6 --top-k 40 --top-p 0.95 --min-p 0.05 \
    --repeat-penalty 1.15 --repeat-last-n 128
cmp -s "$work/out" "$work/story" || fail "the settings of the help are not those used"
expect 0 run --seed 4 # a whole story ends with a sentence
tail -n 1 "$work/out" | grep -q '[.!?]"*$' || fail "the story stops within a sentence"
[ "$(figure generated | sed 's/ .*//')" -gt 200 ] || fail "hardly a story"
