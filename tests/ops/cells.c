/* Where each cell of the table of operations runs: prints a line for every row and type of its mask, after
 * random programs of it on the cpu backend, and on the webgpu backend with a GPU that computes nothing, once with
 * all that a GPU may have and once with the least:
 *
 *     row <tab> type <tab> view | kernel | reference <tab> runs | refused | types that it refuses to convert to
 *
 * `kernel`: kernels of the cpu backend computed it, no step ran on a reference kernel. `runs`: webgpu compiled every
 * program; f64, which no GPU has, is left out. For scripts/operations.py, which makes the documentation of it. */
#include "backend/webgpu/webgpu.h"
#include "ops/draw.h"
#include "ops/tolerance.h"
#include "support/recording_gpu.h"

#define PROGRAMS 12
#define GPUS     2

static mia_device *cpu, *gpus[GPUS];
static uint64_t seed = 1;

/* Draws a program, with what the operation sees of its operands. */
static void draw(program *p, const row *of, mia_dtype dtype, mia_dtype target) {
    program_draw(&seed, p, of, dtype, target);
    mia_error error = {0};
    for (uint32_t i = 0; i < p->count; i++)
        if (!p->operands[i].repeated && operand_see(&p->operands[i], cpu, &error) != MIA_OK) {
            (void)fprintf(stderr, "%s of %s: %s\n", of->name, mia_dtype_describe(dtype)->name, error.message);
            exit(2);
        }
    for (uint32_t i = 0; i < p->count; i++)
        if (p->operands[i].repeated) p->operands[i].kept = false;
}

/* Targets of a row: all types where it is of two, else one that says nothing. */
static bool next_target(const row *of, mia_dtype *target) {
    int next = (int)*target + 1;
    while (next < MIA_DTYPE_LIMIT && mia_dtype_describe((mia_dtype)next)->bytes == 0) next++;
    *target = (mia_dtype)next;
    return next < (of->form == SIGNATURE_DTYPE ? MIA_DTYPE_LIMIT : MIA_NONE + 2);
}

static int programs_of(const row *of) {
    return of->form == SIGNATURE_DTYPE ? 3 : PROGRAMS;
}

/* --- cpu -------------------------------------------------------------------------------------- */

static bool runs_on_kernels(const row *of, mia_dtype dtype) {
    uint64_t before = mia_device_count(cpu).fallbacks;
    for (mia_dtype target = MIA_NONE; next_target(of, &target);)
        for (int i = 0; i < programs_of(of); i++) {
            program p;
            draw(&p, of, dtype, target);
            result r = program_run(&p, cpu);
            result_free(&r);
            program_free(&p);
        }
    return mia_device_count(cpu).fallbacks == before;
}

/* --- webgpu ----------------------------------------------------------------------------------- */

static mia__gpu_info everything(void) {
    mia__gpu_info info = recording_info();
    info.features = MIA__GPU_F16 | MIA__GPU_SUBGROUPS | MIA__GPU_TIMESTAMPS | MIA__GPU_SUBGROUP_MATRIX |
                    MIA__GPU_PACKED_DOT;
    info.subgroup_least = info.subgroup_most = 32;
    info.matrices[0] = (mia__gpu_matrix){MIA_f16, MIA_f32, 16, 16, 16};
    info.matrices[1] = (mia__gpu_matrix){MIA_f16, MIA_f16, 16, 16, 16};
    info.matrix_count = 2;
    info.limits.buffer_bytes = UINT64_C(4) << 30;
    info.limits.binding_bytes = UINT64_C(2) << 30;
    info.limits.storage_buffers = 16;
    info.limits.workgroup_bytes = 49152;
    info.limits.workgroup_invocations = 1024;
    info.limits.workgroup_size[0] = info.limits.workgroup_size[1] = 1024;
    return info;
}

static mia_device *open_device(const mia_device_options *options) {
    mia_device *device = NULL;
    mia_error error = {0};
    if (mia_device_open(options, &device, &error) == MIA_OK) return device;
    (void)fprintf(stderr, "%s: %s\n", options->backend, error.message);
    exit(2);
}

/* Anew for each cell: the recording GPU remembers all that it was asked. */
static void open_gpus(void) {
    const mia__gpu_info info = everything();
    mia__webgpu_set_seam(&recording_gpu_type);
    for (int g = 0; g < GPUS; g++) {
        recording_set(&(recording_settings){.info = g == 0 ? &info : NULL});
        gpus[g] = open_device(&(mia_device_options){.backend = "webgpu"});
    }
}

static void close_gpus(void) {
    for (int g = 0; g < GPUS; g++)
        if (mia_device_close(gpus[g], NULL) != MIA_OK) exit(2);
}

/* Whether every program that has a meaning is compiled. */
static bool compiles(const row *of, mia_dtype dtype, mia_dtype target) {
    bool all = true;
    for (int i = 0; i < programs_of(of); i++) {
        program p;
        draw(&p, of, dtype, target);
        for (int g = 0; g < GPUS; g++) {
            result r = program_run(&p, gpus[g]);
            all = all && (r.status == MIA_OK || p.expected != MIA_OK);
            result_free(&r);
        }
        program_free(&p);
    }
    return all;
}

static void print_webgpu(const row *of, mia_dtype dtype) {
    const char *before = "";
    open_gpus();
    for (mia_dtype target = MIA_NONE; next_target(of, &target);) {
        if (dtype == MIA_f64 || (of->form == SIGNATURE_DTYPE && target == MIA_f64)) continue;
        if (compiles(of, dtype, target)) continue;
        printf("%s%s", before, of->form == SIGNATURE_DTYPE ? mia_dtype_describe(target)->name : "refused");
        before = " ";
    }
    close_gpus();
    printf("%s\n", *before != 0 ? "" : dtype == MIA_f64 ? "refused" : "runs");
}

int main(void) {
    cpu = open_device(&(mia_device_options){.backend = "cpu", .threads = 1});
    for (size_t i = 0; i < ROWS; i++) {
        bool view = mia_op_describe(rows[i].op)->op_class == MIA_CLASS_VIEW;
        for (int d = 1; d < MIA_DTYPE_LIMIT; d++) {
            if ((rows[i].types >> d & 1) == 0) continue;
            only_normal_numbers = false;
            bool good = runs_on_kernels(&rows[i], (mia_dtype)d);
            printf("%s\t%s\t%s\t", rows[i].name, mia_dtype_describe((mia_dtype)d)->name,
                   !good  ? "reference"
                   : view ? "view"
                          : "kernel");
            only_normal_numbers = true; /* and no operands of f64 */
            print_webgpu(&rows[i], (mia_dtype)d);
        }
    }
    return mia_device_close(cpu, NULL) == MIA_OK ? 0 : 1;
}
