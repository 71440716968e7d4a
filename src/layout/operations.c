/* The algebra by name and in notation: text in, text out. One small reader an operation; the table in
 * <mia/layout.h> says which there are. */
#include "layout/layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SWIZZLED_AT_MOST 4096 /* offsets that swizzle writes out */

/* One evaluation: the operands as text, and where the result goes. */
typedef struct request {
    const char *first, *second;
    char *text;
    size_t capacity;
    mia_error *error;
} request;

static mia_status too_long(const request *q, size_t bytes) {
    return mia_error_set(q->error, MIA_ERROR_INVALID_ARGUMENT, "format: %zu bytes for a text of %zu",
                         q->capacity, bytes);
}

/* The caller's text changes only when all went well, hence the copy. */
static mia_status give_text(const request *q, const char *text) {
    size_t bytes = strlen(text) + 1;
    if (bytes > q->capacity) return too_long(q, bytes);
    memcpy(q->text, text, bytes);
    return MIA_OK;
}

static mia_status give_integer(const request *q, mia_status status, int64_t value) {
    if (status != MIA_OK) return status;
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, value);
    return give_text(q, text);
}

static mia_status give_layout(const request *q, mia_status status, const mia_layout *layout) {
    if (status != MIA_OK) return status;
    return mia_layout_format(layout, q->text, q->capacity, q->error);
}

static mia_status read_number(const request *q, const char *name, int64_t *out) {
    mia_tuple tuple;
    mia_status status = mia_tuple_parse(q->second, &tuple, q->error);
    if (status != MIA_OK) return status;
    if (tuple.profile.node_count != 1 || tuple.free != 0) {
        return mia_error_set(q->error, MIA_ERROR_INVALID_ARGUMENT, "%s: \"%.80s\" is not a number", name,
                             q->second);
    }
    *out = tuple.value[0];
    return MIA_OK;
}

/* ---- one function an operation ---- */

static mia_status evaluate_size(const request *q, const mia_layout *a) {
    int64_t value = 0;
    mia_status status = mia_layout_size(a, &value, q->error);
    return give_integer(q, status, value);
}

static mia_status evaluate_cosize(const request *q, const mia_layout *a) {
    int64_t value = 0;
    mia_status status = mia_layout_cosize(a, &value, q->error);
    return give_integer(q, status, value);
}

static mia_status evaluate_rank(const request *q, const mia_layout *a) {
    return give_integer(q, MIA_OK, (int64_t)mia_layout_rank(a));
}

static mia_status evaluate_depth(const request *q, const mia_layout *a) {
    return give_integer(q, MIA_OK, (int64_t)mia_layout_depth(a));
}

static mia_status evaluate_index(const request *q, const mia_layout *a) {
    mia_tuple at;
    int64_t value = 0;
    mia_status status = mia_tuple_parse(q->second, &at, q->error);
    if (status != MIA_OK) return status;
    status = at.profile.node_count == 1 && at.free == 0 ? mia_layout_at(a, at.value[0], &value, q->error)
                                                        : mia_layout_at_coordinate(a, &at, &value, q->error);
    return give_integer(q, status, value);
}

static mia_status evaluate_coordinate(const request *q, const mia_layout *a) {
    int64_t index = 0;
    mia_tuple coordinate;
    mia_status status = read_number(q, "coordinate", &index);
    if (status == MIA_OK) status = mia_layout_coordinate(a, index, &coordinate, q->error);
    if (status == MIA_OK) status = mia_tuple_format(&coordinate, q->text, q->capacity, q->error);
    return status;
}

static mia_status read_index(const request *q, const char *name, size_t *out) {
    int64_t number = 0;
    mia_status status = read_number(q, name, &number);
    if (status == MIA_OK && number < 0) {
        status =
            mia_error_set(q->error, MIA_ERROR_INVALID_ARGUMENT, "%s: %" PRId64 " is negative", name, number);
    }
    if (status == MIA_OK) *out = (size_t)number;
    return status;
}

static mia_status evaluate_mode(const request *q, const mia_layout *a) {
    size_t index = 0;
    mia_layout made;
    mia_status status = read_index(q, "mode", &index);
    if (status == MIA_OK) status = mia_layout_mode(a, index, &made, q->error);
    return give_layout(q, status, &made);
}

