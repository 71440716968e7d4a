/* Kernels of the cpu backend against the reference: every family, on every instruction set of this machine,
 * with 1, 2 and 3 threads, which must give the same bits. Steps are made by hand and run through the
 * backend's own compile and run. */
#include "backend/cpu/blocks.h"
#include "backend/cpu/cpu.h"
#include "backend/reference/element.h"
#include "base/block.h"
#include "base/half.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

/* --- random numbers --------------------------------------------------------------------------- */

static uint64_t random_state;

static int64_t draw_below(int64_t limit) {
    return test_below(&random_state, limit);
}

static float draw_float(void) {
    return (float)((double)(int64_t)(test_random(&random_state) >> 11) * 0x1p-52 - 1.0) * 4.0f;
}

static const int64_t sizes[] = {1, 3, 17, 33, 257};
static int64_t draw_size(void) {
    return sizes[draw_below(5)];
}

/* --- the backends under test ------------------------------------------------------------------ */

#define MOST_THREADS 3

static mia__backend
    *backends[MIA__CPU_ISAS][MOST_THREADS][2]; /* by instruction set, threads - 1, precision */
static unsigned isa_count;

static void completed(void *user, mia_status status, const char *message) {
    (void)message;
    *(mia_status *)user = status;
}

static int open_backends(void **state) {
    (void)state;
    static const char *const caps[MIA__CPU_ISAS] = {"generic", "avx2", "avx512"};
    for (unsigned isa = 0; isa < MIA__CPU_ISAS; isa++) {
        setenv("MIA_CPU_ISA", caps[isa], 1);
        if ((unsigned)mia__cpu_detect() != isa) break;
        isa_count = isa + 1;
        for (unsigned i = 0; i < MOST_THREADS * 2; i++) {
            mia_device_options options = {.threads = i / 2 + 1,
                                          .precision = i % 2 ? MIA_PRECISION_EXACT : MIA_PRECISION_DEFAULT};
            mia__backend **out = &backends[isa][i / 2][i % 2];
            mia_status status = MIA_ERROR_INTERNAL;
            mia__backend_cpu.open(&options, out, (mia__completion){completed, &status});
            if (status != MIA_OK) return -1;
            ((mia__cpu *)*out)->shared_nanoseconds = 0; /* share even the smallest step */
        }
    }
    printf("instruction sets: %u\n", isa_count);
    return 0;
}

static int close_backends(void **state) {
    (void)state;
    for (unsigned i = 0; i < isa_count * MOST_THREADS * 2; i++)
        mia__backend_cpu.close(backends[i / (MOST_THREADS * 2)][i / 2 % MOST_THREADS][i % 2]);
    return 0;
}

/* --- problems: a step with its memory --------------------------------------------------------- */

typedef struct problem {
    mia__step step;
    void *memory[MIA__MAX_OPERANDS];
    size_t bytes[MIA__MAX_OPERANDS]; /* of memory, all of it */
    size_t out_bytes;
    double largest; /* magnitude of the inputs */
} problem;

static void free_problem(problem *p) {
    for (uint32_t i = 0; i < p->step.input_count; i++) free(p->memory[i]);
}

typedef enum layout { COMPACT, STRIDED } layout;

