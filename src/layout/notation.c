/* CuTe's notation: (4,(2,3)):(1,(4,8)) and what goes with it (coordinates, tilers, swizzles), read and
 * written. */
#include "layout/layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

typedef struct reader {
    const char *text, *at, *what;
    mia_error *error;
} reader;

static reader read_from(const char *text, const char *what, mia_error *error) {
    if (text == NULL) text = "";
    return (reader){text, text, what, error};
}

static mia_status complain(const reader *r, const char *expected) {
    return mia_error_set(r->error, MIA_ERROR_INVALID_ARGUMENT, "%s \"%.80s\": expected %s at character %zu%s",
                         r->what, r->text, expected, (size_t)(r->at - r->text) + 1,
                         *r->at == '\0' ? ", where it ends" : "");
}

static char peek(reader *r) {
    while (*r->at == ' ' || *r->at == '\t') r->at++;
    return *r->at;
}

static bool accept(reader *r, char c) {
    if (peek(r) != c) return false;
    r->at++;
    return true;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static mia_status read_integer(reader *r, int64_t *out) {
    if (peek(r) == '_') r->at++; /* CuTe's static integers: _4 */
    bool negative = *r->at == '-';
    if (negative) r->at++;
    if (!is_digit(*r->at)) return complain(r, "a number");
    int64_t value = 0;
    for (; is_digit(*r->at); r->at++) {
        int digit = *r->at - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value)) {
            return complain(r, "a number of at most 64 bits");
        }
    }
    *out = value;
    return MIA_OK;
}

static mia_status read_tuple(reader *r, mia_tuple *tuple);

/* After the opening parenthesis. The number of children is known, and entered, at the closing one. */
static mia_status read_children(reader *r, mia_tuple *tuple) {
    uint32_t node = tuple->profile.node_count, children = 0;
    mia_status status = mia__profile_push(&tuple->profile, 1, r->what, r->error);
    while (status == MIA_OK) {
        status = read_tuple(r, tuple);
        if (status != MIA_OK) break;
        children++;
        if (accept(r, ')')) break;
        if (!accept(r, ',')) return complain(r, "',' or ')'");
    }
    if (status == MIA_OK)
        tuple->profile.children[node] = (uint8_t)children; /* at most the capacity of nodes */
    return status;
}

static mia_status read_tuple(reader *r, mia_tuple *tuple) {
    if (accept(r, '(')) return read_children(r, tuple);
    uint32_t mode = tuple->profile.mode_count;
    char c = peek(r);
    if (c != '_' && c != '-' && !is_digit(c)) return complain(r, "a number or '('");
    mia_status status = mia__profile_push(&tuple->profile, 0, r->what, r->error);
    if (status != MIA_OK) return status;
    tuple->value[mode] = 0;
    if (c == '_' && !is_digit(r->at[1]) && r->at[1] != '-') {
        r->at++;
        tuple->free |= UINT32_C(1) << mode;
        return MIA_OK;
    }
    return read_integer(r, &tuple->value[mode]);
}

static mia_status read_end(reader *r) {
    return peek(r) == '\0' ? MIA_OK : complain(r, "nothing more");
}

/* shape:stride, or a shape alone, compact. `had_stride` says which. */
static mia_status read_layout(reader *r, mia_layout *out, bool *had_stride) {
    mia_tuple shape = {0}, stride = {0};
    mia_status status = read_tuple(r, &shape);
    if (status != MIA_OK) return status;
    *had_stride = accept(r, ':');
    if (!*had_stride) return mia_layout_of_shape(&shape, out, r->error);
    status = read_tuple(r, &stride);
    if (status != MIA_OK) return status;
    if (!mia__profile_equal(&shape.profile, &stride.profile)) {
        return mia_error_set(r->error, MIA_ERROR_SHAPE_MISMATCH,
                             "%s \"%.80s\": shape and stride are nested differently", r->what, r->text);
    }
    if (shape.free != 0 || stride.free != 0) {
        return mia_error_set(r->error, MIA_ERROR_INVALID_ARGUMENT,
                             "%s \"%.80s\": `_` stands in coordinates only", r->what, r->text);
    }
    mia_layout made = {.profile = shape.profile};
    memcpy(made.extent, shape.value, sizeof made.extent);
    memcpy(made.stride, stride.value, sizeof made.stride);
    status = mia__layout_check(&made, r->what, r->error);
    if (status == MIA_OK) *out = made;
    return status;
}

