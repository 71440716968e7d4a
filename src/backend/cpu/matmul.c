/* Matrix product by f32, f16 or bf16 activations. The output is cut into tiles of rows (n, of weights) and
 * columns (m), a unit each.
 *
 *     phase 0   x brought into panels of f32, [k][columns] of as many columns as an inner kernel takes at
 *               once; rounded to 8 bits a block where the weights are block-quantised (rules.scratch asked
 *               for the room). Nothing to do for one column of f32
 *     phase 1   tiles. Weights are read in the prepared form (forms.h), or brought into it here, a stretch
 *               of k at a time
 *
 * Results of f16 and bf16, and those of a fused step's cores (fused.c), are made in tiles on the stack; there they are
 * narrowed, or what is behind takes them in.
 *
 * Where f64 is among the operands, all threads share the tiles of the reference kernel.
 * Sums over k run in a fixed order: stretch by stretch, each in k's order. Between stretches of a long k somebody may
 * stop the run. */
#include "backend/cpu/forms.h"

#include "base/half.h"

#include <string.h>

#define GROUP       MIA__CPU_GROUP
#define BLOCK       MIA__CPU_BLOCK
#define DEPTH       256   /* of a stretch of k; a multiple of the block */
#define MOST_GROUPS 2     /* that an inner kernel takes at once */
#define TILE_MOST   32768 /* numbers of the tiles of all cores */
#define TILE_ROWS   256   /* of them, in units that follow each other */
#define TILE_GAP    16 /* numbers between columns, so that they do not meet in one set of the first cache */
#define LONG        65536 /* of k that an inner kernel is given at once; a multiple of every block */

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* --- where things are ------------------------------------------------------------------------- */

int64_t mia__cpu_matmul_offset(const mia__cpu_matmul *mm, const int64_t *strides, int64_t batch) {
    int64_t offset = 0;
    for (uint32_t i = 0; i < mm->batch_ndim; i++) {
        offset += batch % mm->batch_extent[i] * strides[i];
        batch /= mm->batch_extent[i];
    }
    return offset;
}

/* Column m of x. */
static const char *column_of(const mia__cpu_task *task, int64_t batch, int64_t m) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    int64_t at = mia__cpu_matmul_offset(mm, mm->x_batch, batch) + m * mm->x_stride[1];
    return task->inputs[1] + at * (int64_t)mia_dtype_describe(mm->x_dtype)->bytes;
}

static const float *f32_column_of(const mia__cpu_task *task, int64_t batch, int64_t m) {
    return (const float *)(const void *)column_of(task, batch, m);
}

/* `count` numbers from k on of a column, as f32: where they are, or in the room given. */
static const float *load_column(const mia__cpu_task *task, const char *column, int64_t k, int64_t count,
                                float *room) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    const mia__cpu_kernels *kernels = task->step->kernels;
    int64_t stride = mm->k > 1 ? mm->x_stride[0] : 1;
    const float *singles = (const float *)(const void *)column + k * stride;
    const uint16_t *halves = (const uint16_t *)(const void *)column + k * stride;
    if (mm->x_dtype == MIA_f32) {
        if (stride == 1) return singles;
        for (int64_t i = 0; i < count; i++) room[i] = singles[i * stride];
    } else if (stride == 1) {
        (mm->x_dtype == MIA_f16 ? kernels->widen_f16 : kernels->widen_bf16)(room, halves, (size_t)count);
    } else {
        for (int64_t i = 0; i < count; i++)
            room[i] = mm->x_dtype == MIA_f16 ? mia__f16_to_f32(halves[i * stride])
                                             : mia__bf16_to_f32(halves[i * stride]);
    }
    return room;
}

static const char *weights_of(const mia__cpu_task *task, int64_t batch) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    if (mm->prepared) return task->args.inputs[0];
    return task->inputs[0] +
           mia__cpu_matmul_offset(mm, mm->w_batch, batch) * (int64_t)mia_dtype_describe(mm->dtype)->bytes;
}