static mia_status evaluate_group(const request *q, const mia_layout *a) {
    mia_tuple range;
    mia_layout made;
    mia_status status = mia_tuple_parse(q->second, &range, q->error);
    if (status != MIA_OK) return status;
    const int64_t *value = range.value;
    if (range.profile.node_count != 3 || range.profile.mode_count != 2 || range.free != 0 || value[0] < 0 ||
        value[1] < 0) {
        return mia_error_set(q->error, MIA_ERROR_INVALID_ARGUMENT,
                             "group: \"%.80s\" is not a range, such as (0,2)", q->second);
    }
    status = mia_layout_group(a, (size_t)value[0], (size_t)value[1], &made, q->error);
    return give_layout(q, status, &made);
}

static mia_status evaluate_concatenate(const request *q, const mia_layout *a) {
    mia_layout both[2] = {*a}, made;
    mia_status status = mia_layout_parse(q->second, &both[1], q->error);
    if (status == MIA_OK) status = mia_layout_concatenate(both, 2, &made, q->error);
    return give_layout(q, status, &made);
}

typedef mia_status simplifying(const mia_layout *layout, const mia_tuple *profile, mia_layout *out,
                               mia_error *error);
typedef mia_status unary(const mia_layout *layout, mia_layout *out, mia_error *error);
typedef mia_status tiling(const mia_layout *layout, const mia_tiler *tiler, mia_layout *out,
                          mia_error *error);

static mia_status simplify(const request *q, const mia_layout *a, simplifying *operation) {
    mia_tuple profile;
    bool whole = q->second[0] == '\0';
    mia_status status = whole ? MIA_OK : mia_tuple_parse(q->second, &profile, q->error);
    mia_layout made;
    if (status == MIA_OK) status = operation(a, whole ? NULL : &profile, &made, q->error);
    return give_layout(q, status, &made);
}

static mia_status transform(const request *q, const mia_layout *a, unary *operation) {
    mia_layout made;
    return give_layout(q, operation(a, &made, q->error), &made);
}

static mia_status tile(const request *q, const mia_layout *a, tiling *operation) {
    mia_tiler tiler;
    mia_layout made;
    mia_status status = mia_tiler_parse(q->second, &tiler, q->error);
    if (status == MIA_OK) status = operation(a, &tiler, &made, q->error);
    return give_layout(q, status, &made);
}

static mia_status pair(const request *q, const mia_layout *a, mia__layout_binary *operation) {
    mia_layout b, made;
    mia_status status = mia_layout_parse(q->second, &b, q->error);
    if (status == MIA_OK) status = operation(a, &b, &made, q->error);
    return give_layout(q, status, &made);
}

#define SIMPLIFY(name)                                                                                       \
    static mia_status evaluate_##name(const request *q, const mia_layout *a) {                               \
        return simplify(q, a, mia_layout_##name);                                                            \
    }
#define TRANSFORM(name)                                                                                      \
    static mia_status evaluate_##name(const request *q, const mia_layout *a) {                               \
        return transform(q, a, mia_layout_##name);                                                           \
    }
#define TILE(name, operation)                                                                                \
    static mia_status evaluate_##name(const request *q, const mia_layout *a) {                               \
        return tile(q, a, operation);                                                                        \
    }
#define PAIR(name)                                                                                           \
    static mia_status evaluate_##name(const request *q, const mia_layout *a) {                               \
        return pair(q, a, mia_layout_##name);                                                                \
    }

SIMPLIFY(coalesce)
SIMPLIFY(filter)
TRANSFORM(filter_zeros)
TRANSFORM(flatten)
TRANSFORM(right_inverse)
TRANSFORM(left_inverse)
TILE(compose, mia_layout_compose_tiler)
TILE(logical_divide, mia_layout_logical_divide)
TILE(zipped_divide, mia_layout_zipped_divide)
TILE(tiled_divide, mia_layout_tiled_divide)
TILE(flat_divide, mia_layout_flat_divide)
TILE(logical_product, mia_layout_logical_product)
TILE(zipped_product, mia_layout_zipped_product)
TILE(tiled_product, mia_layout_tiled_product)
TILE(flat_product, mia_layout_flat_product)
PAIR(blocked_product)
PAIR(raked_product)

static mia_status evaluate_complement(const request *q, const mia_layout *a) {
    int64_t cotarget = 0;
    mia_layout made;
    mia_status status = read_number(q, "complement", &cotarget);
    if (status == MIA_OK) status = mia_layout_complement(a, cotarget, &made, q->error);
    return give_layout(q, status, &made);
}

