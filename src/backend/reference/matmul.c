/* Matrix product: w [K, N, ...] by x [K, M, ...] gives y [N, M, ...], y[n, m] = sum over k of w[k, n] x[k,
 * m]. Trailing modes that either lacks, or has with extent 1, are repeated; an x of rank 1 is one column.
 *
 * All in double. Tiles of y are made together only so that a block of w is decoded once for all columns of
 * the tile; and any tile may be made alone, for a backend that shares them among threads. */
#include "backend/reference/element.h"

#include "base/block.h"

#define TILE  8               /* rows and columns of y at a time */
#define DEPTH MIA__BLOCK_MOST /* elements of K at a time: whole blocks of every format */

/* Where one matrix is: element 0, and the step from one line along K to the next. */
typedef struct matrix {
    const mia__operand *operand;
    const void *base;
    int64_t at, step;
    int64_t lines;
} matrix;

static matrix matrix_of(const mia__kernel_args *args, uint32_t input, int64_t at) {
    const mia__operand *operand = &args->step->inputs[input];
    int64_t step = operand->view.ndim > 1 ? operand->view.stride[1] : 0;
    return (matrix){operand, args->inputs[input], at, step, mia__extent(&operand->view, 1)};
}

static int64_t load_lines(const matrix *m, int64_t line, int64_t first, int64_t count,
                          double into[TILE][DEPTH]) {
    int64_t lines = m->lines - line < TILE ? m->lines - line : TILE;
    for (int64_t i = 0; i < lines; i++)
        mia__load_run(m->operand, m->base, m->at + (line + i) * m->step, first, count, into[i]);
    return lines;
}

static void multiply_tile(const matrix *w, const matrix *x, int64_t n, int64_t m, double sums[TILE][TILE]) {
    double a[TILE][DEPTH], b[TILE][DEPTH];
    int64_t depth = w->operand->view.extent[0];
    for (int64_t first = 0; first < depth; first += DEPTH) {
        int64_t count = depth - first < DEPTH ? depth - first : DEPTH;
        int64_t rows = load_lines(w, n, first, count, a), columns = load_lines(x, m, first, count, b);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++)
                for (int64_t k = 0; k < count; k++) sums[i][j] += a[i][k] * b[j][k];
    }
}

/* One tile of y, which begins at out_at. */
static void write_tile(const mia__kernel_args *args, const matrix *w, const matrix *x, int64_t n, int64_t m,
                       int64_t out_at) {
    const mia__operand *out = &args->step->output;
    int64_t across = out->view.stride[0], down = out->view.ndim > 1 ? out->view.stride[1] : 0;
    double sums[TILE][TILE] = {{0}};
    multiply_tile(w, x, n, m, sums);
    for (int64_t i = n; i < n + TILE && i < w->lines; i++)
        for (int64_t j = m; j < m + TILE && j < x->lines; j++)
            mia__store(out->dtype, args->output, out_at + i * across + j * down, sums[i - n][j - m]);
}

static int64_t tiles_along(const mia__view *view, uint32_t mode) {
    return (mia__extent(view, mode) + TILE - 1) / TILE;
}

/* Where a view is at the `batch`-th index of the output's modes from 2 on. */
static int64_t batch_at(const mia__view *view, const mia__view *output, int64_t batch) {
    int64_t at = view->offset;
    for (uint32_t i = 2; i < output->ndim; i++) {
        if (mia__extent(view, i) != 1) at += batch % output->extent[i] * view->stride[i];
        batch /= output->extent[i];
    }
    return at;
}

size_t mia__reference_matmul_tiles(const mia__step *step) {
    const mia__view *out = &step->output.view;
    int64_t count = tiles_along(out, 0) * tiles_along(out, 1);
    for (uint32_t i = 2; i < out->ndim; i++) count *= out->extent[i];
    return (size_t)count;
}

void mia__reference_matmul_part(const mia__kernel_args *args, size_t begin, size_t end) {
    const mia__step *step = args->step;
    const mia__view *out = &step->output.view;
    int64_t across = tiles_along(out, 0), tiles = across * tiles_along(out, 1);
    for (size_t unit = begin; unit < end; unit++) {
        int64_t batch = (int64_t)unit / tiles, tile = (int64_t)unit % tiles;
        matrix w = matrix_of(args, 0, batch_at(&step->inputs[0].view, out, batch));
        matrix x = matrix_of(args, 1, batch_at(&step->inputs[1].view, out, batch));
        write_tile(args, &w, &x, tile % across * TILE, tile / across * TILE, batch_at(out, out, batch));
    }
}

void mia__reference_matmul(const mia__kernel_args *args) {
    mia__reference_matmul_part(args, 0, mia__reference_matmul_tiles(args->step));
}
