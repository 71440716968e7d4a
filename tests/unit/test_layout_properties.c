/* Random layouts, nested, with strides of 0, negative strides, permuted compact ones and padded ones: every
 * operation of the algebra against the property that defines it, by enumeration. Refusals are counted: an
 * operation that refuses too much fails. MIA_TEST_SEED repeats a run; MIA_TEST_LONG makes it a long one. */
#include <mia/layout.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_SIZE 4096

static uint64_t random_state;
static long rounds = 2000;

static uint64_t random_bits(void) { /* splitmix64 */
    uint64_t z = random_state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static int64_t random_below(int64_t n) {
    return (int64_t)(random_bits() % (uint64_t)n);
}

/* ---- random layouts ---- */

typedef enum strides_kind { COMPACT, PERMUTED, PADDED, ANY, SIGNED, KINDS } strides_kind;

/* Strides that make a bijection (COMPACT, PERMUTED), leave holes (PADDED), or whatever comes. */
static void random_strides(strides_kind kind, const int64_t *extents, int64_t *strides, uint32_t count) {
    uint32_t order[8];
    for (uint32_t i = 0; i < count; i++) order[i] = i;
    for (uint32_t i = count; kind != COMPACT && i > 1; i--) {
        uint32_t j = (uint32_t)random_below(i), swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
    int64_t next = 1;
    for (uint32_t i = 0; i < count; i++) {
        strides[order[i]] = next;
        next *= extents[order[i]];
        if (kind == PADDED && random_below(2) == 0) next += random_below(3) * (random_below(2) ? next : 1);
    }
    if (kind < ANY) return;
    for (uint32_t i = 0; i < count; i++) {
        if (random_below(3) == 0) strides[i] = 0;
        if (random_below(3) == 0) strides[i] = random_below(20);
        if (kind == SIGNED && random_below(3) == 0) strides[i] = -random_below(20);
    }
}

/* Cuts `count` modes into parentheses at random. Writes the nesting in preorder. */
static void random_nesting(mia_profile *profile, uint32_t count, bool outermost) {
    if (count == 1 && random_below(8) > 0) {
        profile->children[profile->node_count++] = 0;
        profile->mode_count++;
        return;
    }
    uint32_t parts = outermost || count == 1 ? count : 1 + (uint32_t)random_below(count);
    if (outermost) parts = 1 + (uint32_t)random_below(count);
    profile->children[profile->node_count++] = (uint8_t)parts;
    for (uint32_t i = 0; i < parts; i++) {
        uint32_t left = parts - i - 1,
                 share = i + 1 == parts ? count : 1 + (uint32_t)random_below(count - left);
        count -= share;
        if (profile->node_count > 20 && share == 1) {
            profile->children[profile->node_count++] = 0;
            profile->mode_count++;
        } else {
            random_nesting(profile, share, false);
        }
    }
}

static mia_layout random_layout(strides_kind kind) {
    mia_layout layout = {0};
    uint32_t count = 1 + (uint32_t)random_below(4);
    random_nesting(&layout.profile, count, true);
    for (uint32_t i = 0; i < count; i++) layout.extent[i] = 1 + random_below(6);
    random_strides(kind, layout.extent, layout.stride, count);
    return layout;
}

static mia_layout random_any(void) {
    return random_layout((strides_kind)random_below(KINDS));
}

/* ---- what is compared ---- */

static char *show(const mia_layout *layout) {
    static char texts[4][MIA_LAYOUT_MAX_TEXT];
    static int next;
    char *text = texts[next++ % 4];
    assert_int_equal(mia_layout_format(layout, text, MIA_LAYOUT_MAX_TEXT, NULL), MIA_OK);
    return text;
}

#define CHECK(condition, ...)                                                                                \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            print_error(__VA_ARGS__);                                                                        \
            fail();                                                                                          \
        }                                                                                                    \
    } while (0)

static int64_t size_of(const mia_layout *layout) {
    int64_t size = 0;
    assert_int_equal(mia_layout_size(layout, &size, NULL), MIA_OK);
    return size;
}