/* A unit of the product: rows n .. and columns m .. of one batch; and where its results go. */
typedef struct area {
    int64_t batch, n, m, rows, columns;
    float *out;
    int64_t out_stride; /* from column to column */
} area;

static area find_area(const mia__cpu_matmul *mm, size_t unit) {
    int64_t u = (int64_t)unit, tiles = mm->n_tiles * mm->m_tiles;
    area a = {
        .batch = u / tiles, .n = u % mm->n_tiles * mm->n_tile, .m = u % tiles / mm->n_tiles * mm->m_tile};
    a.rows = least(mm->n - a.n, mm->n_tile);
    a.columns = least(mm->m - a.m, mm->m_tile);
    return a;
}

/* Column `column` of an area's results. */
static float *output_of(const area *a, int64_t column) {
    return a->out + column * a->out_stride;
}

/* Does one area. */
typedef void (*area_function)(const mia__cpu_task *task, const area *a);

/* The number of the output's element at a column of an area. */
static int64_t first_of(const mia__cpu_matmul *mm, const area *a, int64_t column) {
    return (a->batch * mm->m + a->m + column) * mm->n + a->n;
}

/* Takes results out of the tiles of all cores, `apart` numbers from one to the next. */
static void empty_tiles(const mia__cpu_task *task, const area *a, const float *tiles, int64_t apart) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    const mia__cpu_kernels *kernels = task->step->kernels;
    uint32_t cores = task->core_count > 0 ? task->core_count : 1;
    uint16_t halves[MIA__MOST_CORES][TILE_ROWS];
    const void *results[MIA__MOST_CORES];
    mia__cpu_task behind;
    if (task->behind != NULL) behind = *task->behind;
    for (int64_t column = 0; column < a->columns; column++) {
        int64_t first = first_of(mm, a, column);
        for (uint32_t c = 0; c < cores; c++) {
            const float *from = tiles + c * apart + column * a->out_stride;
            results[c] = from;
            if (!mm->narrows) continue;
            uint16_t *to = task->behind != NULL ? halves[c] : (uint16_t *)(void *)task->output + first;
            (mm->x_dtype == MIA_f16 ? kernels->narrow_f16 : kernels->narrow_bf16)(to, from, (size_t)a->rows);
            results[c] = to;
        }
        if (task->behind != NULL)
            mia__cpu_chain_behind(&behind, results, cores, (size_t)first, (size_t)a->rows);
    }
}

/* Units of a product in tiles, as many rows of the same columns at once as there is room for. */
static void run_in_tiles(const mia__cpu_task *task, size_t begin, size_t end, area_function function) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    _Alignas(64) float tiles[TILE_MOST];
    int64_t cores = task->core_count > 0 ? task->core_count : 1, columns = least(mm->m, mm->m_tile);
    int64_t room = least(TILE_MOST / (cores * columns) - TILE_GAP, TILE_ROWS), most = room / mm->n_tile;
    int64_t stride = most * mm->n_tile + TILE_GAP, apart = stride * columns;
    for (size_t unit = begin, last; unit < end; unit = last) {
        area all = find_area(mm, unit);
        int64_t left = mm->n_tiles - (int64_t)unit % mm->n_tiles; /* of the same columns */
        last = unit + (size_t)least(least(left, most), (int64_t)(end - unit));
        all.rows = 0;
        all.out_stride = stride;
        for (size_t u = unit; u < last; u++) {
            area a = find_area(mm, u);
            a.out_stride = stride;
            for (int64_t c = 0; c < cores; c++) {
                a.out = tiles + c * apart + all.rows;
                function(task->core_count > 0 ? &task->cores[c] : task, &a);
            }
            all.rows += a.rows;
        }
        empty_tiles(task, &all, tiles, apart);
    }
}

