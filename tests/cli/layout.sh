#!/bin/sh
# mia layout: every operation of the help by name, what is refused and with which exit code, and tables.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"

# gives RESULT OPERATION A [B]
gives() {
    wanted_text=$1
    shift
    expect 0 layout "$@"
    [ "$(cat "$work/out")" = "$wanted_text" ] || fail "mia layout $*: not $wanted_text"
    [ ! -s "$work/err" ] || fail "mia layout $*: it wrote to standard error"
}

# One line an operation; the help lists the same ones.
cat >"$work/operations" <<'END'
size (4,(2,3)):(1,(4,8))||24
cosize (3,4):(1,4)||15
rank (4,(2,3))||2
depth (4,(2,3))||2
index (3,(2,3)):(3,(12,1))|(1,(1,2))|17
coordinate (3,(2,3))|16|(1,(1,2))
coalesce (2,(1,6)):(1,(6,2))|(1,1)|(2,6):(1,2)
filter ((2,3),(4,2)):((0,1),(3,0))|(1,1)|(3,4):(1,3)
filter_zeros (2,3):(0,1)||(1,3):(0,1)
flatten (2,(3,4))||(2,3,4):(1,2,6)
group (4,5,6)|(0,2)|((4,5),6):((1,4),20)
mode (4,(2,3)):(1,(4,8))|1|(2,3):(4,8)
concatenate 4:1|(2,3):(4,8)|(4,(2,3)):(1,(4,8))
compose (12,(4,8)):(59,(13,1))|<3:4,8:2>|(3,(2,4)):(236,(26,1))
complement (2,2):(1,6)|24|(3,2):(2,12)
right_inverse (2,4):(4,1)||(4,2):(2,1)
left_inverse (3,4):(1,4)||(4,4):(1,3)
logical_divide (6,8):(8,1)|(3,4)|((3,2),(4,2)):((8,24),(1,4))
zipped_divide (6,8):(8,1)|(3,4)|((3,4),(2,2)):((8,1),(24,4))
tiled_divide (6,8):(8,1)|(3,4)|((3,4),2,2):((8,1),24,4)
flat_divide (6,8):(8,1)|(3,4)|(3,4,2,2):(8,1,24,4)
logical_product (2,2):(1,2)|(3,4):(4,1)|((2,2),(3,4)):((1,2),(16,4))
zipped_product (3,4):(4,1)|(2,5):(1,2)|((3,4),(2,5)):((4,1),(12,24))
tiled_product (3,4):(4,1)|(2,5):(1,2)|((3,4),2,5):((4,1),12,24)
flat_product (3,4):(4,1)|(2,5):(1,2)|(3,4,2,5):(4,1,12,24)
blocked_product (2,2):(1,2)|(3,4):(4,1)|((2,3),(2,4)):((1,16),(2,4))
raked_product (2,2):(1,2)|(3,4):(4,1)|((3,2),(4,2)):((16,1),(4,2))
slice (4,2):(1,4)|(_,1)|(4):(1) @ 4
dice (4,2):(1,4)|(_,1)|(2):(4)
swizzle Sw<1,0,1>|(2,2)|0 1 3 2
END
while IFS='|' read -r call b wanted_text; do
    operation=${call%% *}
    a=${call#* }
    if [ -z "$b" ]; then gives "$wanted_text" "$operation" "$a"; else gives "$wanted_text" "$operation" "$a" "$b"; fi
done <"$work/operations"
expect 0 layout --help
sed -n '/^operations:/,$p' "$work/out" | sed 1d | awk '{print $1}' | sort >"$work/listed"
sed 's/ .*//' "$work/operations" | sort | cmp - "$work/listed" || fail "this script and the help differ in operations"

# What cannot be met: the reason, on one line, and 1; a call that is none: 2.
refuses 1 'left_inverse: mode 3:0 of (4,3):(1,0) gives each offset more than once' layout left_inverse '(4,3):(1,0)'
refuses 1 'logical_divide: complement: mode 3:3 of (4,3):(1,3) begins before offset 4' \
    layout logical_divide 12 '(4,3):(1,3)'
refuses 1 'they meet the end of its mode 6:1 unevenly' layout compose '(6,2):(1,7)' 3:4
refuses 1 "expected ',' or ')' at character 3, where it ends" layout size '(4'
refuses 1 'shape and stride are nested differently' layout size '(4,(2,3)):(1,4)'
refuses 1 'mode 1 has extent 0' layout size '(4,0)'
refuses 1 'mode 0 has extent -4' layout size -- -4:1
refuses 1 'exceeds 64 bits' layout size '(4294967296,4294967296)'
refuses 1 'a number of at most 64 bits' layout size 9223372036854775808
refuses 1 'index: an offset of 3:4611686018427387904 exceeds 64 bits' layout index 3:4611686018427387904 2
refuses 1 'more than 32 modes' layout rank '(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)'
deep=$(printf '%64s' '' | tr ' ' '(')
refuses 1 'more than 64 modes and pairs of parentheses' layout depth "${deep}7$(printf '%s' "$deep" | tr '(' ')')"
refuses 1 'size: takes no second operand' layout size 4:1 4:1
refuses 1 'compose: lacks its second operand, TILER' layout compose 4:1
refuses 1 'index: -1 is negative' layout index 4:1 -- -1
refuses 2 'unexpected argument "6"' layout index 4:1 5 6
refuses 2 'no layout operation is called "fold"' layout fold 4:1
refuses 2 'takes no operation' layout --check "$work/operations" size

# Tables: how many rows hold; 0 only if all do.
printf '# a comment\n\nsize\t(4,2)\t\t8\ncompose\t8:3\t(2,2):(4,1)\t(2,2):(12,3)\n' >"$work/good.tsv"
expect 0 layout --check "$work/good.tsv"
[ "$(cat "$work/out")" = '2 of 2 rows hold' ] || fail 'a table of two rows that hold'
printf 'size\t(4,2)\t\t8\r\nsize\t(4,2)\t\t9\nsize\t(4\t\t4\nfold\t4\t\t4\nsize' >"$work/bad.tsv"
expect 1 layout --check "$work/bad.tsv"
grep -qx 'line 2: size (4,2): expected 9, got 8' "$work/out" || fail 'the row that does not hold is not shown'
grep -q '^line 3: size (4: expected 4, got layout "(4": expected' "$work/out" || fail 'a refusal is not shown'
grep -q '^line 4: fold 4: expected 4, got no layout operation' "$work/out" || fail 'an unknown operation is not shown'
tail -n 1 "$work/out" | grep -qx '1 of 5 rows hold' || fail 'a table of which one row holds'
i=0
while [ $i -lt 30 ]; do
    printf 'size\t4\t\t5\n'
    i=$((i + 1))
done >"$work/many.tsv"
expect 1 layout --check "$work/many.tsv"
[ "$(wc -l <"$work/out")" -eq 21 ] || fail 'not the first 20 rows that do not hold'
printf '# nothing\n' >"$work/empty.tsv"
refuses 1 'holds no rows' layout --check "$work/empty.tsv"
refuses 1 'No such file' layout --check "$work/none.tsv"
refuses 1 'reading failed' layout --check "$work"

if [ -f "$SHARED/data/layout/cute.tsv" ]; then
    expect 0 layout --check "$SHARED/data/layout/cute.tsv"
    [ "$(cat "$work/out")" = '4000 of 4000 rows hold' ] || fail "the table of CuTe's Python model"
fi