static int64_t at(const mia_layout *layout, int64_t index) {
    int64_t offset = 0;
    assert_int_equal(mia_layout_at(layout, index, &offset, NULL), MIA_OK);
    return offset;
}

static mia_layout mode_of(const mia_layout *layout, size_t index) {
    mia_layout mode;
    assert_int_equal(mia_layout_mode(layout, index, &mode, NULL), MIA_OK);
    return mode;
}

/* Evaluation by the tree: an index is split over the top-level modes, and each part in turn within
 * its mode. */
static int64_t at_by_tree(const mia_layout *layout, int64_t index) {
    if (mia_layout_depth(layout) == 0) return index * layout->stride[0];
    int64_t sum = 0;
    for (size_t i = 0; i < mia_layout_rank(layout); i++) {
        mia_layout mode = mode_of(layout, i);
        sum += at_by_tree(&mode, index % size_of(&mode));
        index /= size_of(&mode);
    }
    return sum;
}

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The offsets of the layout in order of size. */
static int64_t sorted_offsets(const mia_layout *layout, int64_t offsets[MAX_SIZE]) {
    int64_t size = size_of(layout);
    assert_in_range(size, 1, MAX_SIZE);
    for (int64_t i = 0; i < size; i++) offsets[i] = at(layout, i);
    qsort(offsets, (size_t)size, sizeof offsets[0], by_value);
    return size;
}

static bool same_offsets(const mia_layout *a, const mia_layout *b) {
    static int64_t of_a[MAX_SIZE], of_b[MAX_SIZE];
    int64_t size = sorted_offsets(a, of_a);
    if (sorted_offsets(b, of_b) != size) return false;
    return memcmp(of_a, of_b, (size_t)size * sizeof of_a[0]) == 0;
}

/* Does every coordinate of a serve b: the same sizes wherever a has a mode? */
static bool compatible(const mia_layout *a, const mia_layout *b) {
    if (size_of(a) != size_of(b)) return false;
    if (mia_layout_depth(a) == 0) return true;
    if (mia_layout_depth(b) == 0 || mia_layout_rank(a) != mia_layout_rank(b)) return false;
    for (size_t i = 0; i < mia_layout_rank(a); i++) {
        mia_layout mode_a = mode_of(a, i), mode_b = mode_of(b, i);
        if (!compatible(&mode_a, &mode_b)) return false;
    }
    return true;
}

/* ---- evaluation and notation ---- */

static void evaluation(void **state) {
    (void)state;
    for (long round = 0; round < rounds; round++) {
        mia_layout layout = random_any(), again;
        assert_int_equal(mia_layout_parse(show(&layout), &again, NULL), MIA_OK);
        CHECK(mia_layout_equal(&layout, &again), "%s read as %s\n", show(&layout), show(&again));
        int64_t least = 0, most = 0, cosize, offset;
        for (int64_t i = 0; i < size_of(&layout); i++) {
            mia_tuple coordinate;
            int64_t expected = at_by_tree(&layout, i);
            CHECK(at(&layout, i) == expected, "%s at %" PRId64 "\n", show(&layout), i);
            assert_int_equal(mia_layout_coordinate(&layout, i, &coordinate, NULL), MIA_OK);
            assert_int_equal(mia_layout_at_coordinate(&layout, &coordinate, &offset, NULL), MIA_OK);
            CHECK(offset == expected, "%s at the coordinate of %" PRId64 "\n", show(&layout), i);
            if (expected < least) least = expected;
            if (expected > most) most = expected;
        }
        assert_int_equal(mia_layout_cosize(&layout, &cosize, NULL), MIA_OK);
        CHECK(cosize == most - least + 1, "cosize %s = %" PRId64 "\n", show(&layout), cosize);
    }
}

/* ---- simplifying ---- */

