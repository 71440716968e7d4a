/* What the tests of the layout algebra on random layouts share: drawing them (nested, with strides of 0,
 * negative ones, permuted compact and padded ones), and reading them by enumeration. */
#ifndef MIA_TESTS_LAYOUT_DRAW_H
#define MIA_TESTS_LAYOUT_DRAW_H

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

#include "support.h"

#define MAX_SIZE 4096

static uint64_t random_state;
static long rounds = 2000;

static inline int64_t random_below(int64_t n) {
    return test_below(&random_state, n);
}

/* ---- random layouts ---- */

typedef enum strides_kind { COMPACT, PERMUTED, PADDED, ANY, SIGNED, KINDS } strides_kind;

/* Strides that make a bijection (COMPACT, PERMUTED), leave holes (PADDED), or whatever comes. */
static inline void random_strides(strides_kind kind, const int64_t *extents, int64_t *strides,
                                  uint32_t count) {
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
static inline void random_nesting(mia_profile *profile, uint32_t count, bool outermost) {
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

static inline mia_layout random_layout(strides_kind kind) {
    mia_layout layout = {0};
    uint32_t count = 1 + (uint32_t)random_below(4);
    random_nesting(&layout.profile, count, true);
    for (uint32_t i = 0; i < count; i++) layout.extent[i] = 1 + random_below(6);
    random_strides(kind, layout.extent, layout.stride, count);
    return layout;
}

static inline mia_layout random_any(void) {
    return random_layout((strides_kind)random_below(KINDS));
}

/* ---- what is compared ---- */

static inline char *show(const mia_layout *layout) {
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

static inline int64_t size_of(const mia_layout *layout) {
    int64_t size = 0;
    assert_int_equal(mia_layout_size(layout, &size, NULL), MIA_OK);
    return size;
}

static inline int64_t at(const mia_layout *layout, int64_t index) {
    int64_t offset = 0;
    assert_int_equal(mia_layout_at(layout, index, &offset, NULL), MIA_OK);
    return offset;
}

static inline mia_layout mode_of(const mia_layout *layout, size_t index) {
    mia_layout mode;
    assert_int_equal(mia_layout_mode(layout, index, &mode, NULL), MIA_OK);
    return mode;
}

static inline int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The offsets of the layout in order of size. */
static inline int64_t sorted_offsets(const mia_layout *layout, int64_t offsets[MAX_SIZE]) {
    int64_t size = size_of(layout);
    assert_in_range(size, 1, MAX_SIZE);
    for (int64_t i = 0; i < size; i++) offsets[i] = at(layout, i);
    qsort(offsets, (size_t)size, sizeof offsets[0], by_value);
    return size;
}

static inline bool same_offsets(const mia_layout *a, const mia_layout *b) {
    static int64_t of_a[MAX_SIZE], of_b[MAX_SIZE];
    int64_t size = sorted_offsets(a, of_a);
    if (sorted_offsets(b, of_b) != size) return false;
    return memcmp(of_a, of_b, (size_t)size * sizeof of_a[0]) == 0;
}

/* Does every coordinate of a serve b: the same sizes wherever a has a mode? */
static inline bool compatible(const mia_layout *a, const mia_layout *b) {
    if (size_of(a) != size_of(b)) return false;
    if (mia_layout_depth(a) == 0) return true;
    if (mia_layout_depth(b) == 0 || mia_layout_rank(a) != mia_layout_rank(b)) return false;
    for (size_t i = 0; i < mia_layout_rank(a); i++) {
        mia_layout mode_a = mode_of(a, i), mode_b = mode_of(b, i);
        if (!compatible(&mode_a, &mode_b)) return false;
    }
    return true;
}

/* MIA_TEST_SEED repeats a run; MIA_TEST_LONG makes it a long one. */
static inline void start_drawing(void) {
    const char *is_long = getenv("MIA_TEST_LONG");
    random_state = test_seed();
    if (is_long != NULL && is_long[0] == '1') rounds = 50000;
}

#endif