static void run_areas(const mia__cpu_task *task, size_t begin, size_t end, area_function function) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    if (mm->tiled) {
        run_in_tiles(task, begin, end, function);
        return;
    }
    for (size_t unit = begin; unit < end; unit++) {
        area a = find_area(mm, unit);
        a.out = (float *)(void *)task->output + first_of(mm, &a, 0);
        a.out_stride = mm->n;
        function(task, &a);
    }
}

/* --- f32 activations -------------------------------------------------------------------------- */

/* A panel of narrow numbers, column by column. */
static void pack_narrow(const mia__cpu_task *task, int64_t batch, int64_t m, int64_t columns, float *out) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    float room[DEPTH];
    for (int64_t c = 0; c < columns; c++) {
        const char *column = column_of(task, batch, m + c);
        for (int64_t k = 0; k < mm->k && !mia__cpu_stopped(task); k += DEPTH) {
            int64_t count = least(mm->k - k, DEPTH);
            const float *x = load_column(task, column, k, count, room);
            for (int64_t i = 0; i < count; i++) out[(k + i) * columns + c] = x[i];
        }
    }
}

static void run_pack(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    int64_t most = task->step->kernels->columns;
    for (size_t unit = begin; unit < end; unit++) {
        int64_t batch = (int64_t)unit / mm->panels, m = (int64_t)unit % mm->panels * most;
        int64_t columns = least(mm->m - m, most);
        float *out = (float *)task->args.scratch + (batch * mm->m + m) * mm->k;
        if (mm->x_dtype != MIA_f32) {
            pack_narrow(task, batch, m, columns, out);
            continue;
        }
        const float *x = f32_column_of(task, batch, m);
        for (int64_t k = 0, last; k < mm->k && !mia__cpu_stopped(task);)
            for (last = least(mm->k, k + DEPTH); k < last; k++)
                for (int64_t c = 0; c < columns; c++) *out++ = x[c * mm->x_stride[1] + k * mm->x_stride[0]];
    }
}

/* Columns k .. k + depth of the group at row n as a panel: where it is, or in the room given. */
static const float *panel_of(const mia__cpu_task *task, const char *weights, int64_t n, int64_t k,
                             int64_t depth, float *room) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    const mia__cpu_kernels *kernels = task->step->kernels;
    const mia_dtype_info *info = mia_dtype_describe(mm->dtype);
    unsigned count = (unsigned)least(mm->n - n, GROUP);
    if (mia__cpu_is_block(mm->dtype)) {
        _Alignas(64) uint8_t quants[DEPTH * GROUP];
        _Alignas(64) uint8_t scales[MIA__CPU_RECORD_MOST];
        mia__cpu_quants w = {quants, scales};
        size_t row_bytes = (size_t)(mm->w_stride[1] * (int64_t)info->bytes), blocks = (size_t)(depth / BLOCK);
        if (mm->prepared)
            w = mia__cpu_group_quants(mm->dtype, mm->k,
                                      weights + (size_t)(n / GROUP) * mia__cpu_group_bytes(mm->dtype, mm->k),
                                      k / BLOCK);
        else
            mia__cpu_interleave_blocks(mm->dtype,
                                       (const uint8_t *)weights + (size_t)n * row_bytes +
                                           (size_t)(k / info->elements) * info->bytes,
                                       row_bytes, count, blocks, quants, scales);
        kernels->unpacks[mia__cpu_format(mm->dtype)](w, blocks, room);
        return room;
    }
    if (!mm->prepared) {
        const char *rows = weights + (n * mm->w_stride[1] + k * mm->w_stride[0]) * (int64_t)info->bytes;
        mia__cpu_interleave_f32(mm->dtype, rows, mm->w_stride[0], mm->w_stride[1], count, depth, room);
        return room;
    }
    const char *group = weights + (size_t)(n / GROUP) * mia__cpu_group_bytes(mm->dtype, mm->k) +
                        (size_t)k * GROUP * info->bytes;
    const uint16_t *halves = (const uint16_t *)(const void *)group;
    if (mm->dtype == MIA_f32) return (const float *)(const void *)group;
    (mm->dtype == MIA_f16 ? kernels->widen_f16 : kernels->widen_bf16)(room, halves, (size_t)depth * GROUP);
    return room;
}