static void coalescing(void **state) {
    (void)state;
    for (long round = 0; round < rounds; round++) {
        mia_layout layout = random_any(), simple, by_mode;
        assert_int_equal(mia_layout_coalesce(&layout, NULL, &simple, NULL), MIA_OK);
        assert_true(mia_layout_depth(&simple) <= 1);
        for (int64_t i = 0; i < 2 * size_of(&layout); i++) {
            CHECK(at(&layout, i) == at(&simple, i), "coalesce %s gave %s\n", show(&layout), show(&simple));
        }
        CHECK(size_of(&simple) == size_of(&layout), "coalesce %s gave %s\n", show(&layout), show(&simple));
        for (uint32_t i = 1; i < simple.profile.mode_count; i++) {
            CHECK(simple.extent[i] > 1 && simple.extent[i - 1] > 1 &&
                      simple.extent[i - 1] * simple.stride[i - 1] != simple.stride[i],
                  "coalesce %s left %s\n", show(&layout), show(&simple));
        }
        mia_tuple profile = {0};
        size_t kept = 1 + (size_t)random_below((int64_t)mia_layout_rank(&layout));
        profile.profile = (mia_profile){(uint32_t)kept + 1, (uint32_t)kept, {(uint8_t)kept}};
        assert_int_equal(mia_layout_coalesce(&layout, &profile, &by_mode, NULL), MIA_OK);
        assert_int_equal(mia_layout_rank(&by_mode), mia_layout_rank(&layout));
        for (size_t i = 0; i < mia_layout_rank(&layout); i++) {
            mia_layout mode = mode_of(&layout, i), is = mode_of(&by_mode, i);
            if (i < kept) assert_int_equal(mia_layout_coalesce(&mode, NULL, &mode, NULL), MIA_OK);
            CHECK(mia_layout_equal(&mode, &is), "coalesce %s by mode gave %s\n", show(&layout),
                  show(&by_mode));
        }
    }
}

/* The same set of offsets, and no mode that does nothing. */
static void filtering(void **state) {
    (void)state;
    static int64_t before[MAX_SIZE], after[MAX_SIZE];
    for (long round = 0; round < rounds; round++) {
        mia_layout layout = random_any(), filtered, ones;
        assert_int_equal(mia_layout_filter(&layout, NULL, &filtered, NULL), MIA_OK);
        assert_int_equal(mia_layout_filter_zeros(&layout, &ones, NULL), MIA_OK);
        CHECK(same_offsets(&filtered, &ones), "filter %s gave %s\n", show(&layout), show(&filtered));
        int64_t count = sorted_offsets(&layout, before), left = sorted_offsets(&filtered, after), j = 0;
        for (int64_t i = 0; i < count; i++) {
            while (j < left && after[j] < before[i]) j++;
            CHECK(j < left && after[j] == before[i], "filter %s lost %" PRId64 "\n", show(&layout),
                  before[i]);
        }
        for (uint32_t i = 0; i < filtered.profile.mode_count; i++) {
            CHECK(filtered.stride[i] != 0 || size_of(&filtered) == 1, "filter %s left %s\n", show(&layout),
                  show(&filtered));
        }
    }
}

/* ---- composition ---- */

static void composition(void **state) {
    (void)state;
    long made = 0;
    for (long round = 0; round < 4 * rounds; round++) {
        mia_layout a = random_any(), b = random_layout((strides_kind)random_below(SIGNED)), both;
        if (mia_layout_compose(&a, &b, &both, NULL) != MIA_OK) continue;
        made++;
        CHECK(compatible(&b, &both), "%s o %s gave %s\n", show(&a), show(&b), show(&both));
        for (int64_t i = 0; i < size_of(&b); i++) {
            CHECK(at(&both, i) == at(&a, at(&b, i)), "%s o %s gave %s\n", show(&a), show(&b), show(&both));
        }
    }
    CHECK(made > rounds, "only %ld of %ld compositions were made\n", made, 4 * rounds);
}

