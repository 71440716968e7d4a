/* Matrix product: w [K, N, ...] by x [K, M, ...] gives y [N, M, ...], y[n, m] = sum over k of w[k, n] x[k,
 * m]. Trailing modes that either lacks, or has with extent 1, are repeated; an x of rank 1 is one column.
 *
 * All in double. Tiles of y are made together only so that a block of w is decoded once for all columns of
 * the tile. */
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

static void multiply(const mia__kernel_args *args, const matrix *w, const matrix *x, int64_t out_at) {
    const mia__operand *out = &args->step->output;
    int64_t across = out->view.stride[0], down = out->view.ndim > 1 ? out->view.stride[1] : 0;
    for (int64_t m = 0; m < x->lines; m += TILE) {
        for (int64_t n = 0; n < w->lines; n += TILE) {
            double sums[TILE][TILE] = {{0}};
            multiply_tile(w, x, n, m, sums);
            for (int64_t i = n; i < n + TILE && i < w->lines; i++)
                for (int64_t j = m; j < m + TILE && j < x->lines; j++)
                    mia__store(out->dtype, args->output, out_at + i * across + j * down, sums[i - n][j - m]);
        }
    }
}

void mia__reference_matmul(const mia__kernel_args *args) {
    const mia__step *step = args->step;
    mia__walk walk;
    if (!mia__walk_start(&walk, &step->output.view, 2)) return;
    uint32_t o = mia__walk_add(&walk, &step->output.view);
    uint32_t w = mia__walk_add(&walk, &step->inputs[0].view), x = mia__walk_add(&walk, &step->inputs[1].view);
    do {
        matrix weights = matrix_of(args, 0, walk.at[w]), activations = matrix_of(args, 1, walk.at[x]);
        multiply(args, &weights, &activations, walk.at[o]);
    } while (mia__walk_next(&walk));
}