static void multiply_stretch(const mia__cpu_task *task, const area *a, const float *x, int64_t k,
                             int64_t depth) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    const mia__cpu_kernels *kernels = task->step->kernels;
    float room[MOST_GROUPS][DEPTH * GROUP];
    const float *panels[MOST_GROUPS];
    for (int64_t g = 0; g * GROUP < a->rows; g++)
        panels[g] = panel_of(task, weights_of(task, a->batch), a->n + g * GROUP, k, depth, room[g]);
    for (int64_t m = 0; m < a->columns; m += kernels->columns) {
        unsigned columns = (unsigned)least(a->columns - m, kernels->columns);
        mia__cpu_tile tile = {output_of(a, m), a->out_stride, (unsigned)a->rows, columns, k > 0};
        kernels->product(panels, x + m * mm->k + k * columns, depth, &tile);
    }
}

static void product_area(const mia__cpu_task *task, const area *a) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    const float *x = mm->packed ? (const float *)task->args.scratch + (a->batch * mm->m + a->m) * mm->k
                                : f32_column_of(task, a->batch, 0);
    int64_t k = 0;
    do {
        int64_t depth = least(mm->k - k, DEPTH);
        multiply_stretch(task, a, x, k, depth);
        k += depth;
    } while (k < mm->k && !mia__cpu_stopped(task));
}

static void run_product(const mia__cpu_task *task, size_t begin, size_t end) {
    run_areas(task, begin, end, product_area);
}

/* Columns k .. of a group of prepared f32, f16 or bf16 by one column. */
static void multiply_column(const mia__cpu_task *task, const char *group, const float *x, int64_t k,
                            float *out, unsigned rows) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    const mia__cpu_kernels *kernels = task->step->kernels;
    const void *w = group + k * GROUP * (int64_t)mia_dtype_describe(mm->dtype)->bytes;
    int64_t depth = least(mm->k - k, LONG);
    switch (mm->dtype) {
    case MIA_f32: kernels->matvec_f32(w, x + k, depth, out, rows); break;
    case MIA_f16: kernels->matvec_f16(w, x + k, depth, out, rows); break;
    default: kernels->matvec_bf16(w, x + k, depth, out, rows); break;
    }
}

/* One column by prepared f32, f16 or bf16. */
static void matvec_area(const mia__cpu_task *task, const area *a) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    const char *group = weights_of(task, 0) + (size_t)(a->n / GROUP) * mia__cpu_group_bytes(mm->dtype, mm->k);
    const float *x =
        mm->packed ? (const float *)task->args.scratch + a->batch * mm->k : f32_column_of(task, a->batch, 0);
    float part[GROUP];
    multiply_column(task, group, x, 0, a->out, (unsigned)a->rows);
    for (int64_t k = LONG; k < mm->k && !mia__cpu_stopped(task); k += LONG) {
        multiply_column(task, group, x, k, part, (unsigned)a->rows);
        for (int64_t n = 0; n < a->rows; n++) a->out[n] += part[n];
    }
}

static void run_matvec(const mia__cpu_task *task, size_t begin, size_t end) {
    run_areas(task, begin, end, matvec_area);
}

/* A row by a column, both f32 without gaps. */
static float dot(const mia__cpu_task *task, const float *w, const float *x) {
    int64_t length = task->step->as.matmul.k;
    float sum = task->step->kernels->dot(w, x, (size_t)least(length, LONG));
    for (int64_t k = LONG; k < length && !mia__cpu_stopped(task); k += LONG)
        sum += task->step->kernels->dot(w + k, x + k, (size_t)least(length - k, LONG));
    return sum;
}