/* Never refused: a bijection after the modes of a compact layout, each taken apart at a divisor. */
static void admissible_compositions(void **state) {
    (void)state;
    for (long round = 0; round < rounds; round++) {
        mia_layout a = random_layout(PERMUTED), b = {0}, both;
        int64_t extents[8], strides[8], stride = 1;
        uint32_t count = 0;
        for (uint32_t i = 0; i < a.profile.mode_count; i++) {
            int64_t extent = a.extent[i], part = extent;
            while (extent % (part = 1 + random_below(extent)) != 0) {
            }
            extents[count] = part;
            strides[count++] = stride * (extent / part); /* every (extent / part)-th of the mode */
            stride *= extent;
        }
        assert_int_equal(mia_layout_make(extents, strides, count, &b, NULL), MIA_OK);
        mia_error error = {0};
        mia_status status = mia_layout_compose(&a, &b, &both, &error);
        CHECK(status == MIA_OK, "%s o %s: %s\n", show(&a), show(&b), error.message);
        for (int64_t i = 0; i < size_of(&b); i++) assert_int_equal(at(&both, i), at(&a, at(&b, i)));
    }
}

/* ---- complement and inverses ---- */

static void complements(void **state) {
    (void)state;
    static int64_t offsets[MAX_SIZE * 4];
    long made = 0, filled = 0;
    for (long round = 0; round < rounds; round++) {
        strides_kind kind = (strides_kind)random_below(KINDS);
        mia_layout a = random_layout(kind), rest, pair;
        int64_t target = 1 + random_below(300), cosize;
        if (mia_layout_complement(&a, target, &rest, NULL) != MIA_OK) {
            CHECK(kind >= ANY, "complement %s was refused\n", show(&a));
            continue;
        }
        made++;
        for (int64_t i = 1; i < size_of(&rest); i++) {
            CHECK(at(&rest, i - 1) < at(&rest, i), "complement %s is %s\n", show(&a), show(&rest));
        }
        assert_int_equal(mia_layout_filter(&a, NULL, &a, NULL), MIA_OK);
        mia_layout parts[] = {a, rest};
        assert_int_equal(mia_layout_concatenate(parts, 2, &pair, NULL), MIA_OK);
        int64_t size = size_of(&pair);
        if (size > MAX_SIZE) continue;
        sorted_offsets(&pair, offsets);
        for (int64_t i = 1; i < size; i++) {
            CHECK(offsets[i - 1] < offsets[i], "complement %s is %s: they meet\n", show(&a), show(&rest));
        }
        if (kind > PERMUTED) continue;
        filled++; /* the copies of a bijection fill the range */
        assert_int_equal(mia_layout_cosize(&pair, &cosize, NULL), MIA_OK);
        CHECK(cosize == size && cosize >= target, "complement %s is %s\n", show(&a), show(&rest));
    }
    CHECK(made > rounds / 2 && filled > rounds / 10, "only %ld complements, %ld full\n", made, filled);
}

static void right_inverses(void **state) {
    (void)state;
    long useful = 0;
    for (long round = 0; round < rounds; round++) {
        strides_kind kind = (strides_kind)random_below(KINDS);
        mia_layout a = random_layout(kind), inverse;
        assert_int_equal(mia_layout_right_inverse(&a, &inverse, NULL), MIA_OK);
        for (int64_t i = 0; i < size_of(&inverse); i++) {
            int64_t index = at(&inverse, i);
            CHECK(index < size_of(&a) && at(&a, index) == i, "right_inverse %s is %s\n", show(&a),
                  show(&inverse));
        }
        if (kind <= PERMUTED) {
            CHECK(size_of(&inverse) == size_of(&a), "right_inverse %s is %s\n", show(&a), show(&inverse));
        }
        useful += size_of(&inverse) > 1;
    }
    CHECK(useful > rounds / 4, "only %ld of %ld right inverses say anything\n", useful, rounds);
}

