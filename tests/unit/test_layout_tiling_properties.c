/* Divide and product of random layouts, as a whole and by mode, against the properties that define them, by
 * enumeration. MIA_TEST_SEED repeats a run; MIA_TEST_LONG makes it a long one. */
#include "layout_draw.h"

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
        for (size_t i = 0; i < count; i++) { /* by mode: each on its own, and the last as they were */
            mia_layout is = mode_of(&tile, i), expected = parts[i];
            if (i < tiled && tilers[i].keep == 0) {
                assert_int_equal(mia_layout_compose(&parts[i], &tilers[i].layout, &expected, NULL), MIA_OK);
            }
            CHECK(mia_layout_equal(&is, &expected), "%s by mode is %s\n", show(&a), show(&tile));
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

/* Mode i of a blocked (first: 0) or raked (first: 1) product is the pair of the i-th modes of A and of the
 * copies; a missing one is of one element. */
static void check_pairs(const mia_layout *a, const mia_layout *b, const mia_layout *copies,
                        const mia_layout *paired, size_t first) {
    const mia_layout *of[] = {a, copies};
    size_t ranks[] = {mia_layout_rank(a), mia_layout_rank(b)};
    for (size_t i = 0; i < mia_layout_rank(paired); i++) {
        mia_layout pair = mode_of(paired, i);
        assert_int_equal(mia_layout_rank(&pair), 2);
        for (size_t j = 0; j < 2; j++) {
            mia_layout is = mode_of(&pair, j == 0 ? first : 1 - first), expected;
            if (i >= ranks[j]) {
                assert_int_equal(size_of(&is), 1);
                continue;
            }
            bool whole = j == 1 && mia_layout_depth(b) == 0; /* a single mode may have become several */
            expected = whole ? *copies : mode_of(of[j], i);
            CHECK(mia_layout_equal(&is, &expected), "%s times %s is paired as %s\n", show(a), show(copies),
                  show(paired));
        }
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
        check_pairs(&a, &b, &copies, &blocked, 0);
        check_pairs(&a, &b, &copies, &raked, 1);
    }
    CHECK(made > rounds / 4, "only %ld products were made\n", made);
}

/* By mode: in the logical form each mode is the product of its own; the others hold the same modes. */
static void products_by_mode(void **state) {
    (void)state;
    long made = 0;
    for (long round = 0; round < rounds; round++) {
        size_t count = 1 + (size_t)random_below(3), times = 1 + (size_t)random_below((int64_t)count);
        mia_layout parts[3], a, logical, zipped, tiled, flat;
        mia_tiler tilers[3], tiler;
        for (size_t i = 0; i < count; i++) {
            mia_layout copies = random_layout(COMPACT);
            parts[i] = random_layout((strides_kind)random_below(ANY));
            assert_int_equal(mia_layout_coalesce(&copies, NULL, &copies, NULL), MIA_OK);
            tilers[i] = random_below(4) == 0 ? mia_tiler_keep() : mia_tiler_of_layout(&copies);
        }
        assert_int_equal(mia_layout_concatenate(parts, count, &a, NULL), MIA_OK);
        assert_int_equal(mia_tiler_by_mode(tilers, times, &tiler, NULL), MIA_OK);
        if (mia_layout_logical_product(&a, &tiler, &logical, NULL) != MIA_OK) continue;
        made++;
        assert_int_equal(mia_layout_zipped_product(&a, &tiler, &zipped, NULL), MIA_OK);
        assert_int_equal(mia_layout_tiled_product(&a, &tiler, &tiled, NULL), MIA_OK);
        assert_int_equal(mia_layout_flat_product(&a, &tiler, &flat, NULL), MIA_OK);
        assert_int_equal(mia_layout_rank(&zipped), 2);
        assert_int_equal(mia_layout_rank(&tiled), 1 + count);
        assert_int_equal(mia_layout_rank(&flat), times + count);
        mia_layout blocks = mode_of(&zipped, 0), copies = mode_of(&zipped, 1);
        for (size_t i = 0; i < count; i++) {
            mia_layout is = mode_of(&logical, i), expected = parts[i], beside = mode_of(&copies, i), mode;
            if (i < times && tilers[i].keep == 0) {
                assert_int_equal(mia_layout_logical_product(&parts[i], &tilers[i], &expected, NULL), MIA_OK);
                mode = mode_of(&blocks, i);
                assert_true(mia_layout_equal(&mode, &parts[i]));
                mode = mode_of(&expected, 1);
                assert_true(mia_layout_equal(&mode, &beside));
            } else {
                assert_true(mia_layout_equal(&parts[i], &beside));
            }
            CHECK(mia_layout_equal(&is, &expected), "%s by mode is %s\n", show(&a), show(&logical));
            mode = mode_of(&tiled, 1 + i);
            assert_true(mia_layout_equal(&mode, &beside));
            mode = mode_of(&flat, times + i);
            assert_true(mia_layout_equal(&mode, &beside));
        }
    }
    CHECK(made > rounds / 4, "only %ld products were made\n", made);
}

int main(void) {
    start_drawing();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divides),
        cmocka_unit_test(divides_by_mode),
        cmocka_unit_test(products),
        cmocka_unit_test(products_by_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