/* Few columns by f32 rows as they are. */
static void dots_area(const mia__cpu_task *task, const area *a) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    const float *w = (const float *)(const void *)weights_of(task, a->batch) + a->n * mm->w_stride[1];
    const float *x = f32_column_of(task, a->batch, a->m);
    for (int64_t m = 0; m < a->columns; m++)
        for (int64_t n = 0; n < a->rows; n++)
            output_of(a, m)[n] = dot(task, w + n * mm->w_stride[1], x + m * mm->x_stride[1]);
}

static void run_dots(const mia__cpu_task *task, size_t begin, size_t end) {
    run_areas(task, begin, end, dots_area);
}

/* --- activations rounded to 8 bits ------------------------------------------------------------ */

static void run_quantise(const mia__cpu_task *task, size_t begin, size_t end) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    int64_t most = task->step->kernels->quantised_columns, blocks = mm->k / BLOCK;
    for (size_t unit = begin; unit < end; unit++) {
        int64_t batch = (int64_t)unit / mm->m, m = (int64_t)unit % mm->m, first = m / most * most;
        int64_t columns = least(mm->m - first, most);
        mia__cpu_block *out =
            (mia__cpu_block *)task->args.scratch + (batch * mm->m + first) * blocks + (m - first);
        const char *column = column_of(task, batch, m);
        float room[DEPTH];
        for (int64_t k = 0; k < mm->k && !mia__cpu_stopped(task); k += DEPTH) {
            int64_t count = least(mm->k - k, DEPTH);
            task->step->kernels->quantise(load_column(task, column, k, count, room), (size_t)(count / BLOCK),
                                          out + k / BLOCK * columns, (size_t)columns);
        }
    }
}

/* Blocks first .. first + count of one group by all columns of an area. */
static void multiply_blocks(const mia__cpu_task *task, const area *a, int64_t row, mia__cpu_quants w,
                            int64_t first, int64_t count) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    const mia__cpu_kernels *kernels = task->step->kernels;
    int64_t blocks = mm->k / BLOCK;
    const mia__cpu_block *x = (const mia__cpu_block *)task->args.scratch + (a->batch * mm->m + a->m) * blocks;
    for (int64_t m = 0; m < a->columns; m += kernels->quantised_columns) {
        unsigned columns = (unsigned)least(a->columns - m, kernels->quantised_columns);
        mia__cpu_tile tile = {output_of(a, m) + row, a->out_stride, (unsigned)least(a->rows - row, GROUP),
                              columns, first > 0};
        kernels->products[mia__cpu_format(mm->dtype)](w, x + m * blocks + first * columns, (size_t)count,
                                                      &tile);
    }
}

static void multiply_raw_blocks(const mia__cpu_task *task, const area *a, int64_t row) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    const mia_dtype_info *info = mia_dtype_describe(mm->dtype);
    size_t row_bytes = (size_t)(mm->w_stride[1] * (int64_t)info->bytes);
    const uint8_t *rows = (const uint8_t *)weights_of(task, a->batch) + (size_t)(a->n + row) * row_bytes;
    _Alignas(64) uint8_t quants[DEPTH * GROUP];
    _Alignas(64) uint8_t scales[MIA__CPU_RECORD_MOST];
    int64_t first = 0, blocks = mm->k / BLOCK;
    do {
        int64_t count = least(blocks - first, DEPTH / BLOCK);
        mia__cpu_interleave_blocks(mm->dtype, rows + (size_t)(first * BLOCK / info->elements) * info->bytes,
                                   row_bytes, (unsigned)least(a->rows - row, GROUP), (size_t)count, quants,
                                   scales);
        multiply_blocks(task, a, row, (mia__cpu_quants){quants, scales}, first, count);
        first += count;
    } while (first < blocks && !mia__cpu_stopped(task));
}