static void left_inverses(void **state) {
    (void)state;
    static int64_t offsets[MAX_SIZE];
    long made = 0;
    for (long round = 0; round < rounds; round++) {
        strides_kind kind = (strides_kind)random_below(KINDS);
        mia_layout a = random_layout(kind), inverse;
        if (mia_layout_left_inverse(&a, &inverse, NULL) != MIA_OK) {
            CHECK(kind > PERMUTED, "left_inverse %s was refused\n", show(&a));
            continue;
        }
        made++;
        int64_t size = sorted_offsets(&a, offsets);
        for (int64_t i = 0; i < size; i++) {
            CHECK(i == 0 || offsets[i] != offsets[i - 1], "left_inverse %s was made\n", show(&a));
            CHECK(at(&inverse, at(&a, i)) == i, "left_inverse %s is %s\n", show(&a), show(&inverse));
        }
    }
    CHECK(made > rounds / 3, "only %ld of %ld left inverses were made\n", made, rounds);
}

/* ---- divide and product ---- */

typedef mia_status tiling(const mia_layout *layout, const mia_tiler *tiler, mia_layout *out,
                          mia_error *error);

/* The same elements in the same order of the flat modes, as `first` says. */
static void same_arrangement(tiling *one, tiling *other, const mia_layout *a, const mia_tiler *tiler) {
    mia_layout x, y;
    assert_int_equal(one(a, tiler, &x, NULL), MIA_OK);
    assert_int_equal(other(a, tiler, &y, NULL), MIA_OK);
    assert_int_equal(size_of(&x), size_of(&y));
    for (int64_t i = 0; i < size_of(&x); i++) {
        CHECK(at(&x, i) == at(&y, i), "%s arranged as %s and %s\n", show(a), show(&x), show(&y));
    }
}

/* One layout as the tiler: (the tile, the rest), together the elements of A, each once. */
static void divides(void **state) {
    (void)state;
    long made = 0, exact = 0;
    for (long round = 0; round < 8 * rounds; round++) {
        mia_layout a = random_any(), b = random_layout((strides_kind)random_below(ANY)), split, tile;
        mia_tiler tiler = mia_tiler_of_layout(&b);
        if (mia_layout_logical_divide(&a, &tiler, &split, NULL) != MIA_OK) continue;
        made += size_of(&b) > 1;
        assert_int_equal(mia_layout_compose(&a, &b, &tile, NULL), MIA_OK);
        mia_layout first = mode_of(&split, 0);
        assert_int_equal(mia_layout_rank(&split), 2);
        CHECK(mia_layout_equal(&first, &tile), "%s by %s is %s\n", show(&a), show(&b), show(&split));
        if (size_of(&split) == size_of(&a)) {
            exact += size_of(&b) > 1;
            CHECK(same_offsets(&split, &a), "%s by %s is %s\n", show(&a), show(&b), show(&split));
        } else { /* rounded up */
            CHECK(size_of(&split) > size_of(&a), "%s by %s is %s\n", show(&a), show(&b), show(&split));
        }
        same_arrangement(mia_layout_zipped_divide, mia_layout_logical_divide, &a, &tiler);
        same_arrangement(mia_layout_tiled_divide, mia_layout_logical_divide, &a, &tiler);
        same_arrangement(mia_layout_flat_divide, mia_layout_logical_divide, &a, &tiler);
    }
    CHECK(made > rounds / 8 && exact > rounds / 16, "only %ld divisions, %ld exact\n", made, exact);
}

