/* Random layouts: every operation of the algebra against the property that defines it, by enumeration.
 * Refusals are counted: an operation that refuses too much fails. MIA_TEST_SEED repeats a run; MIA_TEST_LONG
 * makes it a long one. Divide and product are in test_layout_tiling_properties.c. */
#include "layout_draw.h"

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
        mia_layout layout = random_any(), simple;
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

/* A profile that fits the layout, down to some depth of it, and now and then for some of a node's modes. */
static void random_profile(mia_profile *profile, const mia_layout *layout) {
    size_t rank = mia_layout_rank(layout), kept = 1 + (size_t)random_below((int64_t)rank);
    bool parentheses = mia_layout_depth(layout) > 0 && random_below(3) > 0;
    profile->children[profile->node_count++] = parentheses ? (uint8_t)kept : 0;
    if (!parentheses) profile->mode_count++;
    for (size_t i = 0; parentheses && i < kept; i++) {
        mia_layout mode = mode_of(layout, i);
        random_profile(profile, &mode);
    }
}

typedef mia_status simplifying(const mia_layout *layout, const mia_tuple *profile, mia_layout *out,
                               mia_error *error);

/* Where the profile has a number the layout's sub-tree was simplified as a whole; what it does not reach is as
 * it was. Returns how many nodes of the profile this took. */
static uint32_t check_profile(simplifying *operation, const mia_layout *was, const mia_layout *is,
                              const uint8_t *profile) {
    if (profile[0] == 0) {
        mia_layout expected;
        assert_int_equal(operation(was, NULL, &expected, NULL), MIA_OK);
        CHECK(mia_layout_equal(is, &expected), "%s became %s\n", show(was), show(is));
        return 1;
    }
    uint32_t used = 1;
    CHECK(mia_layout_rank(is) == mia_layout_rank(was), "%s became %s\n", show(was), show(is));
    for (size_t i = 0; i < mia_layout_rank(was); i++) {
        mia_layout mode_was = mode_of(was, i), mode_is = mode_of(is, i);
        if (i < profile[0]) {
            used += check_profile(operation, &mode_was, &mode_is, profile + used);
        } else {
            CHECK(mia_layout_equal(&mode_was, &mode_is), "%s became %s\n", show(was), show(is));
        }
    }
    return used;
}

static void profiles(void **state) {
    (void)state;
    for (long round = 0; round < rounds; round++) {
        mia_layout layout = random_any(), made;
        mia_tuple profile = {0};
        random_profile(&profile.profile, &layout);
        assert_int_equal(mia_layout_coalesce(&layout, &profile, &made, NULL), MIA_OK);
        check_profile(mia_layout_coalesce, &layout, &made, profile.profile.children);
        for (int64_t i = 0; i < size_of(&layout); i++) assert_int_equal(at(&layout, i), at(&made, i));
        assert_int_equal(mia_layout_filter(&layout, &profile, &made, NULL), MIA_OK);
        check_profile(mia_layout_filter, &layout, &made, profile.profile.children);
    }
}

/* Grouping, concatenating and flattening change the nesting, not the function. */
static void nestings(void **state) {
    (void)state;
    for (long round = 0; round < rounds; round++) {
        mia_layout layout = random_any(), made, mode;
        size_t rank = mia_layout_rank(&layout), begin = (size_t)random_below((int64_t)rank);
        size_t count = 1 + (size_t)random_below((int64_t)(rank - begin));
        assert_int_equal(mia_layout_group(&layout, begin, begin + count, &made, NULL), MIA_OK);
        assert_int_equal(mia_layout_rank(&made), rank - count + 1);
        mode = mode_of(&made, begin);
        assert_int_equal(mia_layout_rank(&mode), count);
        for (int64_t i = 0; i < size_of(&layout); i++) assert_int_equal(at(&layout, i), at(&made, i));

        mia_layout modes[8];
        for (size_t i = 0; i < rank; i++) modes[i] = mode_of(&layout, i);
        assert_int_equal(mia_layout_concatenate(modes, rank, &made, NULL), MIA_OK);
        assert_true(mia_layout_depth(&layout) == 0 || mia_layout_equal(&made, &layout));
        assert_int_equal(mia_layout_flatten(&layout, &made, NULL), MIA_OK);
        assert_true(mia_layout_depth(&made) <= 1);
        assert_int_equal(made.profile.mode_count, layout.profile.mode_count);
        for (int64_t i = 0; i < size_of(&layout); i++) assert_int_equal(at(&layout, i), at(&made, i));
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
        mia_tuple others = coordinate; /* dice keeps what the opposite slice keeps */
        others.free = ~coordinate.free & (uint32_t)((UINT64_C(1) << layout.profile.mode_count) - 1);
        assert_int_equal(mia_layout_slice(&layout, &others, &slice, NULL, NULL), MIA_OK);
        CHECK(mia_layout_equal(&slice, &dice), "%s diced is %s\n", show(&layout), show(&dice));
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
        mia_swizzled slice; /* the swizzled offsets of the layout's slice */
        mia_layout sliced;
        mia_tuple fixed;
        assert_int_equal(mia_layout_coordinate(&layout, random_below(size_of(&layout)), &fixed, NULL),
                         MIA_OK);
        fixed.free = (uint32_t)random_below(INT64_C(1) << layout.profile.mode_count);
        assert_int_equal(mia_swizzled_slice(&swizzled, &fixed, &slice, NULL), MIA_OK);
        assert_int_equal(mia_layout_slice(&layout, &fixed, &sliced, &offset, NULL), MIA_OK);
        for (int64_t i = 0; i < size_of(&sliced); i++) {
            int64_t place = base + offset + at(&sliced, i), is;
            assert_int_equal(mia_swizzle_apply(&swizzle, place, &expected, NULL), MIA_OK);
            assert_int_equal(mia_swizzled_at(&slice, i, &is, NULL), MIA_OK);
            assert_int_equal(is, expected);
        }
    }
}

int main(void) {
    start_drawing();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evaluation),
        cmocka_unit_test(coalescing),
        cmocka_unit_test(filtering),
        cmocka_unit_test(profiles),
        cmocka_unit_test(nestings),
        cmocka_unit_test(composition),
        cmocka_unit_test(admissible_compositions),
        cmocka_unit_test(complements),
        cmocka_unit_test(right_inverses),
        cmocka_unit_test(left_inverses),
        cmocka_unit_test(slices),
        cmocka_unit_test(swizzles),
        cmocka_unit_test(swizzled_layouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