static mia_status evaluate_slice(const request *q, const mia_layout *a) {
    mia_tuple coordinate;
    mia_layout made;
    int64_t offset;
    char text[MIA_LAYOUT_MAX_TEXT], with_offset[MIA_LAYOUT_MAX_TEXT + 24];
    mia_status status = mia_tuple_parse(q->second, &coordinate, q->error);
    if (status == MIA_OK) status = mia_layout_slice(a, &coordinate, &made, &offset, q->error);
    if (status == MIA_OK) status = mia_layout_format(&made, text, sizeof text, q->error);
    if (status != MIA_OK) return status;
    (void)snprintf(with_offset, sizeof with_offset, "%s @ %" PRId64, text, offset);
    return give_text(q, with_offset);
}

static mia_status evaluate_dice(const request *q, const mia_layout *a) {
    mia_tuple coordinate;
    mia_layout made;
    mia_status status = mia_tuple_parse(q->second, &coordinate, q->error);
    if (status == MIA_OK) status = mia_layout_dice(a, &coordinate, &made, q->error);
    return give_layout(q, status, &made);
}

/* Every offset of the swizzled layout, separated by blanks: measured first, so that nothing is written unless
 * all of it fits. */
static mia_status list_swizzled(const request *q, const mia_swizzled *swizzled) {
    int64_t size = 0, offset;
    mia_status status = mia_layout_size(&swizzled->layout, &size, q->error);
    if (status == MIA_OK && size > SWIZZLED_AT_MOST) {
        return mia_error_set(q->error, MIA_ERROR_INVALID_ARGUMENT,
                             "swizzle: %" PRId64 " offsets; %d are listed at most", size, SWIZZLED_AT_MOST);
    }
    size_t bytes = 0;
    for (int64_t i = 0; status == MIA_OK && i < size; i++) {
        status = mia_swizzled_at(swizzled, i, &offset, q->error);
        if (status == MIA_OK) bytes += (size_t)snprintf(NULL, 0, "%" PRId64, offset) + 1;
    }
    if (status == MIA_OK && bytes > q->capacity) status = too_long(q, bytes);
    char *at = q->text;
    for (int64_t i = 0; status == MIA_OK && i < size; i++) {
        status = mia_swizzled_at(swizzled, i, &offset, q->error);
        if (status == MIA_OK) at += sprintf(at, "%s%" PRId64, i == 0 ? "" : " ", offset);
    }
    return status;
}

static mia_status evaluate_swizzle(const request *q, const mia_layout *unused) {
    (void)unused;
    mia_swizzle swizzle;
    mia_swizzled swizzled;
    mia_layout layout;
    int64_t offset = 0;
    mia_status status = mia_swizzle_parse(q->first, &swizzle, q->error);
    if (status != MIA_OK) return status;
    if (strpbrk(q->second, ":(") == NULL) {
        status = read_number(q, "swizzle", &offset);
        if (status == MIA_OK) status = mia_swizzle_apply(&swizzle, offset, &offset, q->error);
        return give_integer(q, status, offset);
    }
    status = mia_layout_parse(q->second, &layout, q->error);
    if (status == MIA_OK) status = mia_swizzle_compose(&swizzle, 0, &layout, &swizzled, q->error);
    if (status == MIA_OK) status = list_swizzled(q, &swizzled);
    return status;
}

/* ---- the table ---- */

typedef struct operation {
    const char *name, *first, *second;
    mia_status (*evaluate)(const request *q, const mia_layout *a);
} operation;

#define ROW(name, first, second, sentence) {#name, first, second, evaluate_##name},
static const operation operations[] = {MIA_LAYOUT_OPERATIONS(ROW)};
#undef ROW

mia_status mia_layout_evaluate(const char *name, const char *first, const char *second, char *text,
                               size_t capacity, mia_error *error) {
    request q = {first, second == NULL ? "" : second, text, capacity, error};
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        const operation *o = &operations[i];
        if (strcmp(o->name, name) != 0) continue;
        bool given = q.second[0] != '\0', takes = o->second[0] != '\0', may_lack = o->second[0] == '[';
        if (given && !takes) {
            return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s: takes no second operand", name);
        }
        if (!given && takes && !may_lack) {
            return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "%s: lacks its second operand, %s", name,
                                 o->second);
        }
        mia_layout a = {0};
        mia_status status = o->first[0] == 'A' ? mia_layout_parse(first, &a, error) : MIA_OK;
        return status == MIA_OK ? o->evaluate(&q, &a) : status;
    }
    return mia_error_set(error, MIA_ERROR_NOT_FOUND, "no layout operation is called \"%.80s\"", name);
}