/* Tiles of each mode: the tile of the zipped form is the composition by mode, the elements are those of A. */
static void divides_by_mode(void **state) {
    (void)state;
    for (long round = 0; round < rounds; round++) {
        int64_t extents[3], strides[3], tiles[3];
        mia_layout a, parts[3], split, tile, flat;
        mia_tiler tilers[3], tiler;
        size_t count = 1 + (size_t)random_below(3), tiled = 1 + (size_t)random_below((int64_t)count);
        for (size_t i = 0; i < count; i++) {
            tiles[i] = 1 + random_below(4);
            extents[i] = tiles[i] * (1 + random_below(4));
        }
        random_strides((strides_kind)random_below(KINDS), extents, strides, (uint32_t)count);
        for (size_t i = 0; i < count; i++) {
            mia_layout mode;
            assert_int_equal(mia_layout_make(&extents[i], &strides[i], 1, &mode, NULL), MIA_OK);
            parts[i] = mode;
            int64_t step = random_below(2) == 0 ? 1 : extents[i] / tiles[i]; /* a block, or spread out */
            assert_int_equal(mia_layout_make(&tiles[i], &step, 1, &mode, NULL), MIA_OK);
            tilers[i] = random_below(4) == 0 ? mia_tiler_keep() : mia_tiler_of_layout(&mode);
        }
        assert_int_equal(mia_layout_concatenate(parts, count, &a, NULL), MIA_OK);
        assert_int_equal(mia_tiler_by_mode(tilers, tiled, &tiler, NULL), MIA_OK);
        mia_error error = {0};
        mia_status status = mia_layout_zipped_divide(&a, &tiler, &split, &error);
        CHECK(status == MIA_OK, "%s: %s\n", show(&a), error.message);
        CHECK(same_offsets(&split, &a), "%s is split as %s\n", show(&a), show(&split));
        assert_int_equal(mia_layout_compose_tiler(&a, &tiler, &tile, NULL), MIA_OK);
        mia_layout first = mode_of(&split, 0), rest = mode_of(&split, 1);
        for (size_t i = 0; i < tiled; i++) {
            mia_layout is = mode_of(&first, i), expected = mode_of(&tile, i);
            if (tilers[i].keep != 0) continue; /* kept: the mode is all rest */
            CHECK(mia_layout_equal(&is, &expected), "%s is split as %s\n", show(&a), show(&split));
        }
        assert_int_equal(mia_layout_tiled_divide(&a, &tiler, &flat, NULL), MIA_OK);
        assert_int_equal(mia_layout_rank(&flat), 1 + mia_layout_rank(&rest));
        same_arrangement(mia_layout_tiled_divide, mia_layout_zipped_divide, &a, &tiler);
        same_arrangement(mia_layout_flat_divide, mia_layout_zipped_divide, &a, &tiler);
        assert_int_equal(mia_layout_logical_divide(&a, &tiler, &flat, NULL), MIA_OK);
        assert_int_equal(mia_layout_rank(&flat), count);
        assert_true(same_offsets(&flat, &a));
    }
}

/* Two places of the copies are the same, before or after each other as B says; and copies meet nowhere. */
static void check_copies(const mia_layout *a, const mia_layout *b, const mia_layout *copies) {
    for (int64_t i = 0; i < size_of(b); i++) {
        for (int64_t j = 0; j < i; j++) {
            int64_t in_b = at(b, i) - at(b, j), placed = at(copies, i) - at(copies, j);
            CHECK((in_b > 0) == (placed > 0) && (in_b < 0) == (placed < 0), "%s times %s is placed by %s\n",
                  show(a), show(b), show(copies));
        }
    }
    static int64_t offsets[MAX_SIZE];
    mia_layout once, places, parts[2], pair;
    assert_int_equal(mia_layout_filter(a, NULL, &once, NULL), MIA_OK);
    assert_int_equal(mia_layout_filter(copies, NULL, &places, NULL), MIA_OK);
    int64_t count = sorted_offsets(&places, offsets);
    for (int64_t i = 1; i < count; i++) {
        if (offsets[i] == offsets[i - 1]) return; /* B itself gives a place twice */
    }
    parts[0] = once;
    parts[1] = places;
    assert_int_equal(mia_layout_concatenate(parts, 2, &pair, NULL), MIA_OK);
    count = sorted_offsets(&pair, offsets);
    for (int64_t i = 1; i < count; i++) {
        CHECK(offsets[i] != offsets[i - 1], "%s times %s: copies at %s meet\n", show(a), show(b),
              show(copies));
    }
}

