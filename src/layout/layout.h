/* Inside the layout algebra: walking a nesting, building a layout from the left to the right, and the checks
 * that every public function makes first. The value is described in <mia/layout.h>.
 *
 *     layout.c      the value: make, take apart, sizes       notation.c   text <-> values
 *     evaluation.c  index <-> coordinate -> offset, slices   coalesce.c   coalesce, filter
 *     compose.c     a after b                                complement.c, inverse.c
 *     tiler.c       by-mode application, zipping             divide.c, product.c, swizzle.c, operations.c */
#ifndef MIA_LAYOUT_LAYOUT_H
#define MIA_LAYOUT_LAYOUT_H

#include <mia/layout.h>

/* A place in a nesting: the node in preorder, and how many modes come before it. */
typedef struct mia__place {
    uint32_t node, mode;
} mia__place;

/* The place after the whole sub-tree at `place`. */
mia__place mia__profile_after(const mia_profile *profile, mia__place place);

/* Children of a node; 1 for a mode, which is its own only child. */
static inline uint32_t mia__profile_rank(const mia_profile *profile, uint32_t node) {
    return profile->children[node] == 0 ? 1 : profile->children[node];
}

bool mia__profile_equal(const mia_profile *a, const mia_profile *b);

/* Adds a node with so many children (0: a mode), which are then added after it. `what` names the operation in
 * the message of one past the capacity. */
mia_status mia__profile_push(mia_profile *profile, uint32_t children, const char *what, mia_error *error);

/* A well-formed nesting with as many modes as it says. */
bool mia__profile_valid(const mia_profile *profile);

/* Building: start from {0}, open a tuple and then add its children, each a mode or a whole layout. */
mia_status mia__layout_open(mia_layout *layout, size_t children, const char *what, mia_error *error);
mia_status mia__layout_push(mia_layout *layout, int64_t extent, int64_t stride, const char *what,
                            mia_error *error);
mia_status mia__layout_append(mia_layout *layout, const mia_layout *part, const char *what, mia_error *error);

/* Adds the modes as a tuple; a single one without parentheses, none as 1:0. */
mia_status mia__layout_push_modes(mia_layout *layout, const int64_t *extents, const int64_t *strides,
                                  size_t count, const char *what, mia_error *error);

/* The sub-tree at a place as a layout of its own. */
mia_layout mia__layout_sub(const mia_layout *layout, mia__place place);

/* The index-th top-level mode; index is below the rank. */
mia_layout mia__layout_child(const mia_layout *layout, uint32_t index);

/* Is it a layout at all: a valid nesting, extents of at least 1, a size that int64 holds? */
mia_status mia__layout_check(const mia_layout *layout, const char *what, mia_error *error);
mia_status mia__tuple_check(const mia_tuple *tuple, const char *what, mia_error *error);
mia_status mia__tiler_check(const mia_tiler *tiler, const char *what, mia_error *error);

/* Puts the name of the operation that was asked for before the message of a step of it that was refused. */
mia_status mia__layout_within(const char *what, mia_status status, mia_error *error);

/* The product of `count` extents that mia__layout_check has seen. */
int64_t mia__extents_product(const int64_t *extents, uint32_t count);

/* The offset at an index of at least 0 over flat modes; false on overflow. The last mode has no end, where
 * modes of one element do not count: coalescing a layout changes nothing past its size either. */
bool mia__modes_at(const int64_t *extents, const int64_t *strides, uint32_t count, int64_t index,
                   int64_t *out);

/* The layout for a message. */
typedef struct mia__text {
    char text[160];
} mia__text;
mia__text mia__layout_text(const mia_layout *layout);

/* A flat layout's modes with more than one element, sorted by stride, then extent, then how much comes
 * before. */
typedef struct mia__sorted_mode {
    int64_t extent, stride, before;
} mia__sorted_mode;
uint32_t mia__layout_sort(const mia_layout *layout, mia__sorted_mode modes[MIA_LAYOUT_MAX_MODES]);

/* Coalesces as one mode; the layout has been checked. Cannot fail. */
mia_layout mia__layout_coalesced(const mia_layout *layout);

/* An operation of two layouts; divide and product give rank 2: (tile, rest). */
typedef mia_status mia__layout_binary(const mia_layout *a, const mia_layout *b, mia_layout *out,
                                      mia_error *error);

/* Applies the operation by mode where the tiler says so. */
mia_status mia__tiler_apply(mia__layout_binary *operation, const char *what, const mia_layout *layout,
                            const mia_tiler *tiler, mia_layout *out, mia_error *error);

/* The same for an operation that splits in two, gathered as ((tile,tile,...),(rest,rest,...)); `open_rest`
 * takes the parentheses off the rest, `open_tile` those off the tile. */
mia_status mia__tiler_zip(mia__layout_binary *operation, const char *what, const mia_layout *layout,
                          const mia_tiler *tiler, bool open_tile, bool open_rest, mia_layout *out,
                          mia_error *error);

#endif
