#!/bin/sh
# The bundled model, fed texts that it once wrote greedily: the likeliest token is the text's next one nearly always. DEVICE,
# a backend to test instead of cpu.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"
[ -n "$SHARED" ] || skip "no shared data"

cat >"$work/agree.py" <<'END'
import array, json, subprocess, sys
mia, model, texts, out, device = sys.argv[1:]
places = agreeing = 0
for line in open(texts, encoding="utf-8"):
    text = json.loads(line)["text"].encode()
    ids = subprocess.run([mia, "tokenize", model], input=text, stdout=subprocess.PIPE, check=True).stdout
    ids = [int(i) for i in ids.split(b",")]
    subprocess.run([mia, "eval", model, "--tokens", ",".join(map(str, ids)), "--logits", out,
                    "--device", device], check=True, stdout=subprocess.DEVNULL)
    logits = array.array("f", open(out, "rb").read())
    vocabulary = len(logits) // len(ids)
    for place in range(len(ids) - 97, len(ids) - 1): # the last 96 tokens were generated
        row = logits[place * vocabulary:(place + 1) * vocabulary]
        agreeing += row.index(max(row)) == ids[place + 1]
        places += 1
print(agreeing, "of", places)
sys.exit(places != 768 or agreeing < 0.97 * places)
END
python3 "$work/agree.py" "$MIA" "$model" "$SHARED/models/mia-tales-greedy.jsonl" "$work/logits" "${DEVICE:-cpu}" ||
    fail "less than 97 % agree"