static void products(void **state) {
    (void)state;
    long made = 0;
    for (long round = 0; round < 2 * rounds; round++) {
        mia_layout a = random_layout((strides_kind)random_below(SIGNED)),
                   b = random_layout((strides_kind)random_below(ANY));
        mia_layout both, blocked, raked;
        mia_tiler tiler = mia_tiler_of_layout(&b);
        if (size_of(&a) * size_of(&b) > MAX_SIZE || size_of(&b) > 64) continue;
        if (mia_layout_logical_product(&a, &tiler, &both, NULL) != MIA_OK) continue;
        made += size_of(&b) > 1;
        mia_layout first = mode_of(&both, 0), copies = mode_of(&both, 1);
        CHECK(mia_layout_equal(&first, &a) && compatible(&b, &copies), "%s times %s is %s\n", show(&a),
              show(&b), show(&both));
        check_copies(&a, &b, &copies);
        same_arrangement(mia_layout_zipped_product, mia_layout_logical_product, &a, &tiler);
        same_arrangement(mia_layout_tiled_product, mia_layout_logical_product, &a, &tiler);
        same_arrangement(mia_layout_flat_product, mia_layout_logical_product, &a, &tiler);
        assert_int_equal(mia_layout_blocked_product(&a, &b, &blocked, NULL), MIA_OK);
        assert_int_equal(mia_layout_raked_product(&a, &b, &raked, NULL), MIA_OK);
        CHECK(same_offsets(&blocked, &both), "%s blocked %s is %s\n", show(&a), show(&b), show(&blocked));
        CHECK(same_offsets(&raked, &both), "%s raked %s is %s\n", show(&a), show(&b), show(&raked));
    }
    CHECK(made > rounds / 4, "only %ld products were made\n", made);
}

/* ---- slices and swizzles ---- */

/* A full coordinate with some modes free: filled in, it gives the offset plus the slice at the filling. */
static void slices(void **state) {
    (void)state;
    for (long round = 0; round < rounds; round++) {
        mia_layout layout = random_any(), slice, dice;
        mia_tuple coordinate = {.profile = layout.profile};
        for (uint32_t i = 0; i < layout.profile.mode_count; i++) {
            if (random_below(2) == 0) coordinate.free |= UINT32_C(1) << i;
            coordinate.value[i] = random_below(layout.extent[i]);
        }
        int64_t offset, expected;
        assert_int_equal(mia_layout_slice(&layout, &coordinate, &slice, &offset, NULL), MIA_OK);
        assert_int_equal(mia_layout_dice(&layout, &coordinate, &dice, NULL), MIA_OK);
        assert_int_equal(size_of(&slice) * size_of(&dice), size_of(&layout));
        for (int64_t k = 0; k < size_of(&slice); k++) {
            mia_tuple filled = coordinate;
            filled.free = 0;
            int64_t left = k;
            for (uint32_t i = 0; i < layout.profile.mode_count; i++) {
                if (!(coordinate.free >> i & 1)) continue;
                filled.value[i] = left % layout.extent[i];
                left /= layout.extent[i];
            }
            assert_int_equal(mia_layout_at_coordinate(&layout, &filled, &expected, NULL), MIA_OK);
            CHECK(offset + at(&slice, k) == expected, "a slice of %s is %s\n", show(&layout), show(&slice));
        }
    }
}

/* A swizzle is its own inverse, moves no bit but the field's, and gives each field value once for each other
 * one. */
static void swizzles(void **state) {
    (void)state;
    for (long round = 0; round < rounds / 10; round++) {
        int32_t bits = (int32_t)random_below(4), base = (int32_t)random_below(4);
        int32_t shift = bits + (int32_t)random_below(3);
        mia_swizzle swizzle = {bits, base, random_below(2) == 0 ? shift : -shift};
        int32_t field = base + (swizzle.shift < 0 ? shift : 0),
                other = base + (swizzle.shift < 0 ? 0 : shift);
        int64_t ones = (INT64_C(1) << bits) - 1;
        for (int64_t x = 0; x < INT64_C(1) << (bits + base + shift + 1); x++) {
            int64_t y, z;
            assert_int_equal(mia_swizzle_apply(&swizzle, x, &y, NULL), MIA_OK);
            assert_int_equal(mia_swizzle_apply(&swizzle, y, &z, NULL), MIA_OK);
            assert_int_equal(z, x);
            assert_int_equal((x ^ y) & ~(ones << field), 0);
            assert_int_equal(y >> field & ones, (x >> field & ones) ^ (x >> other & ones));
        }
    }
}

