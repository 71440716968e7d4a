#!/bin/sh
# --json: one object on standard output.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"

"$MIA" run "$model" -n 0 --json >"$work/out" 2>"$work/err" || {
    grep -q 'built without json-c' "$work/err" || fail "--json"
    [ ! -s "$work/out" ] && [ "$(wc -l <"$work/err")" -eq 1 ] || fail "one line without json-c"
    skip "this program was built without json-c"
}

expect 0 run "$model" -p 'Once upon a time' -n 12 --temp 0
cp "$work/out" "$work/plain"
expect 0 run "$model" -p 'Once upon a time' -n 12 --temp 0 --seed 18446744073709551615 --json
[ "$(wc -l <"$work/out")" -eq 1 ] || fail "not one line"
json "$work/out" 'd["prompt"] + d["text"]' | cmp -s - "$work/plain" || fail "prompt and text are not those printed"
[ "$(json "$work/out" 'd["tokens"], d["finish"], d["seed"]')" = "(12, 'length', 18446744073709551615)" ] ||
    fail "tokens, finish, seed"
[ "$(json "$work/out" 'd["figures"]["generated_tokens"] == 12 and d["figures"]["prompt_tokens"] > 3 and
    all(d["figures"][k] > 0 for k in ("load_ms", "prompt_tokens_per_second", "generated_tokens_per_second",
    "weight_bytes", "device_peak_bytes", "peak_bytes"))')" = True ] || fail "the figures"

expect 0 run "$model" -p 'Once upon a time' -n 1 --temp 0 --json
[ "$(json "$work/out" 'd["tokens"], d["figures"]["generated_tokens_per_second"]')" = "(1, None)" ] ||
    fail "a rate of one token"

expect 0 run "$model" -p 'Once upon a time' -n 60 --temp 0 --stop king --json
[ "$(json "$work/out" 'd["finish"]')" = stop ] || fail "finish: stop"
expect 0 run "$model" -p 'Once upon a time' --temp 0 --ctx 16 --json
[ "$(json "$work/out" 'd["finish"]')" = context ] || fail "finish: context"
expect 0 run "$model" -p "$(printf 'quote " backslash \\ \303\274 broken \377 end')" -n 1 --json
[ "$(json "$work/out" 'd["prompt"] == "quote \" backslash \\ \u00fc broken \ufffd end"')" = True ] ||
    fail "a prompt with quotes, UTF-8 and a byte that is none"

expect 0 bench "$model" -p 20 -n 3 --repeat 3 --threads 1 --json
[ "$(json "$work/out" 'all(0 < d[k]["least"] <= d[k]["median"] <= d[k]["most"] for k in
    ("prompt_tokens_per_second", "generated_tokens_per_second")) and d["threads"] == 1 and d["repeats"] == 3 and
    d["prompt_tokens_per_second"]["tokens"] == 20 and d["generated_tokens_per_second"]["tokens"] == 3 and
    d["weight_bytes"] > 9000000 and d["peak_bytes"] > d["weight_bytes"] / 2')" = True ] || fail "mia bench --json"

expect 0 inspect "$model" --json
json "$work/out" 'd' >/dev/null || fail "mia inspect --json is no JSON"