mia_status mia_layout_parse(const char *text, mia_layout *out, mia_error *error) {
    reader r = read_from(text, "layout", error);
    mia_layout made;
    bool had_stride;
    mia_status status = read_layout(&r, &made, &had_stride);
    if (status == MIA_OK) status = read_end(&r);
    if (status == MIA_OK) *out = made;
    return status;
}

mia_status mia_tuple_parse(const char *text, mia_tuple *out, mia_error *error) {
    reader r = read_from(text, "tuple", error);
    mia_tuple made = {0};
    mia_status status = read_tuple(&r, &made);
    if (status == MIA_OK) status = read_end(&r);
    if (status == MIA_OK) *out = made;
    return status;
}

/* A shape as a tiler: each of its parentheses by mode, each number n as n:1. */
static mia_tiler tiler_of_shape(const mia_layout *shape) {
    mia_tiler tiler = {.layout = *shape};
    for (uint32_t node = 0; node < shape->profile.node_count; node++) {
        if (shape->profile.children[node] > 0) tiler.by_mode |= UINT64_C(1) << node;
    }
    for (uint32_t mode = 0; mode < shape->profile.mode_count; mode++) tiler.layout.stride[mode] = 1;
    return tiler;
}

/* Adds a tiler to one that is being built, as its next node. */
static mia_status append_tiler(reader *r, mia_tiler *to, const mia_tiler *part) {
    uint32_t node = to->layout.profile.node_count;
    mia_status status = mia__layout_append(&to->layout, &part->layout, r->what, r->error);
    if (status != MIA_OK) return status;
    to->by_mode |= part->by_mode << node;
    to->keep |= part->keep << node;
    return MIA_OK;
}

static mia_status read_tiler(reader *r, mia_tiler *tiler) {
    if (accept(r, '<')) {
        uint32_t node = tiler->layout.profile.node_count, children = 0;
        mia_status status = mia__layout_open(&tiler->layout, 1, r->what, r->error);
        while (status == MIA_OK) {
            status = read_tiler(r, tiler);
            if (status != MIA_OK) break;
            children++;
            if (accept(r, '>')) break;
            if (!accept(r, ',')) return complain(r, "',' or '>'");
        }
        if (status != MIA_OK) return status;
        tiler->layout.profile.children[node] = (uint8_t)children;
        tiler->by_mode |= UINT64_C(1) << node;
        return MIA_OK;
    }
    mia_tiler part;
    bool had_stride;
    if (peek(r) == '_' && !is_digit(r->at[1])) {
        r->at++;
        part = mia_tiler_keep();
        return append_tiler(r, tiler, &part);
    }
    mia_layout layout;
    mia_status status = read_layout(r, &layout, &had_stride);
    if (status != MIA_OK) return status;
    part = had_stride ? mia_tiler_of_layout(&layout) : tiler_of_shape(&layout);
    return append_tiler(r, tiler, &part);
}

mia_status mia_tiler_parse(const char *text, mia_tiler *out, mia_error *error) {
    reader r = read_from(text, "tiler", error);
    mia_tiler made = {0};
    mia_status status = read_tiler(&r, &made);
    if (status == MIA_OK) status = read_end(&r);
    if (status == MIA_OK) status = mia__tiler_check(&made, "tiler", error);
    if (status == MIA_OK) *out = made;
    return status;
}

