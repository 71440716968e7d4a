/* Where each cell of the table of operations runs: prints a line for every row and type of its mask, after
 * random programs of it on the cpu backend, and on the webgpu backend with a GPU that computes nothing, once with
 * all that a GPU may have and once with the least:
 *
 *     row <tab> type <tab> view | kernel | reference <tab> runs | refused | types that it refuses to convert to
 *
 * `kernel`: kernels of the cpu backend computed it, no step ran on a reference kernel. `runs`: webgpu compiled every
 * program; f64, which no GPU has, is left out. For scripts/operations.py, which makes the documentation of it. */
#include "ops/cells.h"
#include "backend/webgpu/webgpu.h"
#include "ops/tolerance.h"
#include "support/recording_gpu.h"

#define GPUS 2

static mia_device *cpu, *gpus[GPUS];
static uint64_t seed = 1;

/* --- cpu -------------------------------------------------------------------------------------- */

static bool runs_on_kernels(const row *of, mia_dtype dtype) {
    uint64_t before = mia_device_count(cpu).fallbacks;
    for (mia_dtype target = MIA_NONE; row_next_target(of, &target);)
        for (int i = 0; i < row_programs(of); i++) {
            program p;
            program_draw_seen(&seed, &p, of, dtype, target, cpu);
            result r = program_run(&p, cpu);
            result_free(&r);
            program_free(&p);
        }
    return mia_device_count(cpu).fallbacks == before;
}

/* --- webgpu ----------------------------------------------------------------------------------- */

static mia_device *open_device(const mia_device_options *options) {
    mia_device *device = NULL;
    mia_error error = {0};
    if (mia_device_open(options, &device, &error) == MIA_OK) return device;
    (void)fprintf(stderr, "%s: %s\n", options->backend, error.message);
    exit(2);
}

/* Anew for each cell: the recording GPU remembers all that it was asked. */
static void open_gpus(void) {
    const mia__gpu_info info = recording_info_large();
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
    for (int i = 0; i < row_programs(of); i++) {
        program p;
        program_draw_seen(&seed, &p, of, dtype, target, cpu);
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
    for (mia_dtype target = MIA_NONE; row_next_target(of, &target);) {
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
