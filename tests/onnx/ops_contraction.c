/* Products of matrices, and Einstein's sums. */
#include "onnx/graph.h"

#include <ctype.h>
#include <string.h>

static void product(onnx_node *n) {
    onnx_out(n, 0, onnx_product(onnx_in(n, 0), onnx_in(n, 1)));
}

/* alpha A B + beta C, each of A and B transposed if so wanted. */
static void gemm(onnx_node *n) {
    double alpha = onnx_float(n, "alpha", 1), beta = onnx_float(n, "beta", 1);
    mia_tensor a = onnx_in(n, 0), b = onnx_in(n, 1);
    if (onnx_int(n, "transA", 0) != 0) a = OP(transpose, a, 0, 1);
    if (onnx_int(n, "transB", 0) != 0) b = OP(transpose, b, 0, 1);
    mia_tensor result = onnx_product(a, b);
    if (alpha != 1) result = mul_number(result, alpha);
    if (onnx_has(n, 2)) {
        mia_tensor c = onnx_in(n, 2);
        result = OP(add, result, beta == 1 ? c : mul_number(c, beta));
    }
    onnx_out(n, 0, result);
}

/* --- Einstein's sums -------------------------------------------------------------------------- */

/* One term of an equation as labels; '0', '1', ... are the axes of an ellipsis, counted from the last. */
typedef struct term {
    char labels[MIA_MAX_MODES + 1];
    uint32_t count;
} term;

typedef struct equation {
    term inputs[ONNX_MAX_OPERANDS];
    size_t terms;
    term output;
    bool arrow;
} equation;

static void add_label(term *t, char label) {
    if (t->count < MIA_MAX_MODES) t->labels[t->count++] = label;
    t->labels[t->count] = '\0';
}

static void add_ellipsis(term *t, uint32_t axes) {
    while (axes-- > 0) add_label(t, (char)('0' + axes));
}

static uint32_t letters_until(const char *text, const char *end) {
    uint32_t letters = 0;
    for (; text < end && *text != ',' && *text != '-'; text++) letters += isalpha((unsigned char)*text) != 0;
    return letters;
}

/* "bij, bjk -> bik"; without an arrow the labels that occur once are the output's, in their order. */
static equation parse(onnx_node *n) {
    equation e = {0};
    const Onnx__AttributeProto *a = onnx_find_attribute(n->proto, "equation");
    if (a == NULL) return e;
    const char *text = (const char *)a->s.data, *end = text + a->s.len;
    uint32_t ellipsis = 0;
    term *t = &e.inputs[e.terms++];
    for (const char *c = text; c < end; c++) {
        if (*c == '>') {
            t = &e.output, e.arrow = true;
        } else if (*c == ',' && e.terms < ONNX_MAX_OPERANDS) {
            t = &e.inputs[e.terms++];
        } else if (*c == '.' && c + 1 < end && c[1] == '.') {
            if (!e.arrow) {
                uint32_t rank = onnx_shape(n, e.terms - 1).ndim, letters = t->count + letters_until(c, end);
                ellipsis = rank > letters ? rank - letters : 0;
            }
            add_ellipsis(t, ellipsis);
            c += 2;
        } else if (isalpha((unsigned char)*c)) {
            add_label(t, *c);
        }
    }
    if (e.arrow) return e;
    for (char label = 'A'; label <= 'z'; label++) {
        int seen = 0;
        for (size_t i = 0; i < e.terms; i++)
            for (uint32_t k = 0; k < e.inputs[i].count; k++) seen += e.inputs[i].labels[k] == label;
        if (seen == 1) add_label(&e.output, label);
    }
    return e;
}