mia_status mia_swizzle_parse(const char *text, mia_swizzle *out, mia_error *error) {
    reader r = read_from(text, "swizzle", error);
    int64_t number[3] = {0};
    if (peek(&r) != 'S' || r.at[1] != 'w') return complain(&r, "Sw<bits,base,shift>");
    r.at += 2;
    for (int i = 0; i < 3; i++) {
        if (!accept(&r, i == 0 ? '<' : ',')) return complain(&r, i == 0 ? "'<'" : "','");
        mia_status status = read_integer(&r, &number[i]);
        if (status != MIA_OK) return status;
        if (number[i] < -64 || number[i] > 64) return complain(&r, "a number of bits");
    }
    if (!accept(&r, '>')) return complain(&r, "'>'");
    mia_status status = read_end(&r);
    if (status != MIA_OK) return status;
    mia_swizzle made = {(int32_t)number[0], (int32_t)number[1], (int32_t)number[2]};
    int64_t unused;
    status = mia_swizzle_apply(&made, 0, &unused, error); /* refuses what is no swizzle */
    if (status == MIA_OK) *out = made;
    return status;
}

/* ---- writing ---- */

/* The nesting with its numbers; the text is long enough for any (MIA_LAYOUT_MAX_TEXT). */
static char *write_numbers(char *at, const mia_profile *profile, const int64_t *value, uint32_t free) {
    uint32_t left[MIA_LAYOUT_MAX_NODES + 1] = {0}, level = 0, mode = 0;
    for (uint32_t node = 0; node < profile->node_count; node++) {
        if (profile->children[node] > 0) {
            *at++ = '(';
            left[++level] = profile->children[node];
            continue;
        }
        if (free >> mode & 1) {
            *at++ = '_';
        } else {
            at += sprintf(at, "%" PRId64, value[mode]);
        }
        mode++;
        while (level > 0 && --left[level] == 0) {
            *at++ = ')';
            level--;
        }
        if (level > 0) *at++ = ',';
    }
    *at = '\0';
    return at;
}

static void write_layout(const mia_layout *layout, char text[MIA_LAYOUT_MAX_TEXT]) {
    char *at = write_numbers(text, &layout->profile, layout->extent, 0);
    *at++ = ':';
    write_numbers(at, &layout->profile, layout->stride, 0);
}

static mia_status copy_out(const char *from, char *text, size_t capacity, mia_error *error) {
    size_t bytes = strlen(from) + 1;
    if (bytes > capacity) {
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "format: %zu bytes for a text of %zu",
                             capacity, bytes);
    }
    memcpy(text, from, bytes);
    return MIA_OK;
}

mia_status mia_layout_format(const mia_layout *layout, char *text, size_t capacity, mia_error *error) {
    char whole[MIA_LAYOUT_MAX_TEXT];
    mia_status status = mia__layout_check(layout, "format", error);
    if (status != MIA_OK) return status;
    write_layout(layout, whole);
    return copy_out(whole, text, capacity, error);
}

mia_status mia_tuple_format(const mia_tuple *tuple, char *text, size_t capacity, mia_error *error) {
    char whole[MIA_LAYOUT_MAX_TEXT];
    mia_status status = mia__tuple_check(tuple, "format", error);
    if (status != MIA_OK) return status;
    write_numbers(whole, &tuple->profile, tuple->value, tuple->free);
    return copy_out(whole, text, capacity, error);
}

mia__text mia__layout_text(const mia_layout *layout) {
    char whole[MIA_LAYOUT_MAX_TEXT];
    mia__text text = {""};
    write_layout(layout, whole);
    size_t length = strlen(whole);
    if (length < sizeof text.text) {
        memcpy(text.text, whole, length + 1);
    } else {
        memcpy(text.text, whole, sizeof text.text - 4);
        memcpy(text.text + sizeof text.text - 4, "...", 4);
    }
    return text;
}
