/* Shapes, and CuTe's layout algebra. First mode fastest, as in CuTe and GGUF. */
#ifndef MIA_LAYOUT_H
#define MIA_LAYOUT_H

#include <mia/status.h>
#include <stdbool.h>

#ifdef __cplusplus
#include <initializer_list>
extern "C" {
#endif

#define MIA_MAX_MODES 8

/* The extents of a tensor's modes, the first mode fastest in memory. Rank 0 is a single number. */
typedef struct mia_shape {
    uint32_t ndim;
    int64_t extent[MIA_MAX_MODES];
} mia_shape;

static inline mia_shape mia_shape_of(const int64_t *extents, size_t count) {
    mia_shape shape = {0, {0}};
    shape.ndim = (uint32_t)count; /* more than MIA_MAX_MODES is refused by whoever uses the shape */
    for (size_t i = 0; i < count && i < MIA_MAX_MODES; i++) shape.extent[i] = extents[i];
    return shape;
}

/* MIA_SHAPE(1024, 768): a shape of one to eight extents; MIA_SCALAR: the shape of rank 0. */
#ifdef __cplusplus
}
static inline mia_shape mia_shape_of(std::initializer_list<int64_t> extents) {
    return mia_shape_of(extents.begin(), extents.size());
}
#define MIA_SHAPE(...) mia_shape_of({__VA_ARGS__})
#define MIA_SCALAR     mia_shape_of(nullptr, 0)
extern "C" {
#else
#define MIA_SHAPE(...)                                                                                       \
    mia_shape_of((const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))
#define MIA_SCALAR ((mia_shape){0})
#endif

/* --- CuTe's layout algebra -------------------------------------------------------------------- */

/* A layout is a function from integers to integers: an index is split over its modes, the first mode fastest,
 * and each coordinate is multiplied by its mode's stride and summed. Modes nest: (4,(2,3)):(1,(4,8)) has two
 * modes, the second made of two. docs/layout.md explains the algebra in a page.
 *
 * Everything below is a pure function on values: no allocation, no state, any thread. Results go to
 * out-pointers, which may be an operand too and stay as they were on failure. All arithmetic is checked. A
 * request that cannot be met (what it makes is no layout, overflows, or exceeds the capacity) is refused with
 * INVALID_ARGUMENT, or SHAPE_MISMATCH where two nestings do not fit each other, and a message that names the
 * operation and the modes. */

#define MIA_LAYOUT_MAX_MODES 32   /* integers in one layout, coordinate or tiler; one more is refused */
#define MIA_LAYOUT_MAX_NODES 64   /* those and the parentheses around them together */
#define MIA_LAYOUT_MAX_TEXT  2048 /* bytes that any layout or tuple fits in as text */

/* A nesting in preorder: 0 for a mode, otherwise the number of children, which follow: ((2,2),3) is
 * 2 2 0 0 0. */
typedef struct mia_profile {
    uint32_t node_count, mode_count;
    uint8_t children[MIA_LAYOUT_MAX_NODES];
} mia_profile;

/* Nested integers: a shape, a coordinate, or the profile of an operation. In coordinates a mode may be
 * free: `_`. */
typedef struct mia_tuple {
    mia_profile profile;
    uint32_t free; /* bit i: the i-th integer is `_`, and its value 0 */
    int64_t value[MIA_LAYOUT_MAX_MODES];
} mia_tuple;

/* Extents are at least 1; strides may be 0 or negative. Make one with the functions below: they keep the
 * arrays in order, and every function checks that they are. */
typedef struct mia_layout {
    mia_profile profile;
    int64_t extent[MIA_LAYOUT_MAX_MODES];
    int64_t stride[MIA_LAYOUT_MAX_MODES];
} mia_layout;

/* What is applied to a layout: a layout to the whole of it; or `<tiler, tiler, ...>`, one to each of its
 * modes (modes past the last tiler stay as they are); or `_`, which leaves it alone. */
typedef struct mia_tiler {
    mia_layout layout; /* all the tiler's layouts, side by side in one nesting */
    uint64_t by_mode;  /* bit n: the n-th node of that nesting is a pair of angle brackets */
    uint64_t keep;     /* bit n: the n-th node is `_` */
} mia_tiler;

/* --- making and taking apart ------------------------------------------------------------------ */

/* The flat layout of `count` modes; of one mode, extent:stride without parentheses. NULL strides: compact,
 * the first mode fastest. */
MIA_API mia_status mia_layout_make(const int64_t *extents, const int64_t *strides, size_t count,
                                   mia_layout *out, mia_error *error);

/* The compact layout of a nested shape, the first mode fastest: (2,(2,2)) gives (2,(2,2)):(1,(2,4)). */
MIA_API mia_status mia_layout_of_shape(const mia_tuple *shape, mia_layout *out, mia_error *error);

/* The layout whose modes are the given layouts, nested as they are. */
MIA_API mia_status mia_layout_concatenate(const mia_layout *modes, size_t count, mia_layout *out,
                                          mia_error *error);

/* The index-th mode, itself a layout. A layout without parentheses has one mode, itself. */
MIA_API mia_status mia_layout_mode(const mia_layout *layout, size_t index, mia_layout *out, mia_error *error);

/* Modes begin to end - 1 as one mode, nested: of (4,5,6):(1,4,20) modes 0 and 1 give ((4,5),6):((1,4),20). */
MIA_API mia_status mia_layout_group(const mia_layout *layout, size_t begin, size_t end, mia_layout *out,
                                    mia_error *error);

/* The same modes without nesting. */
MIA_API mia_status mia_layout_flatten(const mia_layout *layout, mia_layout *out, mia_error *error);

MIA_API bool mia_layout_equal(const mia_layout *a, const mia_layout *b);

/* --- sizes ------------------------------------------------------------------------------------ */

/* Number of top-level modes; 1 for a layout without parentheses. 0 for what is no layout. */
MIA_API size_t mia_layout_rank(const mia_layout *layout);

/* Levels of parentheses: 0 for 4:1, 1 for (4,2):(1,4). 0 for what is no layout. */
MIA_API size_t mia_layout_depth(const mia_layout *layout);

/* The product of the extents: how many indices the layout takes. */
MIA_API mia_status mia_layout_size(const mia_layout *layout, int64_t *out, mia_error *error);

/* The span of the offsets that it gives, least to greatest, both included. Without negative strides this is
 * layout(size - 1) + 1. */
MIA_API mia_status mia_layout_cosize(const mia_layout *layout, int64_t *out, mia_error *error);

/* --- evaluation ------------------------------------------------------------------------------- */

/* The offset at an index of at least 0. As in CuTe the last mode (of more than one element) has no end, so
 * that indices past the size are good, too: this is what composition means by A(B(i)) where B leaves A's
 * domain. */
MIA_API mia_status mia_layout_at(const mia_layout *layout, int64_t index, int64_t *out, mia_error *error);

/* The offset at a coordinate: nested as the layout, or with one integer, an index, in place of any of its
 * modes. Each must lie within its mode. */
MIA_API mia_status mia_layout_at_coordinate(const mia_layout *layout, const mia_tuple *coordinate,
                                            int64_t *out, mia_error *error);

/* The coordinate, nested as the layout, of an index from 0 to size - 1. */
MIA_API mia_status mia_layout_coordinate(const mia_layout *layout, int64_t index, mia_tuple *out,
                                         mia_error *error);

/* --- simplifying ------------------------------------------------------------------------------ */

/* A NULL profile simplifies the layout as one mode. A profile's integers (their values do not matter) mark
 * what is simplified as one mode each; modes of the layout past the profile's stay as they are. */

/* The same function with as few modes as possible. */
MIA_API mia_status mia_layout_coalesce(const mia_layout *layout, const mia_tuple *profile, mia_layout *out,
                                       mia_error *error);

/* Without the modes of stride 0, then coalesced: the same offsets, each as often as the other modes
 * give it. */
MIA_API mia_status mia_layout_filter(const mia_layout *layout, const mia_tuple *profile, mia_layout *out,
                                     mia_error *error);

/* The same nesting with extent 1 in the modes of stride 0. */
MIA_API mia_status mia_layout_filter_zeros(const mia_layout *layout, mia_layout *out, mia_error *error);

/* --- functions of functions ------------------------------------------------------------------- */

/* i -> a(b(i)), nested as b and deeper where needed. Refused unless each stride of b divides its way through
 * the extents of a, or is divided by them (CuTe's divisibility conditions). A negative stride of b needs an a
 * that coalesces to one mode. */
MIA_API mia_status mia_layout_compose(const mia_layout *a, const mia_layout *b, mia_layout *out,
                                      mia_error *error);

/* The same by mode. */
MIA_API mia_status mia_layout_compose_tiler(const mia_layout *a, const mia_tiler *tiler, mia_layout *out,
                                            mia_error *error);

/* Where the copies of the layout go so that they fill 0 .. cotarget - 1, rounded up to whole copies, without
 * meeting: increasing strides, and no offset but 0 in common. Holes smaller than a copy stay holes. Refused
 * for modes that interleave or overlap, and for negative strides. Modes of stride 0 do not count. */
MIA_API mia_status mia_layout_complement(const mia_layout *layout, int64_t cotarget, mia_layout *out,
                                         mia_error *error);

/* R with layout(R(i)) = i for every i below R's size. It may be as small as 1:0, which it is, as in CuTe's
 * model, for every layout with a mode of stride 0 and more than one element. */
MIA_API mia_status mia_layout_right_inverse(const mia_layout *layout, mia_layout *out, mia_error *error);

/* L with L(layout(i)) = i for every i below the layout's size. Refused for layouts that give an offset twice,
 * and where no layout does this. */
MIA_API mia_status mia_layout_left_inverse(const mia_layout *layout, mia_layout *out, mia_error *error);

/* --- divide ----------------------------------------------------------------------------------- */

/* Each divided mode is split into (tile, rest): the elements that the tiler points at, and the copies of
 * the tile. With the layout's shape (M,N,L) and the tiler <m,n>:
 *
 *     logical ((m,M/m),(n,N/n),L)   zipped ((m,n),(M/m,N/n,L))
 *     tiled   ((m,n),M/m,N/n,L)     flat   (m,n,M/m,N/n,L)
 *
 * The rest is rounded up where the tile's size does not divide the mode's. */

MIA_API mia_status mia_layout_logical_divide(const mia_layout *layout, const mia_tiler *tiler,
                                             mia_layout *out, mia_error *error);
MIA_API mia_status mia_layout_zipped_divide(const mia_layout *layout, const mia_tiler *tiler, mia_layout *out,
                                            mia_error *error);
MIA_API mia_status mia_layout_tiled_divide(const mia_layout *layout, const mia_tiler *tiler, mia_layout *out,
                                           mia_error *error);
MIA_API mia_status mia_layout_flat_divide(const mia_layout *layout, const mia_tiler *tiler, mia_layout *out,
                                          mia_error *error);

/* --- product ---------------------------------------------------------------------------------- */

/* Each multiplied mode is repeated in the order of the tiler: (tile, copies), arranged as above. */

MIA_API mia_status mia_layout_logical_product(const mia_layout *layout, const mia_tiler *tiler,
                                              mia_layout *out, mia_error *error);
MIA_API mia_status mia_layout_zipped_product(const mia_layout *layout, const mia_tiler *tiler,
                                             mia_layout *out, mia_error *error);
MIA_API mia_status mia_layout_tiled_product(const mia_layout *layout, const mia_tiler *tiler, mia_layout *out,
                                            mia_error *error);
MIA_API mia_status mia_layout_flat_product(const mia_layout *layout, const mia_tiler *tiler, mia_layout *out,
                                           mia_error *error);

/* The logical product of two layouts with like modes paired: blocked ((M,m),(N,n)), the copies side by side;
 * raked ((m,M),(n,N)), interleaved. The operand of lower rank gets modes 1:0. */
MIA_API mia_status mia_layout_blocked_product(const mia_layout *block, const mia_layout *copies,
                                              mia_layout *out, mia_error *error);
MIA_API mia_status mia_layout_raked_product(const mia_layout *block, const mia_layout *copies,
                                            mia_layout *out, mia_error *error);

/* --- slices ----------------------------------------------------------------------------------- */

/* The free modes of the coordinate, as a layout with one mode for each `_`, and the offset of the fixed ones
 * (NULL if not wanted). `_` alone gives the layout; a coordinate without `_` gives 1:0. */
MIA_API mia_status mia_layout_slice(const mia_layout *layout, const mia_tuple *coordinate, mia_layout *out,
                                    int64_t *offset, mia_error *error);

/* The fixed modes of the coordinate: what slice leaves out. */
MIA_API mia_status mia_layout_dice(const mia_layout *layout, const mia_tuple *coordinate, mia_layout *out,
                                   mia_error *error);

/* --- swizzles --------------------------------------------------------------------------------- */

/* Bits that keep the banks of a memory apart. Sw<bits,base,shift> xors one field of an offset's
 * bits with another, `shift` places above it (below it, if negative):
 *
 *        ...YYY.......ZZZ....     ZZZ ^= YYY; both fields have `bits` bits,
 *           |--shift--|  |--| base     the lower one starts at bit `base` */

typedef struct mia_swizzle {
    int32_t bits, base, shift;
} mia_swizzle;

/* i -> swizzle(offset + layout(i)) */
typedef struct mia_swizzled {
    mia_swizzle swizzle;
    int64_t offset;
    mia_layout layout;
} mia_swizzled;

/* The offset (at least 0), swizzled. Refused where the fields would meet (|shift| < bits) or leave the 62
 * bits that an offset has. Every swizzle undoes itself. */
MIA_API mia_status mia_swizzle_apply(const mia_swizzle *swizzle, int64_t offset, int64_t *out,
                                     mia_error *error);

MIA_API mia_status mia_swizzle_compose(const mia_swizzle *swizzle, int64_t offset, const mia_layout *layout,
                                       mia_swizzled *out, mia_error *error);
MIA_API mia_status mia_swizzled_at(const mia_swizzled *swizzled, int64_t index, int64_t *out,
                                   mia_error *error);
MIA_API mia_status mia_swizzled_at_coordinate(const mia_swizzled *swizzled, const mia_tuple *coordinate,
                                              int64_t *out, mia_error *error);
MIA_API mia_status mia_swizzled_slice(const mia_swizzled *swizzled, const mia_tuple *coordinate,
                                      mia_swizzled *out, mia_error *error);

/* --- tilers in C ------------------------------------------------------------------------------ */

/* mia_tiler_parse("<3:3,(2,4):(1,8)>", ...) is often shorter. */

MIA_API mia_tiler mia_tiler_of_layout(const mia_layout *layout);
MIA_API mia_tiler mia_tiler_keep(void);
MIA_API mia_status mia_tiler_by_mode(const mia_tiler *tilers, size_t count, mia_tiler *out, mia_error *error);

/* --- CuTe's notation -------------------------------------------------------------------------- */

/* Blanks are skipped, and `_4`, CuTe's static 4, is 4. Text that is cut, followed by anything else or past
 * the capacity is refused with the place. */

/* (4,(2,3)):(1,(4,8)); a shape alone is its compact layout. */
MIA_API mia_status mia_layout_parse(const char *text, mia_layout *out, mia_error *error);

/* (1,(_,2)) */
MIA_API mia_status mia_tuple_parse(const char *text, mia_tuple *out, mia_error *error);

/* A layout, <tiler,tiler,...> or _; a shape alone, (3,8), is <3:1,8:1>. */
MIA_API mia_status mia_tiler_parse(const char *text, mia_tiler *out, mia_error *error);

/* Sw<3,4,3> */
MIA_API mia_status mia_swizzle_parse(const char *text, mia_swizzle *out, mia_error *error);

/* Into `capacity` bytes with the closing zero, without blanks; refused when they are too few. */
MIA_API mia_status mia_layout_format(const mia_layout *layout, char *text, size_t capacity, mia_error *error);
MIA_API mia_status mia_tuple_format(const mia_tuple *tuple, char *text, size_t capacity, mia_error *error);

/* --- by name ---------------------------------------------------------------------------------- */

/* The operation, its operands and its result as text, for command lines, tables and other languages. */

/* name, first operand, second operand ("" where there is none, brackets where it may be left out), what it
 * gives */
#define MIA_LAYOUT_OPERATIONS(X)                                                                             \
    X(size, "A", "", "how many indices A takes")                                                             \
    X(cosize, "A", "", "the span of its offsets")                                                            \
    X(rank, "A", "", "its top-level modes")                                                                  \
    X(depth, "A", "", "its levels of parentheses")                                                           \
    X(index, "A", "INDEX", "the offset at an index, or at a coordinate such as (1,(0,2))")                   \
    X(coordinate, "A", "INDEX", "the nested coordinate of an index")                                         \
    X(coalesce, "A", "[PROFILE]", "the same function with fewest modes; by mode with a profile")             \
    X(filter, "A", "[PROFILE]", "without modes of stride 0, coalesced")                                      \
    X(filter_zeros, "A", "", "extent 1 where the stride is 0")                                               \
    X(flatten, "A", "", "without nesting")                                                                   \
    X(group, "A", "RANGE", "modes 0 and 1 as one for (0,2)")                                                 \
    X(mode, "A", "INDEX", "one of its modes, counted from 0")                                                \
    X(concatenate, "A", "B", "the layout (A,B)")                                                             \
    X(compose, "A", "TILER", "i -> A(B(i)), by mode with <B0,B1>")                                           \
    X(complement, "A", "COTARGET", "where A's copies go to fill so many offsets")                            \
    X(right_inverse, "A", "", "R with A(R(i)) = i")                                                          \
    X(left_inverse, "A", "", "L with L(A(i)) = i")                                                           \
    X(logical_divide, "A", "TILER", "((tile,rest),(tile,rest),...)")                                         \
    X(zipped_divide, "A", "TILER", "((tile,tile),(rest,rest,...))")                                          \
    X(tiled_divide, "A", "TILER", "((tile,tile),rest,rest,...)")                                             \
    X(flat_divide, "A", "TILER", "(tile,tile,rest,rest,...)")                                                \
    X(logical_product, "A", "TILER", "((A,copies),(A,copies),...)")                                          \
    X(zipped_product, "A", "TILER", "((A,A),(copies,copies,...))")                                           \
    X(tiled_product, "A", "TILER", "((A,A),copies,copies,...)")                                              \
    X(flat_product, "A", "TILER", "(A,A,copies,copies,...)")                                                 \
    X(blocked_product, "A", "B", "like modes paired, copies side by side")                                   \
    X(raked_product, "A", "B", "like modes paired, copies interleaved")                                      \
    X(slice, "A", "COORDINATE",                                                                              \
      "the modes at _ of a coordinate such as (1,_), and @ the offset of the rest")                          \
    X(dice, "A", "COORDINATE", "the modes at the numbers of a coordinate")                                   \
    X(swizzle, "Sw<B,M,S>", "OFFSET", "the swizzled offset, or for a layout all its swizzled offsets")

/* Evaluates one operation of the table on operands in the notation above. `second` may be NULL or "" where
 * there is none. The text stays as it was when the operation is refused. NOT_FOUND for an operation that does
 * not exist. */
MIA_API mia_status mia_layout_evaluate(const char *operation, const char *first, const char *second,
                                       char *text, size_t capacity, mia_error *error);

#ifdef __cplusplus
}
#endif
#endif
