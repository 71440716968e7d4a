/* Where each cell of the table of operations runs: prints a line for every row and type of its mask, after
 * random programs of it on the cpu backend:
 *
 *     row <tab> type <tab> view | kernel | reference
 *
 * `kernel`: kernels of the cpu backend computed it, no step ran on a reference kernel. For scripts/operations.py,
 * which makes the documentation of it. */
#include "ops/draw.h"

#define PROGRAMS 12

/* Records a drawn program on the device and reads its result; whether it ran on cpu kernels alone. */
static bool runs_on_kernels(uint64_t *seed, mia_device *device, const row *of, mia_dtype dtype,
                            mia_dtype target) {
    program p;
    program_draw(seed, &p, of, dtype, target);
    mia_error error = {0};
    for (uint32_t i = 0; i < p.count; i++)
        if (!p.operands[i].repeated && operand_see(&p.operands[i], device, &error) != MIA_OK) {
            (void)fprintf(stderr, "%s of %s: %s\n", of->name, mia_dtype_describe(dtype)->name, error.message);
            exit(2);
        }
    for (uint32_t i = 0; i < p.count; i++)
        if (p.operands[i].repeated) p.operands[i].kept = false;
    uint64_t before = mia_device_count(device).fallbacks;
    result r = program_run(&p, device);
    bool good = mia_device_count(device).fallbacks == before;
    result_free(&r);
    program_free(&p);
    return good;
}

static bool cell_runs_on_kernels(uint64_t *seed, mia_device *device, const row *of, mia_dtype dtype) {
    bool pairs = of->form == SIGNATURE_DTYPE, good = true;
    for (int target = 1; target < (pairs ? MIA_DTYPE_LIMIT : 2); target++) {
        if (mia_dtype_describe((mia_dtype)target)->bytes == 0) continue;
        for (int i = 0; i < (pairs ? 3 : PROGRAMS); i++)
            good = runs_on_kernels(seed, device, of, dtype, (mia_dtype)target) && good;
    }
    return good;
}

int main(void) {
    uint64_t seed = 1;
    mia_device *device = NULL;
    if (mia_device_open(&(mia_device_options){.backend = "cpu", .threads = 1}, &device, NULL) != MIA_OK)
        return 2;
    for (size_t i = 0; i < ROWS; i++) {
        bool view = mia_op_describe(rows[i].op)->op_class == MIA_CLASS_VIEW;
        for (int d = 1; d < MIA_DTYPE_LIMIT; d++) {
            if ((rows[i].types >> d & 1) == 0) continue;
            bool good = cell_runs_on_kernels(&seed, device, &rows[i], (mia_dtype)d);
            printf("%s\t%s\t%s\n", rows[i].name, mia_dtype_describe((mia_dtype)d)->name,
                   !good  ? "reference"
                   : view ? "view"
                          : "kernel");
        }
    }
    return mia_device_close(device, NULL) == MIA_OK ? 0 : 1;
}