static void swizzled_layouts(void **state) {
    (void)state;
    for (long round = 0; round < rounds; round++) {
        mia_layout layout = random_layout((strides_kind)random_below(SIGNED));
        mia_swizzle swizzle = {(int32_t)random_below(3), (int32_t)random_below(3), 3};
        mia_swizzled swizzled;
        int64_t base = random_below(50), offset, expected;
        assert_int_equal(mia_swizzle_compose(&swizzle, base, &layout, &swizzled, NULL), MIA_OK);
        for (int64_t i = 0; i < size_of(&layout); i++) {
            mia_tuple coordinate;
            assert_int_equal(mia_swizzle_apply(&swizzle, base + at(&layout, i), &expected, NULL), MIA_OK);
            assert_int_equal(mia_swizzled_at(&swizzled, i, &offset, NULL), MIA_OK);
            assert_int_equal(offset, expected);
            assert_int_equal(mia_layout_coordinate(&layout, i, &coordinate, NULL), MIA_OK);
            assert_int_equal(mia_swizzled_at_coordinate(&swizzled, &coordinate, &offset, NULL), MIA_OK);
            assert_int_equal(offset, expected);
        }
    }
}

/* Any bytes as text: read or refused, never more; what is read can be written and read again. */
static void any_text(void **state) {
    (void)state;
    static const char letters[] = "((()))::,,,<<>>__0123456789- x";
    for (long round = 0; round < 20 * rounds; round++) {
        char text[64];
        size_t length = (size_t)random_below((int64_t)sizeof text);
        for (size_t i = 0; i < length; i++) text[i] = letters[random_below((int64_t)sizeof letters - 1)];
        text[length] = '\0';
        if (random_below(2) == 0) { /* most random text is no layout: change a character of one that is */
            mia_layout some = random_any();
            snprintf(text, sizeof text, "%s", show(&some));
            text[random_below((int64_t)strlen(text))] = letters[random_below((int64_t)sizeof letters - 1)];
        }
        mia_layout layout, again;
        mia_tiler tiler;
        mia_tuple tuple;
        if (mia_layout_parse(text, &layout, NULL) == MIA_OK) {
            assert_int_equal(mia_layout_parse(show(&layout), &again, NULL), MIA_OK);
            assert_true(mia_layout_equal(&layout, &again));
            if (mia_tiler_parse(text, &tiler, NULL) == MIA_OK) {
                (void)!mia_layout_zipped_divide(&layout, &tiler, &again, NULL);
            }
        }
        if (mia_tuple_parse(text, &tuple, NULL) == MIA_OK) {
            char written[MIA_LAYOUT_MAX_TEXT];
            assert_int_equal(mia_tuple_format(&tuple, written, sizeof written, NULL), MIA_OK);
        }
        (void)!mia_tiler_parse(text, &tiler, NULL);
    }
}

int main(void) {
    const char *seed = getenv("MIA_TEST_SEED"), *is_long = getenv("MIA_TEST_LONG");
    random_state = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    if (is_long != NULL && is_long[0] == '1') rounds = 50000;
    printf("seed: %" PRIu64 "\n", random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evaluation),     cmocka_unit_test(coalescing),
        cmocka_unit_test(filtering),      cmocka_unit_test(composition),
        cmocka_unit_test(complements),    cmocka_unit_test(admissible_compositions),
        cmocka_unit_test(right_inverses), cmocka_unit_test(left_inverses),
        cmocka_unit_test(divides),        cmocka_unit_test(divides_by_mode),
        cmocka_unit_test(products),       cmocka_unit_test(slices),
        cmocka_unit_test(swizzles),       cmocka_unit_test(swizzled_layouts),
        cmocka_unit_test(any_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