/* A view of these extents; strided: modes lie in any order with gaps between, mode 0 first when `rows`. */
static mia__view make_view(mia_dtype dtype, uint32_t ndim, const int64_t *extent, layout kind, bool rows) {
    mia__view view = {.ndim = ndim};
    const mia_dtype_info *info = mia_dtype_describe(dtype);
    uint32_t order[MIA__VIEW_MODES];
    for (uint32_t i = 0; i < ndim; i++) order[i] = i;
    for (uint32_t i = ndim; kind == STRIDED && i > (rows ? 2u : 1u); i--) {
        uint32_t j = (uint32_t)draw_below(rows ? i - 1 : i) + (rows ? 1 : 0), swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
    int64_t stride = kind == STRIDED && !rows ? 1 + draw_below(2) : 1;
    if (kind == STRIDED) view.offset = draw_below(5);
    for (uint32_t i = 0; i < ndim; i++) {
        uint32_t mode = order[i];
        view.extent[mode] = extent[mode];
        view.stride[mode] = stride;
        stride *= mode == 0 && info->kind == MIA_KIND_BLOCK ? extent[mode] / info->elements : extent[mode];
        if (kind == STRIDED) stride += draw_below(3);
    }
    return view;
}

static size_t view_bytes(const mia__operand *operand) {
    const mia__view *view = &operand->view;
    const mia_dtype_info *info = mia_dtype_describe(operand->dtype);
    int64_t last = view->offset;
    for (uint32_t i = 0; i < view->ndim; i++) {
        int64_t extent =
            i == 0 && info->kind == MIA_KIND_BLOCK ? view->extent[i] / info->elements : view->extent[i];
        last += (extent - 1) * view->stride[i];
    }
    return (size_t)(last + 1) * info->bytes;
}

static float draw_special(unsigned odds) {
    static const float special[] = {INFINITY, -INFINITY, NAN, 0.0f, -0.0f, 1e-40f, 3e38f, -1e30f, 1e-20f};
    return odds > 0 && draw_below(odds) == 0 ? special[draw_below(9)] : draw_float();
}

/* Fills memory of a scalar or block type; one in `odds` numbers is unusual. */
static void fill(mia_dtype dtype, void *memory, size_t bytes, unsigned odds) {
    const mia__block_format *format = mia__block_find(dtype);
    if (format != NULL) {
        for (size_t at = 0; at < bytes; at += format->bytes) {
            float numbers[MIA__BLOCK_MOST];
            for (uint32_t i = 0; i < format->elements; i++) numbers[i] = draw_float();
            mia__block_encode(format, numbers, (char *)memory + at, format->elements);
        }
        return;
    }
    size_t size = mia_dtype_describe(dtype)->bytes;
    for (size_t i = 0; i < bytes / size; i++) {
        float x = draw_special(odds);
        if (dtype >= MIA_i32)
            mia__store_whole(dtype, memory, (int64_t)i,
                             (int64_t)(test_random(&random_state) >> draw_below(64)));
        if (dtype == MIA_bool8) ((uint8_t *)memory)[i] = (uint8_t)(test_random(&random_state) % 3);
        if (dtype == MIA_f32) ((float *)memory)[i] = x;
        if (dtype == MIA_f64) ((double *)memory)[i] = (double)x;
        if (dtype == MIA_f16) ((uint16_t *)memory)[i] = mia__f32_to_f16(x);
        if (dtype == MIA_bf16) ((uint16_t *)memory)[i] = mia__f32_to_bf16(x);
    }
}

static void add_input(problem *p, mia_dtype dtype, mia__view view, unsigned odds) {
    uint32_t i = p->step.input_count++;
    mia__operand *operand = &p->step.inputs[i];
    *operand = (mia__operand){.buffer = i, .dtype = dtype, .view = view};
    p->bytes[i] = view_bytes(operand);
    p->memory[i] = malloc(p->bytes[i]);
    assert_non_null(p->memory[i]);
    fill(dtype, p->memory[i], p->bytes[i], odds);
}

static void add_integers(problem *p, int64_t count, int32_t low, int32_t high) {
    uint32_t i = p->step.input_count;
    add_input(p, MIA_i32, make_view(MIA_i32, 1, &count, COMPACT, true), 0);
    for (int64_t n = 0; n < count; n++)
        ((int32_t *)p->memory[i])[n] = low + (int32_t)draw_below(high - low + 1);
}

static void set_output(problem *p, mia_dtype dtype, uint32_t ndim, const int64_t *extent) {
    p->step.output = (mia__operand){
        .buffer = p->step.input_count, .dtype = dtype, .view = make_view(dtype, ndim, extent, COMPACT, true)};
    p->out_bytes = view_bytes(&p->step.output);
}

static void *run_reference(const problem *p) {
    void *out = calloc(1, p->out_bytes);
    assert_non_null(out);
    mia__kernel_args args = {.step = &p->step, .output = out};
    for (uint32_t i = 0; i < p->step.input_count; i++) args.inputs[i] = p->memory[i];
    mia__reference_find(p->step.op)(&args);
    return out;
}

/* Runs p on a backend into `out`; input 0 in the prepared form when asked for. Returns steps on reference
 * kernels. */
static uint64_t run_on(mia__backend *backend, const problem *p, bool prepared, void *out) {
    mia__step step = p->step;
    mia__plan_buffer plan_buffers[MIA__MAX_OPERANDS + 2] = {{0}};
    mia__buffer buffers[MIA__MAX_OPERANDS + 2] = {{0}};
    mia__place places[MIA__MAX_OPERANDS + 2];
    uint32_t output = step.input_count, scratch = output + 1;
    for (uint32_t i = 0; i < output; i++)
        buffers[i] = (mia__buffer){.host = p->memory[i], .bytes = p->bytes[i]};
    buffers[output] = (mia__buffer){.host = out, .bytes = p->out_bytes};
    step.scratch_bytes = backend->rules.scratch(backend->rules.context, NULL, &step);
    step.scratch = step.scratch_bytes > 0 ? scratch : MIA__NO_BUFFER;
    assert_int_equal(backend->type->allocate(backend, step.scratch_bytes + 1, &buffers[scratch], NULL),
                     MIA_OK);

    mia__buffer form_buffer = {0};
    mia__form form = prepared ? backend->rules.form(backend->rules.context, NULL, &step, 0) : (mia__form){0};
    if (form.key != 0) {
        mia_shape shape = mia__view_shape(&step.inputs[0].view);
        assert_int_equal(backend->type->allocate(backend, form.bytes, &form_buffer, NULL), MIA_OK);
        assert_int_equal(backend->type->prepare(backend, step.inputs[0].dtype, &shape, &form, p->memory[0],
                                                &form_buffer, NULL),
                         MIA_OK);
        buffers[0] = form_buffer;
        plan_buffers[0].kind = MIA__BUFFER_FORM;
    }
    for (uint32_t i = 0; i <= scratch; i++) places[i] = (mia__place){&buffers[i], 0};
    mia__plan plan = {.steps = &step, .step_count = 1, .buffers = plan_buffers, .buffer_count = scratch + 1};
    mia_status status = MIA_ERROR_INTERNAL;
    mia__run run = {.plan = &plan, .places = places, .completion = {completed, &status}};
    assert_int_equal(backend->type->compile(backend, &plan, &run.program, NULL), MIA_OK);
    uint64_t before = backend->fallbacks;
    backend->type->run(backend, &run);
    assert_int_equal(status, MIA_OK);
    backend->type->discard(backend, run.program);
    backend->type->release(backend, &buffers[scratch]);
    if (form.key != 0) backend->type->release(backend, &form_buffer);
    return backend->fallbacks - before;
}

/* --- comparison ------------------------------------------------------------------------------- */

static double number(mia_dtype dtype, const void *memory, size_t i) {
    if (dtype == MIA_f32) return (double)((const float *)memory)[i];
    if (dtype == MIA_f64) return ((const double *)memory)[i];
    return mia__load(dtype, memory, (int64_t)i);
}

static double epsilon_of(mia_dtype dtype) {
    return dtype == MIA_f32    ? (double)FLT_EPSILON
           : dtype == MIA_f16  ? 0x1p-10
           : dtype == MIA_bf16 ? 0x1p-7
                               : DBL_EPSILON;
}

/* Element i may differ by bound[i], or by `bound` epsilons of the greater of `largest` and the result. */
static void compare(const problem *p, const char *what, const void *expected, const void *got, double bound,
                    const double *bounds) {
    mia_dtype dtype = p->step.output.dtype;
    size_t size = mia_dtype_describe(dtype)->bytes;
    for (size_t i = 0; i < p->out_bytes / size; i++) {
        double a = number(dtype, expected, i), b = number(dtype, got, i);
        if (isnan(a) && isnan(b)) continue;
        if (isinf(a) && a == b) continue;
        double allowed =
            bounds != NULL ? bounds[i] : bound * epsilon_of(dtype) * fmax(p->largest, fabs(a)) + 2e-45;
        if (!isnan(a) && !isnan(b) && fabs(a - b) <= allowed) continue;
        if (isinf(a) != isinf(b) && fabs(isinf(a) ? b : a) > 0.999 * (dtype == MIA_f16 ? 65504.0 : 3.38e38))
            continue;
        fail_msg("%s: element %zu is %.9g, %.3g from the expected, allowed is %.3g", what, i, b, fabs(a - b),
                 allowed);
    }
}

/* Runs p everywhere and compares; bounds as for compare. `fast`: no instruction set may fall back on the
 * reference. */
static void check(const problem *p, mia_precision precision, bool prepared, double bound,
                  const double *bounds, bool fast) {
    void *expected = run_reference(p), *first = malloc(p->out_bytes), *out = malloc(p->out_bytes);
    const mia_op_info *info = mia_op_describe(p->step.op);
    for (unsigned isa = 0; isa < isa_count; isa++) {
        for (unsigned threads = 1; threads <= MOST_THREADS; threads++) {
            char what[128];
            snprintf(what, sizeof what, "%s of %s, instruction set %u, %u threads%s", info->name,
                     mia_dtype_describe(p->step.inputs[0].dtype)->name, isa, threads,
                     prepared ? ", prepared" : "");
            memset(out, 0xa5, p->out_bytes);
            uint64_t fallbacks = run_on(backends[isa][threads - 1][precision], p, prepared, out);
            if (fast && fallbacks > 0) fail_msg("%s ran on the reference kernel", what);
            if (threads == 1) {
                compare(p, what, expected, out, bound, bounds);
                memcpy(first, out, p->out_bytes);
            } else if (memcmp(first, out, p->out_bytes) != 0) {
                fail_msg("%s: other bits than with one thread", what);
            }
        }
    }
    free(expected), free(first), free(out);
}

/* --- element-wise ----------------------------------------------------------------------------- */

static const mia_dtype float_types[] = {MIA_f32, MIA_f16, MIA_bf16};

#define TYPE(name, unused) MIA_##name,
static const mia_dtype weight_types[] = {MIA_f32, MIA_f16, MIA_bf16, MIA_TYPES_BLOCK(TYPE, 0)};
#define WEIGHT_TYPES (sizeof weight_types / sizeof *weight_types)

static bool is_block(mia_dtype dtype) {
    return mia_dtype_describe(dtype)->kind == MIA_KIND_BLOCK;
}

/* A length of mode 0: whole blocks. */
static int64_t draw_depth(mia_dtype dtype) {
    int64_t elements = mia_dtype_describe(dtype)->elements;
    if (elements == 1) return draw_size() + draw_below(2) * 300;
    return elements * (1 + draw_below(elements == 32 ? 19 : 3));
}

/* Operations whose error counts in the magnitude of their operands; of the others it does in that of the
 * result. */
static bool counts_operands(mia_op op) {
    return op == MIA_OP_add || op == MIA_OP_sub || op == MIA_OP_silu || op == MIA_OP_gelu ||
           op == MIA_OP_gelu_tanh || op == MIA_OP_hardswish;
}

/* A result is compared with the magnitude of its own operands: one element a problem row would be slow, so
 * numbers are small unless `odds` asks for unusual ones, and then the bound is checked element by element. */
static double *own_bounds(const problem *p, double bound) {
    size_t count = (size_t)mia__view_count(&p->step.output.view);
    double *bounds = calloc(count + 1, sizeof *bounds);
    void *expected = run_reference(p);
    mia_dtype dtype = p->step.output.dtype;
    for (size_t i = 0; i < count; i++) {
        double largest = fabs(number(dtype, expected, i));
        size_t rest = i;
        int64_t at[MIA__MAX_OPERANDS];
        for (uint32_t k = 0; k < p->step.input_count; k++) at[k] = p->step.inputs[k].view.offset;
        for (uint32_t mode = 0; mode < p->step.output.view.ndim; mode++) {
            int64_t index = (int64_t)(rest % (size_t)p->step.output.view.extent[mode]);
            rest /= (size_t)p->step.output.view.extent[mode];
            for (uint32_t k = 0; k < p->step.input_count; k++)
                if (mode < p->step.inputs[k].view.ndim && p->step.inputs[k].view.extent[mode] != 1)
                    at[k] += index * p->step.inputs[k].view.stride[mode];
        }
        for (uint32_t k = 0; k < p->step.input_count && counts_operands(p->step.op); k++)
            largest = fmax(largest, fabs(number(dtype, p->memory[k], (size_t)at[k])));
        bounds[i] =
            isfinite(largest) ? bound * epsilon_of(dtype) * largest + (dtype == MIA_f16 ? 6e-8 : 1e-40) : 0;
    }
    free(expected);
    return bounds;
}

static void check_elementwise(mia_op op, mia_dtype dtype, unsigned odds) {
    uint32_t operands = mia_op_describe(op)->operands;
    int64_t extent[3] = {draw_size(), draw_size() % 60, 1 + draw_below(3)};
    if (extent[1] == 0) extent[1] = 2100; /* longer than a tile */
    problem p = {.step = {.op = op, .attributes.f = {-0.75, 1.5}}};
    for (uint32_t i = 0; i < operands; i++) {
        int64_t own[3];
        mia_dtype type = op == MIA_OP_where && i == 0 ? MIA_bool8 : dtype;
        for (unsigned mode = 0; mode < 3; mode++)
            own[mode] = draw_below(4) == 0 && operands > 1 ? 1 : extent[mode];
        mia__view view = make_view(type, 3, own, draw_below(2) ? STRIDED : COMPACT, draw_below(2));
        if (draw_below(3) == 0 && operands > 1) view.stride[1] = 0; /* a broadcast view */
        add_input(&p, type, view, odds);
    }
    bool compares = op >= MIA_OP_equal && op <= MIA_OP_greater_equal;
    set_output(&p, compares ? MIA_bool8 : dtype, 3, extent);
    double bound = mia_op_describe(op)->bound, *bounds = own_bounds(&p, bound);
    check(&p, MIA_PRECISION_DEFAULT, false, bound, bounds, true);
    free(bounds);
    free_problem(&p);
}

static void test_elementwise(void **state) {
    (void)state;
    for (int op = MIA_OP_add; op <= MIA_OP_clamp; op++) {
        const mia_op_info *info = mia_op_describe((mia_op)op);
        for (int dtype = MIA_f32; info != NULL && dtype <= MIA_bool8; dtype++)
            for (unsigned i = 0; i < 4 && (info->types >> dtype & 1) != 0; i++)
                check_elementwise((mia_op)op, (mia_dtype)dtype, i < 2 ? 0 : 6);
    }
}

/* Every magnitude of the one-argument functions, not only those near 1. */
static void test_unary_everywhere(void **state) {
    (void)state;
    for (int op = MIA_OP_neg; op <= MIA_OP_clamp; op++) {
        if ((mia_op_describe((mia_op)op)->types >> MIA_f32 & 1) == 0) continue;
        int64_t extent = 40000;
        problem p = {.step = {.op = (mia_op)op, .attributes.f = {0.25, 2}}};
        add_input(&p, MIA_f32, make_view(MIA_f32, 1, &extent, COMPACT, true), 0);
        for (int64_t i = 0; i < extent; i++) {
            uint32_t bits = (uint32_t)test_random(&random_state);
            float spread = (float)((double)(i - extent / 2) * 0.006);
            ((float *)p.memory[0])[i] = i % 2 ? mia__f32_of_bits(bits) : spread;
        }
        set_output(&p, MIA_f32, 1, &extent);
        double *bounds = own_bounds(&p, mia_op_describe((mia_op)op)->bound);
        check(&p, MIA_PRECISION_DEFAULT, false, 0, bounds, true);
        free(bounds);
        free_problem(&p);
    }
}

/* Of all magnitudes, and pairs that make results of all magnitudes. */
static void test_binary_everywhere(void **state) {
    (void)state;
    for (int op = MIA_OP_add; op <= MIA_OP_fmod; op++) {
        int64_t extent = 40000;
        problem p = {.step = {.op = (mia_op)op}};
        for (unsigned k = 0; k < 2; k++)
            add_input(&p, MIA_f32, make_view(MIA_f32, 1, &extent, COMPACT, true), 0);
        for (int64_t i = 0; i < extent; i++) {
            float *a = (float *)p.memory[0] + i, *b = (float *)p.memory[1] + i;
            uint32_t first = (uint32_t)test_random(&random_state),
                     second = (uint32_t)test_random(&random_state);
            *a = mia__f32_of_bits(first);
            *b = i % 3 == 0   ? mia__f32_of_bits(second)
                 : i % 3 == 1 ? (float)draw_below(9) - 4
                              : draw_float() * 20;
            if (i % 3 == 2) *a = fabsf(draw_float()) * 8;
        }
        set_output(&p, MIA_f32, 1, &extent);
        double *bounds = own_bounds(&p, mia_op_describe((mia_op)op)->bound);
        check(&p, MIA_PRECISION_DEFAULT, false, 0, bounds, true);
        free(bounds);
        free_problem(&p);
    }
}

static void test_convert(void **state) {
    (void)state;
    for (unsigned i = 0; i < 2 * 9 * 9; i++) {
        int64_t extent[2] = {draw_size(), draw_size()};
        mia_dtype from = (mia_dtype)(MIA_f32 + i % 9), to = (mia_dtype)(MIA_f32 + i / 9 % 9);
        problem p = {.step = {.op = MIA_OP_convert, .attributes.i[0] = to}};
        add_input(&p, from, make_view(from, 2, extent, i % 2 ? STRIDED : COMPACT, i % 4 == 1), 10);
        set_output(&p, to, 2, extent);
        check(&p, MIA_PRECISION_DEFAULT, false, 0, NULL, true);
        free_problem(&p);
    }
}

/* --- rows ------------------------------------------------------------------------------------- */

static const mia_dtype real_types[] = {MIA_f32, MIA_f16, MIA_bf16, MIA_f64};

/* What is left of the mean is as inexact as the row's largest number, and a row may have little left. */
static double *layer_norm_bounds(const problem *p, double bound) {
    const mia__view *x = &p->step.inputs[0].view;
    mia_dtype dtype = p->step.output.dtype;
    int64_t length = x->extent[0], count = mia__view_count(x);
    double *bounds = calloc((size_t)count + 1, sizeof *bounds), line[1000];
    assert_true(bounds != NULL && length <= 1000);
    for (int64_t first = 0; first < count; first += length) {
        int64_t row = first / length;
        int64_t at = x->offset + row % x->extent[1] * x->stride[1] + row / x->extent[1] * x->stride[2];
        double most = 0, mean = 0, variance = 0;
        for (int64_t i = 0; i < length; i++) {
            line[i] = number(dtype, p->memory[0], (size_t)(at + i * x->stride[0]));
            most = fmax(most, fabs(line[i]));
            mean += line[i] / (double)length;
        }
        for (int64_t i = 0; i < length; i++) variance += (line[i] - mean) * (line[i] - mean) / (double)length;
        double scale = 1 / sqrt(variance + p->step.attributes.f[0]), of[2];
        for (int64_t i = 0; i < length; i++) {
            for (uint32_t k = 0; k < 2; k++) {
                const mia__view *vector = &p->step.inputs[k + 1].view;
                of[k] =
                    fabs(number(dtype, p->memory[k + 1], (size_t)(vector->offset + i * vector->stride[0])));
            }
            double magnitude = most * scale * of[0] * (1 + fabs(line[i] - mean) * scale) + of[1];
            bounds[first + i] = bound * epsilon_of(dtype) * magnitude + (dtype == MIA_f16 ? 6e-8 : 2e-45);
        }
    }
    return bounds;
}

static void test_normalise(void **state) {
    (void)state;
    static const mia_op ops[] = {MIA_OP_softmax,     MIA_OP_rms_norm, MIA_OP_layer_norm,
                                 MIA_OP_log_softmax, MIA_OP_l2_norm,  MIA_OP_group_norm};
    static const uint32_t vectors[] = {0, 1, 2, 0, 0, 2};
    for (unsigned i = 0; i < 144; i++) {
        mia_dtype dtype = real_types[i / 6 % 4];
        int64_t extent[3] = {draw_size(), draw_size() % 50, 1 + draw_below(3)}, groups = 1;
        if (extent[1] == 0) extent[1] = 1;
        uint32_t mode = ops[i % 6] == MIA_OP_group_norm ? (uint32_t)draw_below(3) : 0;
        if (extent[mode] % 3 == 0) groups = 3;
        problem p = {.step = {.op = ops[i % 6], .attributes = {.i = {mode, groups}, .f = {1e-5}}},
                     .largest = ops[i % 6] == MIA_OP_group_norm ? 40 : 4};
        layout kind = i / 24 % 2 ? STRIDED : COMPACT;
        add_input(&p, dtype, make_view(dtype, 3, extent, kind, i / 48 % 2), i > 120 ? 30 : 0);
        for (unsigned k = 0; k < vectors[i % 6]; k++)
            add_input(&p, dtype, make_view(dtype, 1, &extent[mode], kind, i / 48 % 2), 0);
        set_output(&p, dtype, 3, extent);
        double bound = mia_op_describe(ops[i % 6])->bound;
        double *bounds = ops[i % 6] == MIA_OP_layer_norm ? layer_norm_bounds(&p, bound) : NULL;
        check(&p, MIA_PRECISION_DEFAULT, false, bound, bounds, true);
        free(bounds);
        free_problem(&p);
    }
}

/* Rows longer than a tile, contiguous or not, and of types that go through one. */
static void test_long_rows(void **state) {
    (void)state;
    static const mia_op ops[] = {MIA_OP_softmax, MIA_OP_log_softmax, MIA_OP_l2_norm};
    for (unsigned i = 0; i < 18; i++) {
        mia_dtype dtype = real_types[i / 3 % 3];
        int64_t extent[2] = {20000 + draw_below(100), 2};
        problem p = {.step = {.op = ops[i % 3]}, .largest = 16};
        add_input(&p, dtype, make_view(dtype, 2, extent, i / 9 ? STRIDED : COMPACT, false), 0);
        set_output(&p, dtype, 2, extent);
        check(&p, MIA_PRECISION_DEFAULT, false, 16, NULL, true);
        free_problem(&p);
    }
}

static void test_large_mean(void **state) {
    (void)state;
    int64_t extent = 4097;
    problem p = {.step = {.op = MIA_OP_layer_norm, .attributes.f[0] = 1e-5}, .largest = 10};
    for (unsigned k = 0; k < 3; k++) add_input(&p, MIA_f32, make_view(MIA_f32, 1, &extent, COMPACT, true), 0);
    for (int64_t i = 0; i < extent; i++) ((float *)p.memory[0])[i] += 10000.0f;
    set_output(&p, MIA_f32, 1, &extent);
    check(&p, MIA_PRECISION_DEFAULT, false, 32, NULL, true);
    free_problem(&p);
}

static void test_reduce(void **state) {
    (void)state;
    static const mia_op ops[] = {MIA_OP_sum, MIA_OP_mean, MIA_OP_reduce_max};
    for (unsigned i = 0; i < 63; i++) {
        int64_t extent[3] = {draw_size(), draw_size() % 70 + 1, 1 + draw_below(3)}, kept[3];
        unsigned modes = i / 3 % 7 + 1;
        for (unsigned mode = 0; mode < 3; mode++) kept[mode] = modes >> mode & 1 ? 1 : extent[mode];
        problem p = {.step = {.op = ops[i % 3], .attributes.i[0] = modes}, .largest = 4};
        add_input(&p, MIA_f32, make_view(MIA_f32, 3, extent, i % 2 ? STRIDED : COMPACT, true),
                  i > 40 ? 300 : 0);
        set_output(&p, MIA_f32, 3, kept);
        p.largest *= sqrt((double)mia__view_count(&p.step.inputs[0].view) /
                          (double)mia__view_count(&p.step.output.view));
        if (i > 40) p.largest = 3e38 * 60; /* sums of the largest numbers */
        check(&p, MIA_PRECISION_DEFAULT, false, mia_op_describe(ops[i % 3])->bound, NULL, false);
        free_problem(&p);
    }
}

static void test_rope(void **state) {
    (void)state;
    for (unsigned i = 0; i < 48; i++) {
        int64_t pairs = 1 + draw_below(40),
                extent[3] = {2 * pairs + draw_below(2) * draw_below(9), 1 + draw_below(5), draw_size() % 40};
        if (extent[2] == 0) extent[2] = 1;
        problem p = {.step = {.op = MIA_OP_rope, .attributes = {.i = {i % 2}, .f = {i % 3 ? 1.0 : 1.25}}},
                     .largest = 8};
        mia_dtype dtype = real_types[i / 4 % 4];
        add_input(&p, dtype, make_view(dtype, 3, extent, i % 4 > 1 ? STRIDED : COMPACT, i % 3), 0);
        add_integers(&p, extent[2], 0, i % 5 ? 5000 : 2000000000);
        add_input(&p, MIA_f32, make_view(MIA_f32, 1, &pairs, COMPACT, true), 0);
        for (int64_t k = 0; k < pairs; k++)
            ((float *)p.memory[2])[k] = powf(10000.0f, -(float)k / (float)pairs);
        set_output(&p, dtype, 3, extent);
        check(&p, MIA_PRECISION_DEFAULT, false, 16, NULL, true);
        free_problem(&p);
    }
}

static void test_attention(void **state) {
    (void)state;
    static const int64_t dims[] = {1, 3, 16, 64, 80, 33, 128};
    for (unsigned i = 0; i < 40; i++) {
        mia_dtype dtype = i % 2 ? MIA_f16 : MIA_f32;
        int64_t groups = 1 + draw_below(3), heads = groups * (1 + draw_below(5)),
                queries = i % 3 ? 1 + draw_below(20) : 1;
        int64_t keys = queries + draw_size(), dim = dims[draw_below(7)], value_dim = dims[draw_below(7)];
        int64_t q[3] = {dim, heads, queries}, k[3] = {dim, keys, groups}, v[3] = {value_dim, keys, groups};
        /* unusual values meet small scores: no weight of theirs may vanish in f32, where the reference has a
         * double */
        problem p = {.step = {.op = MIA_OP_attention, .attributes.f[0] = i > 30 ? 0.02 : 0.3}, .largest = 4};
        add_input(&p, MIA_f32, make_view(MIA_f32, 3, q, i % 4 > 1 ? STRIDED : COMPACT, true), 0);
        add_input(&p, dtype, make_view(dtype, 3, k, i % 4 > 1 ? STRIDED : COMPACT, true), 0);
        add_input(&p, dtype, make_view(dtype, 3, v, i % 4 > 1 ? STRIDED : COMPACT, true), i > 30 ? 200 : 0);
        for (size_t at = 0; dtype == MIA_f32 && at < p.bytes[2] / sizeof(float); at++) {
            float *value = (float *)p.memory[2] + at;
            if (isfinite(*value) && fabsf(*value) > 1e30f)
                *value = 1e30f; /* sums of greater ones leave f32 */
        }
        if (i > 30) p.largest = dtype == MIA_f32 ? 1e30 : 65504;
        add_integers(&p, 1, i % 7 ? (int32_t)queries : 0, (int32_t)keys);
        int64_t out[3] = {value_dim, heads, queries};
        set_output(&p, MIA_f32, 3, out);
        check(&p, MIA_PRECISION_DEFAULT, false, 64, NULL, true);
        free_problem(&p);
    }
}

/* All types and strides, with a mask and without; lengths and numbers of heads that are cut into pieces. */
static void test_attention_types(void **state) {
    (void)state;
    static const int64_t dims[] = {1, 3, 16, 64, 80, 33, 300};
    for (unsigned i = 0; i < 64; i++) {
        mia_dtype types[3] = {real_types[i % 4], real_types[draw_below(4)], real_types[draw_below(4)]};
        bool masked = i / 4 % 2;
        int64_t groups = 1 + draw_below(2), heads = groups * (1 + draw_below(11)),
                queries = 1 + draw_below(4);
        int64_t keys = queries + draw_below(700), dim = dims[draw_below(7)], value_dim = dims[draw_below(7)];
        int64_t q[3] = {dim, heads, queries}, k[3] = {dim, keys, groups}, v[3] = {value_dim, keys, groups};
        int64_t mask[3] = {keys, draw_below(2) ? queries : 1, draw_below(2) ? heads : 1};
        problem p = {
            .step = {.op = masked ? MIA_OP_attention_masked : MIA_OP_attention, .attributes.f[0] = 0.02},
            .largest = 4};
        layout kind = i / 8 % 2 ? STRIDED : COMPACT;
        add_input(&p, types[0], make_view(types[0], 3, q, kind, draw_below(2)), 0);
        add_input(&p, types[1], make_view(types[1], 3, k, kind, draw_below(2)), 0);
        add_input(&p, types[2], make_view(types[2], 3, v, kind, draw_below(2)), 0);
        if (masked) add_input(&p, MIA_f32, make_view(MIA_f32, 3, mask, kind, draw_below(2)), 0);
        for (size_t at = 0; masked && at < p.bytes[3] / sizeof(float); at++)
            if (draw_below(3) == 0) ((float *)p.memory[3])[at] = -INFINITY;
        add_integers(&p, 1, i % 7 ? (int32_t)queries : 0, (int32_t)keys);
        int64_t out[3] = {value_dim, heads, queries};
        set_output(&p, types[0], 3, out);
        check(&p, MIA_PRECISION_DEFAULT, false, 64, NULL, true);
        free_problem(&p);
    }
}

/* --- movement --------------------------------------------------------------------------------- */

static void test_copy_and_concat(void **state) {
    (void)state;
    for (unsigned i = 0; i < 30; i++) {
        mia_dtype dtype = i % 5 == 4 ? MIA_f64 : float_types[i % 3];
        int64_t extent[3] = {draw_size(), 1 + draw_size() % 40, 1 + draw_below(4)}, other[3];
        memcpy(other, extent, sizeof other);
        problem p = {.step = {.op = i % 2 ? MIA_OP_concat : MIA_OP_copy}};
        add_input(&p, dtype, make_view(dtype, 3, extent, i % 3 ? STRIDED : COMPACT, i % 4 > 1), 0);
        if (i % 2) {
            uint32_t mode = (uint32_t)draw_below(3);
            p.step.attributes.i[0] = mode;
            other[mode] = draw_size();
            add_input(&p, dtype, make_view(dtype, 3, other, i % 4 == 1 ? STRIDED : COMPACT, false), 0);
            extent[mode] += other[mode];
        }
        set_output(&p, dtype, 3, extent);
        check(&p, MIA_PRECISION_DEFAULT, false, 0, NULL, true);
        free_problem(&p);
    }
}

static void test_update(void **state) {
    (void)state;
    for (unsigned i = 0; i < 30; i++) {
        mia_dtype dtype = float_types[i % 3];
        int64_t extent[3] = {draw_size(), 1 + draw_size() % 40, 1 + draw_below(4)}, part[3];
        uint32_t mode = (uint32_t)draw_below(3);
        memcpy(part, extent, sizeof part);
        part[mode] = 1 + draw_below(extent[mode]);
        problem p = {.step = {.op = MIA_OP_update, .attributes.i[0] = mode}};
        add_input(&p, dtype, make_view(dtype, 3, extent, i % 2 ? STRIDED : COMPACT, false), 0);
        add_input(&p, dtype, make_view(dtype, 3, part, i % 3 ? STRIDED : COMPACT, false), 0);
        add_integers(&p, 1, -2, (int32_t)extent[mode] + 2);
        set_output(&p, dtype, 3, extent);
        check(&p, MIA_PRECISION_DEFAULT, false, 0, NULL, true);
        free_problem(&p);
    }
}

static void test_gather(void **state) {
    (void)state;
    for (unsigned i = 0; i < 55; i++) {
        mia_dtype dtype = weight_types[i % WEIGHT_TYPES];
        bool embedding = i / WEIGHT_TYPES % 2;
        int64_t length = draw_depth(dtype), table[2] = {length, draw_size()}, count = draw_size();
        problem p = {.step = {.op = embedding ? MIA_OP_embedding : MIA_OP_gather}};
        add_input(&p, dtype, make_view(dtype, 2, table, i % 2 ? STRIDED : COMPACT, true), 0);
        add_integers(&p, count, -1, (int32_t)table[1]);
        int64_t out[2] = {length, count};
        set_output(&p, embedding ? MIA_f32 : dtype, 2, out);
        check(&p, MIA_PRECISION_DEFAULT, false, 0, NULL, true);
        free_problem(&p);
    }
}

/* --- matmul ----------------------------------------------------------------------------------- */

static void decode_row(const problem *p, uint32_t input, int64_t at, float *row, int64_t length) {
    const mia__operand *operand = &p->step.inputs[input];
    const mia__block_format *format = mia__block_find(operand->dtype);
    if (format != NULL) {
        mia__block_decode_f32(format, (const char *)p->memory[input] + at * format->bytes, row, length);
        return;
    }
    for (int64_t i = 0; i < length; i++)
        row[i] = (float)number(operand->dtype, p->memory[input], (size_t)(at + i * operand->view.stride[0]));
}

static int64_t row_at(const mia__view *view, int64_t row, int64_t batch) {
    return view->offset + row * view->stride[1] +
           (view->ndim > 2 && view->extent[2] != 1 ? batch * view->stride[2] : 0);
}

/* Rounding of sums, and of activations: by half of max |x| / 127 in each block. */
static double *matmul_bounds(const problem *p, bool rounded) {
    const mia__view *w = &p->step.inputs[0].view, *x = &p->step.inputs[1].view, *out = &p->step.output.view;
    int64_t k = w->extent[0];
    double epsilon = epsilon_of(p->step.output.dtype);
    float *a = malloc((size_t)k * sizeof *a), *b = malloc((size_t)k * sizeof *b);
    double *bounds = malloc((size_t)mia__view_count(out) * sizeof *bounds), *at = bounds;
    for (int64_t batch = 0; batch < out->extent[2]; batch++) {
        for (int64_t m = 0; m < out->extent[1]; m++) {
            decode_row(p, 1, row_at(x, m, batch), b, k);
            for (int64_t n = 0; n < out->extent[0]; n++) {
                decode_row(p, 0, row_at(w, n, batch), a, k);
                double magnitude = 0, rounding = 0;
                for (int64_t first = 0; first < k; first += 32) {
                    double sum = 0, most = 0;
                    for (int64_t i = first; i < k && i < first + 32; i++) {
                        magnitude += fabs((double)a[i] * (double)b[i]);
                        sum += fabs((double)a[i]);
                        most = fmax(most, fabs((double)b[i]));
                    }
                    rounding += sum * most / 254;
                }
                *at++ = 16 * epsilon * magnitude + (rounded ? rounding * 1.00001 : 0);
            }
        }
    }
    free(a), free(b);
    return bounds;
}

static void check_matmul(mia_dtype dtype, mia_dtype x_dtype, bool prepared, mia_precision precision,
                         int64_t k, int64_t n, int64_t m, bool strided) {
    bool block = is_block(dtype);
    int64_t batch = prepared ? 1 : 1 + draw_below(3);
    int64_t w[3] = {k, n, strided && draw_below(2) ? 1 : batch}, x[3] = {k, m, batch}, out[3] = {n, m, batch};
    problem p = {.step = {.op = MIA_OP_matmul}};
    add_input(&p, dtype,
              make_view(dtype, 3, w, strided && !prepared ? STRIDED : COMPACT, block || draw_below(2)), 0);
    add_input(&p, x_dtype, make_view(x_dtype, 3, x, strided ? STRIDED : COMPACT, draw_below(2)), 0);
    set_output(&p, x_dtype, 3, out);
    double *bounds = matmul_bounds(&p, block && precision == MIA_PRECISION_DEFAULT);
    check(&p, precision, prepared, 0, bounds, true);
    free(bounds);
    free_problem(&p);
}

static void test_matmul(void **state) {
    (void)state;
    static const int64_t columns[] = {1, 2, 5, 13, 33};
    for (unsigned i = 0; i < 220; i++) {
        mia_dtype dtype = weight_types[i % WEIGHT_TYPES], x_dtype = draw_below(3) ? MIA_f32 : MIA_f16;
        unsigned round = i / WEIGHT_TYPES;
        if (draw_below(9) == 0) x_dtype = draw_below(2) ? MIA_bf16 : MIA_f64;
        check_matmul(dtype, x_dtype, round % 2, round / 2 % 2 ? MIA_PRECISION_EXACT : MIA_PRECISION_DEFAULT,
                     draw_depth(dtype), draw_size() % 100 + 1, columns[draw_below(5)], round / 4 % 2);
    }
    check_matmul(MIA_q8_0, MIA_f32, true, MIA_PRECISION_DEFAULT, 512, 257, 70, false);
    check_matmul(MIA_f32, MIA_f32, true, MIA_PRECISION_DEFAULT, 600, 70, 257, false);
}

/* NaN and infinity among activations reach every result of their column and no other; a column of tiny
 * numbers keeps its digits. */
static void check_odd_column(mia_dtype dtype, float odd) {
    int64_t k = mia_dtype_describe(dtype)->elements == 256 ? 256 : 96;
    int64_t w[3] = {k, 20, 1}, x[3] = {k, 3, 1}, out[3] = {20, 3, 1};
    problem p = {.step = {.op = MIA_OP_matmul}};
    add_input(&p, dtype, make_view(dtype, 3, w, COMPACT, true), 0);
    add_input(&p, MIA_f32, make_view(MIA_f32, 3, x, COMPACT, true), 0);
    set_output(&p, MIA_f32, 3, out);
    float *numbers = p.memory[1], got[60];
    if (isfinite(odd)) {
        for (int64_t j = 0; j < k; j++) numbers[k + j] = draw_float() * odd;
        double *bounds = matmul_bounds(&p, is_block(dtype));
        for (unsigned j = 0; j < 60; j++) bounds[j] += 4e-39; /* subnormal scales have few digits */
        check(&p, MIA_PRECISION_DEFAULT, true, 0, bounds, true);
        free(bounds);
    } else {
        numbers[k + 40] = odd;
        for (unsigned isa = 0; isa < isa_count; isa++) {
            run_on(backends[isa][0][0], &p, true, got);
            for (unsigned j = 0; j < 60; j++) assert_int_equal(isfinite(got[j]) != 0, j / 20 != 1);
        }
    }
    free_problem(&p);
}

static void test_matmul_not_finite(void **state) {
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY, 1e-42f, 1e-38f};
    for (unsigned i = 0; i < WEIGHT_TYPES * 5; i++) check_odd_column(weight_types[i / 5], odd[i % 5]);
}

