#!/bin/sh
# mia eval: logits and perplexity agree with each other and with how llama-perplexity counts.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"

# logits: [tokens, vocab] float32, also for a text shorter than a window
expect 0 eval "$model" --tokens 1,2,3 --logits "$work/three"
[ "$(wc -c <"$work/three")" -eq $((3 * 4096 * 4)) ] || fail "the size of --logits"
grep -q '^perplexity' "$work/out" && fail "a perplexity of three tokens"
expect 0 eval "$model" --tokens 1,2 --logits "$work/two"
cmp -s -n $((2 * 4096 * 4)) "$work/two" "$work/three" || fail "logits depend on later tokens"

# a text of several windows, with the logits of the first on the way
printf 'Once upon a time there was a king who had three daughters, and the youngest of them was so fair.' >"$work/text"
ids=$("$MIA" tokenize "$model" <"$work/text")
count=$(echo "$ids" | tr ',' '\n' | wc -l)
expect 0 eval "$model" "$work/text" --ctx 8 --logits "$work/logits"
grep -qx 'perplexity: [0-9]*\.[0-9]*' "$work/out" || fail "no line perplexity: X"
windows=$((count / 8))
grep -qx "tokens: $((windows * 3))" "$work/out" || fail "three of a window of eight are scored"
grep -qx "text tokens: $count" "$work/out" || fail "the tokens of the text"
[ "$(wc -c <"$work/logits")" -eq $((8 * 4096 * 4)) ] || fail "the logits are not those of one window"
cp "$work/out" "$work/first"
refuses 1 '^mia eval: standard input is empty$' eval "$model" - --ctx 8
"$MIA" eval "$model" - --ctx 8 <"$work/text" >"$work/out" 2>"$work/err" || fail "standard input as text"
sed '/^logits/d' "$work/first" | cmp -s - "$work/out" || fail "standard input gives another perplexity"

# the perplexity counted by hand from the logits of each window, BOS in front
echo "$ids" | tr ',' '\n' >"$work/ids"
window=0
while [ $window -lt $windows ]; do
    tokens=$(tail -n +$((window * 8 + 1)) "$work/ids" | head -8 | sed '1s/.*/1/' | paste -sd, -)
    expect 0 eval "$model" --tokens "$tokens" --logits "$work/window.$window" --ctx 8
    window=$((window + 1))
done
cat >"$work/count.py" <<'END'
import array, math, sys
folder, windows, vocabulary = sys.argv[1], int(sys.argv[2]), 4096
ids = [int(line) for line in open(folder + "/ids")]
total = scored = 0
for window in range(windows):
    logits = array.array("f", open(f"{folder}/window.{window}", "rb").read())
    for place in range(4, 7):
        row = logits[place * vocabulary:(place + 1) * vocabulary]
        top = max(row)
        total += top + math.log(sum(math.exp(x - top) for x in row)) - row[ids[window * 8 + place + 1]]
        scored += 1
printed = float(open(folder + "/first").readline().split()[1])
counted = math.exp(total / scored)
print(printed, counted)
sys.exit(abs(printed - counted) > 2e-4 * counted) # four decimals are printed
END
python3 "$work/count.py" "$work" "$windows" || fail "the perplexity is not that of the logits"
cmp -s "$work/window.0" "$work/logits" || fail "the first window's logits differ from those of its tokens"

# both devices agree closely on a text
expect 0 eval "$model" "$work/text" --ctx 16 --device reference --threads 1
reference=$(sed -n 's/^perplexity: //p' "$work/out")
expect 0 eval "$model" "$work/text" --ctx 16
echo "$reference $(sed -n 's/^perplexity: //p' "$work/out")" |
    awk '{ d = ($1 - $2) / $1; exit !(d < 0.02 && d > -0.02) }' || fail "cpu and reference differ by over 2 %"