static void multiply_prepared_blocks(const mia__cpu_task *task, const area *a, int64_t row) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    const char *group =
        weights_of(task, 0) + (size_t)((a->n + row) / GROUP) * mia__cpu_group_bytes(mm->dtype, mm->k);
    int64_t first = 0, blocks = mm->k / BLOCK;
    do {
        int64_t count = least(blocks - first, LONG / BLOCK);
        multiply_blocks(task, a, row, mia__cpu_group_quants(mm->dtype, mm->k, group, first), first, count);
        first += count;
    } while (first < blocks && !mia__cpu_stopped(task));
}

static void quantised_area(const mia__cpu_task *task, const area *a) {
    const mia__cpu_matmul *mm = &task->step->as.matmul;
    for (int64_t row = 0; row < a->rows; row += GROUP)
        (mm->prepared ? multiply_prepared_blocks : multiply_raw_blocks)(task, a, row);
}

static void run_quantised_product(const mia__cpu_task *task, size_t begin, size_t end) {
    run_areas(task, begin, end, quantised_area);
}

/* --- choosing --------------------------------------------------------------------------------- */

static int64_t extent(const mia__view *view, uint32_t mode) {
    return mode < view->ndim ? view->extent[mode] : 1;
}
static int64_t stride(const mia__view *view, uint32_t mode) {
    return extent(view, mode) != 1 ? view->stride[mode] : 0;
}

static bool takes(const mia__step *step) {
    const mia__operand *w = &step->inputs[0], *x = &step->inputs[1];
    if (!mia__cpu_is_float(w->dtype) && !mia__cpu_is_block(w->dtype)) return false;
    return mia__cpu_is_float(x->dtype) && step->output.dtype == x->dtype && w->view.ndim >= 1 &&
           x->view.ndim >= 1;
}

/* What x is rounded to 8 bits for. */
static bool rounds(const mia__cpu *cpu, const mia__cpu_matmul *mm) {
    return mia__cpu_is_block(mm->dtype) && cpu->precision == MIA_PRECISION_DEFAULT;
}

/* Whether x can be used as it lies: one column of f32 without gaps. */
static bool lies_packed(const mia__cpu_matmul *mm) {
    return mm->x_dtype == MIA_f32 && mm->m == 1 && (mm->x_stride[0] == 1 || mm->k == 1);
}

mia__cpu_matmul mia__cpu_matmul_describe(const mia__cpu *cpu, const mia__step *step) {
    const mia__view *w = &step->inputs[0].view, *x = &step->inputs[1].view, *out = &step->output.view;
    mia__cpu_matmul mm = {.k = extent(w, 0),
                          .n = extent(w, 1),
                          .m = extent(x, 1),
                          .batches = 1,
                          .dtype = step->inputs[0].dtype,
                          .x_dtype = step->inputs[1].dtype,
                          .narrows = step->output.dtype != MIA_f32};
    for (uint32_t i = 0; i < 2; i++) {
        mm.w_stride[i] = stride(w, i);
        mm.x_stride[i] = stride(x, i);
    }
    for (uint32_t i = 2; i < out->ndim; i++) {
        mm.batch_extent[mm.batch_ndim] = out->extent[i];
        mm.w_batch[mm.batch_ndim] = stride(w, i);
        mm.x_batch[mm.batch_ndim++] = stride(x, i);
        mm.batches *= out->extent[i];
    }
    /* x is at most broadcast to this; its shape was checked */
    size_t count = (size_t)(mm.batches * mm.m * mm.k);
    if (rounds(cpu, &mm))
        mm.x_bytes = count / BLOCK * sizeof(mia__cpu_block);
    else if (!lies_packed(&mm))
        mm.x_bytes = count * sizeof(float);
    return mm;
}

size_t mia__cpu_scratch_matmul(const mia__cpu *cpu, const mia__step *step) {
    if (!takes(step)) return mia__cpu_scratch_matmul_f64(cpu, step);
    mia__cpu_matmul mm = mia__cpu_matmul_describe(cpu, step);
    return mm.x_bytes;
}

