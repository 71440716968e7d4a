/* The layout algebra at its limits: numbers near the ends of 64 bits, where 128 bits are the judge, and any
 * bytes as text. MIA_TEST_SEED repeats a run; MIA_TEST_LONG makes it a long one. */
#include "layout_draw.h"

__extension__ typedef __int128 wide;

static int64_t huge(bool negative) {
    int64_t value = random_below(3) == 0 ? random_below(9) : INT64_MAX >> random_below(62);
    value -= random_below(3) == 0 && value > 3 ? random_below(3) : 0;
    return negative && random_below(3) == 0 ? -value - random_below(2) : value;
}

static mia_layout huge_layout(void) {
    mia_layout layout = {0};
    uint32_t count = 1 + (uint32_t)random_below(4);
    random_nesting(&layout.profile, count, true);
    int64_t room = INT64_MAX;
    for (uint32_t i = 0; i < count; i++) {
        int64_t extent = huge(false);
        layout.extent[i] = extent < 1 ? 1 : extent > room ? room : extent;
        room /= layout.extent[i];
        layout.stride[i] = huge(true);
    }
    return layout;
}

/* `leaves`: did a term or a sum, the modes taken in turn, leave 64 bits? */
static wide wide_at(const mia_layout *layout, int64_t index, bool *leaves) {
    wide sum = 0;
    *leaves = false;
    for (uint32_t i = 0; i < layout->profile.mode_count; i++) {
        wide term = (wide)(index % layout->extent[i]) * layout->stride[i];
        sum += term;
        if (term != (int64_t)term || sum != (int64_t)sum) *leaves = true;
        index /= layout->extent[i];
    }
    return sum;
}

/* A few indices of a range, its ends among them. */
static int64_t some_index(int64_t size, int64_t which) {
    return which == 0 ? 0 : which == 1 ? size - 1 : random_below(size);
}

/* With 128 bits as the judge: an offset is right or refused, and so is what an operation makes. */
static void ends_of_64_bits(void **state) {
    (void)state;
    long composed = 0, coalesced = 0;
    for (long round = 0; round < 4 * rounds; round++) {
        mia_layout a = huge_layout(), b = huge_layout(), made;
        bool unused;
        for (int64_t k = 0; k < 6; k++) {
            int64_t index = some_index(size_of(&a), k), offset;
            bool leaves;
            wide expected = wide_at(&a, index, &leaves);
            mia_status status = mia_layout_at(&a, index, &offset, NULL);
            CHECK((status != MIA_OK) == leaves, "%s at %" PRId64 "\n", show(&a), index);
            CHECK(leaves || offset == expected, "%s at %" PRId64 "\n", show(&a), index);
        }
        assert_int_equal(mia_layout_coalesce(&a, NULL, &made, NULL), MIA_OK);
        coalesced += made.profile.mode_count < a.profile.mode_count;
        for (int64_t k = 0; k < 6; k++) {
            int64_t index = some_index(size_of(&a), k);
            CHECK(wide_at(&made, index, &unused) == wide_at(&a, index, &unused), "coalesce %s gave %s\n",
                  show(&a), show(&made));
        }
        if (mia_layout_compose(&a, &b, &made, NULL) == MIA_OK) {
            for (int64_t k = 0; k < 6; k++) {
                int64_t index = some_index(size_of(&b), k), in_a, offset;
                if (mia_layout_at(&b, index, &in_a, NULL) != MIA_OK || in_a < 0) continue;
                if (mia_layout_at(&a, in_a, &offset, NULL) != MIA_OK) continue;
                composed++;
                CHECK(wide_at(&made, index, &unused) == offset, "%s o %s gave %s\n", show(&a), show(&b),
                      show(&made));
            }
        }
        if (mia_layout_left_inverse(&a, &made, NULL) == MIA_OK) {
            for (int64_t k = 0; k < 6; k++) {
                int64_t index = some_index(size_of(&a), k), offset;
                if (mia_layout_at(&a, index, &offset, NULL) != MIA_OK) continue;
                assert_int_equal(at(&made, offset), index);
            }
        }
        assert_int_equal(mia_layout_right_inverse(&a, &made, NULL), MIA_OK);
        for (int64_t k = 0; k < 6; k++) {
            int64_t offset = some_index(size_of(&made), k);
            assert_int_equal(at(&a, at(&made, offset)), offset);
        }
        mia_tiler tiler = mia_tiler_of_layout(&b); /* these must not overflow unseen: the sanitizer judges */
        (void)!mia_layout_complement(&a, 1 + random_below(INT64_MAX), &made, NULL);
        (void)!mia_layout_logical_divide(&a, &tiler, &made, NULL);
        (void)!mia_layout_logical_product(&a, &tiler, &made, NULL);
        (void)!mia_layout_raked_product(&a, &b, &made, NULL);
    }
    CHECK(composed > rounds / 16 && coalesced > rounds / 16, "only %ld compositions, %ld simplified\n",
          composed, coalesced);
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
    start_drawing();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_of_64_bits),
        cmocka_unit_test(any_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
