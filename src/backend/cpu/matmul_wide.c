/* Matrix products where weights or activations are f64: sums are of doubles, and so are panels. What the numbers
 * are is asked of each (reference/element.h), so that any type of weights will do.
 *
 *     phase 0   x brought into panels, [k][columns_f64], the last filled up with zeros
 *     phase 1   units of 8 rows by some columns: a stretch of k of the weights brought into a panel [k][8], then
 *               by every panel of x */
#include "backend/reference/element.h"

#include "backend/cpu/cpu.h"

#include "base/block.h"
#include "base/size.h"

#define LINES        MIA__CPU_LINES
#define DEPTH        MIA__BLOCK_MOST /* of a stretch of k: whole blocks of every format */
#define MOST_COLUMNS 16              /* columns_f64 of every instruction set is less */
#define PANELS       8               /* of x, that a unit takes */

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static void run_pack(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    mia_dtype dtype = task->step->source->inputs[1].dtype;
    int64_t columns = task->step->kernels->columns_f64;
    for (size_t unit = begin; unit < end; unit++) {
        int64_t first = (int64_t)unit % mm->panels * columns, count = least(mm->m - first, columns);
        int64_t at =
            mia__cpu_matmul_offset(mm, mm->x_batch, (int64_t)unit / mm->panels) + first * mm->x_stride[1];
        double *out = (double *)task->args.scratch + (int64_t)unit * mm->k * columns;
        for (int64_t k = 0; k < mm->k && !mia__cpu_stopped(task); k++)
            for (int64_t m = 0; m < columns; m++)
                *out++ = m < count ? mia__load(dtype, task->inputs[1],
                                               at + k * mm->x_stride[0] + m * mm->x_stride[1])
                                   : 0;
    }
}

/* k .. k + depth of rows n .. of a batch as a panel [depth][8]; rows past the last are zeros. */
static void load_panel(const mia__cpu_task *task, int64_t batch, int64_t n, int64_t k, int64_t depth,
                       double *panel) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    const mia__operand *w = &task->step->source->inputs[0];
    int64_t rows = least(mm->n - n, LINES);
    double line[DEPTH];
    for (int64_t row = 0; row < LINES; row++) {
        int64_t at = mia__cpu_matmul_offset(mm, mm->w_batch, batch) + (n + row) * mm->w_stride[1];
        if (row < rows) mia__load_run(w, task->inputs[0], at, k, depth, line);
        for (int64_t i = 0; i < depth; i++) panel[i * LINES + row] = row < rows ? line[i] : 0;
    }
}

static void store_sums(const mia__cpu_task *task, int64_t batch, int64_t n, int64_t m, const double *sums) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    mia_dtype dtype = task->step->source->output.dtype;
    int64_t columns = least(mm->m - m, task->step->kernels->columns_f64), rows = least(mm->n - n, LINES);
    for (int64_t j = 0; j < columns; j++)
        for (int64_t i = 0; i < rows; i++)
            mia__store(dtype, task->output, (batch * mm->m + m + j) * mm->n + n + i, sums[j * LINES + i]);
}

static void run_product(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    const mia__cpu_kernels *kernels = task->step->kernels;
    int64_t columns = kernels->columns_f64;
    for (size_t unit = begin; unit < end; unit++) {
        int64_t u = (int64_t)unit, batch = u / (mm->n_tiles * mm->m_tiles);
        int64_t n = u % mm->n_tiles * LINES, first = u / mm->n_tiles % mm->m_tiles * PANELS;
        int64_t panels = least(mm->panels - first, PANELS);
        const double *x = (const double *)task->args.scratch + (batch * mm->panels + first) * mm->k * columns;
        double sums[PANELS][MOST_COLUMNS * LINES] = {{0}}, w[DEPTH * LINES];
        for (int64_t k = 0; k < mm->k && !mia__cpu_stopped(task); k += DEPTH) {
            int64_t depth = least(mm->k - k, DEPTH);
            load_panel(task, batch, n, k, depth, w);
            for (int64_t p = 0; p < panels; p++)
                kernels->product_f64(w, x + (p * mm->k + k) * columns, depth, sums[p]);
        }
        for (int64_t p = 0; p < panels; p++) store_sums(task, batch, n, (first + p) * columns, sums[p]);
    }
}

/* The bytes of panels may be more than x has, by what fills up the last panel of each batch. */
size_t mia__cpu_scratch_matmul_f64(const mia__cpu *cpu, const mia__step *step) {
    mia__cpu_matmul mm = mia__cpu_matmul_describe(cpu, step);
    int64_t columns = cpu->kernels.columns_f64;
    size_t lines = (size_t)(mm.batches * divide_up(mm.m, columns) * columns), bytes;
    return mia__size_multiply(lines, (size_t)mm.k * sizeof(double), &bytes) ? bytes : SIZE_MAX;
}

void mia__cpu_choose_matmul_f64(const mia__cpu *cpu, mia__cpu_step *out) {
    const mia__step *source = out->source;
    out->as.matmul = mia__cpu_matmul_describe(cpu, source);
    mia__cpu_matmul *mm = &out->as.matmul;
    mm->panels = divide_up(mm->m, cpu->kernels.columns_f64);
    mm->n_tiles = divide_up(mm->n, LINES);
    mm->m_tiles = divide_up(mm->panels, PANELS);
    out->work = (double)(mm->batches * mm->n) * (double)mm->k * (1 + 0.05 * (double)mm->m);
    mia__cpu_phase_add(out, run_pack, (size_t)(mm->batches * mm->panels));
    mia__cpu_phase_add(out, run_product, (size_t)(mm->batches * mm->n_tiles * mm->m_tiles));
}