/* A label that a term has twice is its diagonal: every (n + 1)-th of the n^2 elements of both modes. */
static mia_tensor take_diagonals(mia_tensor x, term *t) {
    for (uint32_t i = 0; i < t->count; i++) {
        char *again = strchr(t->labels + i + 1, t->labels[i]);
        if (again == NULL) continue;
        uint32_t k = (uint32_t)(again - t->labels), first = t->count - 1 - i, second = t->count - 1 - k;
        /* both to the front, then one */
        x = onnx_exchange(x, second, 0);
        if (first == 0) first = second;
        x = onnx_exchange(x, first, 1);
        mia_shape s = mia_tensor_shape(x),
                  joined = {.ndim = s.ndim - 1, .extent = {s.extent[0] * s.extent[1]}};
        for (uint32_t m = 2; m < s.ndim; m++) joined.extent[m - 1] = s.extent[m];
        x = OP(slice, OP(reshape, x, joined), 0, 0, s.extent[0], s.extent[0] + 1);
        /* labels in the order of modes now: exchanged as the modes were, reversed */
        char modes[MIA_MAX_MODES + 1] = {0};
        for (uint32_t m = 0; m < t->count; m++) modes[m] = t->labels[t->count - 1 - m];
        char label = t->labels[i], kept;
        kept = modes[0], modes[0] = modes[second], modes[second] = kept;
        kept = modes[1], modes[1] = modes[first], modes[first] = kept;
        memmove(modes + 1, modes + 2, t->count - 1);
        modes[0] = label;
        t->count--;
        for (uint32_t m = 0; m < t->count; m++) t->labels[t->count - 1 - m] = modes[m];
        t->labels[t->count] = '\0';
    }
    return x;
}

/* Each term spread over all labels (the output's, then those to sum), multiplied, and summed. */
static void einsum(onnx_node *n) {
    equation e = parse(n);
    if (e.terms != n->inputs) {
        onnx_refuse(n, "Einsum of another number of terms");
        return;
    }
    mia_tensor x[ONNX_MAX_OPERANDS], result = {0};
    for (size_t i = 0; i < e.terms; i++) x[i] = take_diagonals(onnx_in(n, i), &e.inputs[i]);
    term all = {0};
    for (size_t i = 0; i < e.terms; i++)
        for (uint32_t k = 0; k < e.inputs[i].count; k++) {
            char label = e.inputs[i].labels[k];
            if (strchr(e.output.labels, label) == NULL && strchr(all.labels, label) == NULL)
                add_label(&all, label);
        }
    uint32_t summed = all.count;
    for (uint32_t k = 0; k < e.output.count; k++) add_label(&all, e.output.labels[k]);
    for (size_t i = 0; i < e.terms; i++) {
        mia_shape order = {.ndim = e.inputs[i].count}, spread = {.ndim = all.count};
        mia_shape s = mia_tensor_shape(x[i]);
        for (uint32_t m = 0, next = 0; m < all.count; m++) { /* the last label is mode 0 */
            const char *at = strchr(e.inputs[i].labels, all.labels[all.count - 1 - m]);
            uint32_t mode = at == NULL ? 0 : e.inputs[i].count - 1 - (uint32_t)(at - e.inputs[i].labels);
            spread.extent[m] = at == NULL ? 1 : s.extent[mode];
            if (at != NULL) order.extent[next++] = mode;
        }
        mia_tensor t = OP(reshape, OP(permute, x[i], order), spread);
        result = i == 0 ? t : OP(mul, result, t);
    }
    uint32_t modes = 0; /* summed labels come first, so their modes are the last */
    for (uint32_t k = 0; k < summed; k++) modes |= MIA_MODE(all.count - 1 - k);
    onnx_out(n, 0, modes == 0 ? result : OP(squeeze, OP(sum, result, modes), modes));
}

/* The determinant by Laplace's rule along the first row, for matrices that small: of 2 by 2. */
static void determinant(onnx_node *n) {
    mia_shape x = onnx_shape(n, 0);
    if (x.ndim < 2 || x.extent[0] != 2 || x.extent[1] != 2) {
        onnx_refuse(n, "Det of more than 2 by 2");
        return;
    }
    mia_tensor e[4];
    for (int i = 0; i < 4; i++) e[i] = OP(slice, OP(slice, onnx_in(n, 0), 0, i % 2, 1, 1), 1, i / 2, 1, 1);
    mia_tensor result = OP(sub, OP(mul, e[0], e[3]), OP(mul, e[1], e[2]));
    onnx_out(n, 0, OP(squeeze, result, MIA_MODE(0) | MIA_MODE(1)));
}

const onnx_operation onnx_contraction[] = {
    {"Det", determinant}, {"Einsum", einsum}, {"Gemm", gemm}, {"MatMul", product}, {0},
};