/* What kernels take as constants of a format is what the table says. */
static void test_block_constants(void **state) {
    (void)state;
    for (mia_dtype dtype = MIA_f32; dtype < MIA_DTYPE_LIMIT; dtype = (mia_dtype)(dtype + 1)) {
        const mia__block_format *format = mia__block_find(dtype);
        assert_int_equal(mia__cpu_is_block(dtype), format != NULL);
        if (format == NULL) continue;
        assert_true(mia__cpu_format(dtype) < MIA__CPU_FORMATS);
        assert_int_equal(mia__cpu_quant_bits(dtype), format->bits);
        assert_int_equal(mia__cpu_quant_offset(dtype), format->offset);
        assert_int_equal(mia__cpu_has_least(dtype), format->has_least);
        assert_int_equal(mia__cpu_record_blocks(dtype) * MIA__CPU_BLOCK, format->elements);
        assert_true(mia__cpu_record_bytes(dtype) * 8 / mia__cpu_record_blocks(dtype) <= MIA__CPU_RECORD_MOST);
    }
}

/* What the cpu backend has no kernel for (a result with gaps, which no plan has) still runs, and is counted. */
static void test_fallback(void **state) {
    (void)state;
    int64_t extent[2] = {5, 7};
    problem p = {.step = {.op = MIA_OP_add}, .largest = 8};
    for (unsigned i = 0; i < 2; i++) add_input(&p, MIA_f64, make_view(MIA_f64, 2, extent, STRIDED, false), 0);
    set_output(&p, MIA_f64, 2, extent);
    p.step.output.view.stride[1] = 6;
    p.out_bytes = view_bytes(&p.step.output);
    double out[41], *expected = run_reference(&p);
    assert_int_equal(run_on(backends[0][0][0], &p, false, out), 1);
    for (int i = 0; i < 41; i++)
        if (i % 6 < 5) assert_true(out[i] == expected[i]);
    free(expected);
    free_problem(&p);
}

int main(void) {
    random_state = test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elementwise),
        cmocka_unit_test(test_unary_everywhere),
        cmocka_unit_test(test_binary_everywhere),
        cmocka_unit_test(test_convert),
        cmocka_unit_test(test_normalise),
        cmocka_unit_test(test_long_rows),
        cmocka_unit_test(test_large_mean),
        cmocka_unit_test(test_reduce),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_attention_types),
        cmocka_unit_test(test_copy_and_concat),
        cmocka_unit_test(test_update),
        cmocka_unit_test(test_gather),
        cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_matmul_not_finite),
        cmocka_unit_test(test_block_constants),
        cmocka_unit_test(test_fallback),
    };
    return cmocka_run_group_tests(tests, open_backends, close_backends);
}