static void tile_output(mia__cpu_matmul *mm, int64_t n_tile, int64_t m_tile) {
    mm->n_tile = n_tile;
    mm->m_tile = m_tile;
    mm->n_tiles = divide_up(mm->n, n_tile);
    mm->m_tiles = divide_up(mm->m, m_tile);
}

static size_t units(const mia__cpu_matmul *mm) {
    return (size_t)(mm->batches * mm->n_tiles * mm->m_tiles);
}

static void choose_quantised(const mia__cpu *cpu, mia__cpu_step *out) {
    mia__cpu_matmul *mm = &out->as.matmul;
    int64_t columns = cpu->kernels.quantised_columns;
    tile_output(mm, mm->m <= columns ? GROUP : 4 * GROUP, 8 * columns);
    mia__cpu_phase_add(out, run_quantise, (size_t)(mm->batches * mm->m));
    mia__cpu_phase_add(out, run_quantised_product, units(mm));
}

static void choose_f32(const mia__cpu *cpu, mia__cpu_step *out) {
    mia__cpu_matmul *mm = &out->as.matmul;
    int64_t columns = cpu->kernels.columns;
    bool rows = mm->dtype == MIA_f32 && mm->w_stride[0] == 1 && mm->x_stride[0] == 1;
    if (!mm->prepared && rows && mm->x_dtype == MIA_f32 && mm->m <= 4) {
        tile_output(mm, GROUP, 4);
        mia__cpu_phase_add(out, run_dots, units(mm));
        return;
    }
    mm->packed = !lies_packed(mm);
    mm->panels = divide_up(mm->m, columns);
    if (mm->packed) mia__cpu_phase_add(out, run_pack, (size_t)(mm->batches * mm->panels));
    bool column = mm->m == 1 && mm->prepared && !mia__cpu_is_block(mm->dtype);
    tile_output(mm, column ? GROUP : GROUP * (int64_t)cpu->kernels.groups, 16 * columns);
    mia__cpu_phase_add(out, column ? run_matvec : run_product, units(mm));
}

bool mia__cpu_choose_matmul(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out) {
    const mia__step *source = out->source;
    if (!takes(source)) {
        mia__cpu_choose_matmul_f64(cpu, out);
        return true;
    }
    out->as.matmul = mia__cpu_matmul_describe(cpu, source);
    mia__cpu_matmul *mm = &out->as.matmul;
    mm->prepared = plan->buffers[source->inputs[0].buffer].kind == MIA__BUFFER_FORM;
    out->work = (double)(mm->batches * mm->n) * (double)mm->k * (0.05 + 0.02 * (double)mm->m);
    if (rounds(cpu, mm))
        choose_quantised(cpu, out);
    else
        choose_f32(cpu, out);
    if (mm->narrows) (void)mia__cpu_matmul_in_tiles(out, 1);
    return true;
}

bool mia__cpu_matmul_takes(const mia__step *step) {
    return takes(step);
}

bool mia__cpu_matmul_in_tiles(mia__cpu_step *step, uint32_t cores) {
    mia__cpu_matmul *mm = &step->as.matmul;
    if (!takes(step->source)) return false;
    mm->tiled = true;
    int64_t m_tile = mm->m_tile;
    while ((mm->n_tile + TILE_GAP) * m_tile * cores > TILE_MOST) m_tile /= 2;
    tile_output(mm, mm->n_tile, m_tile);
    step->phases[step->phase_count - 1].units = step->phases[step->phase_count - 1].piece = units(mm);
    return true;
}

bool mia__cpu_matmul_shares(const mia__cpu_step *a, const mia__cpu_step *b) {
    if (!takes(a->source) || !takes(b->source) || a->phase_count != b->phase_count) return false;
    if (a->as.matmul.x_bytes != b->as.matmul.x_bytes) return false;
    return a->phase_count == 1 || a->phases[0].function == b->phases[0].function;
}
