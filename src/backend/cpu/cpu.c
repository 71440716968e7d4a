/* The cpu backend: kernels in host memory, chosen by instruction set, run by a pool of threads. What a step
 * becomes is decided in compile.c; memory and transfers are those of every backend in host memory
 * (backend/host.c). */
#include "backend/cpu/cpu.h"

#include "backend/cpu/forms.h"

#include <stdio.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

/* Below this much work (estimated, of one thread) a step is not worth meeting for. */
#define SHARED_NANOSECONDS 2000.0

/* All but norms computed again in each matmul that reads them: they cost more than going to fetch them. */
#define FUSIONS                                                                                              \
    (MIA__FUSE_REDUCTION_PROLOGUE | MIA__FUSE_REDUCTION_EPILOGUE | MIA__FUSE_CONTRACTION_PROLOGUE |          \
     MIA__FUSE_CONTRACTION_NORM | MIA__FUSE_CONTRACTION_EPILOGUE | MIA__FUSE_SIBLINGS | MIA__FUSE_TOGETHER)

#define LARGE_PAGE ((size_t)2 << 20)

static void cpu_close(mia__backend *backend) {
    if (backend == NULL) return;
    mia__pool_close(((mia__cpu *)backend)->pool);
    mia__host_free(backend, sizeof(mia__cpu));
}

static void cpu_open(const mia_device_options *options, mia__backend **out, mia__completion completion) {
    mia__cpu *cpu = mia__host_new(&mia__backend_cpu, options, sizeof *cpu);
    unsigned threads = options != NULL && options->threads > 0 ? options->threads : mia__pool_processors();
    if (cpu != NULL) cpu->pool = mia__pool_open(options != NULL ? options->allocator : NULL, threads);
    if (cpu == NULL || cpu->pool == NULL) {
        cpu_close((mia__backend *)cpu);
        mia__complete(completion, MIA_ERROR_NO_MEMORY, "cpu: no memory to open the backend");
        return;
    }
    cpu->precision = options != NULL ? options->precision : MIA_PRECISION_DEFAULT;
    cpu->shared_nanoseconds = SHARED_NANOSECONDS;
    cpu->isa = mia__cpu_detect();
    mia__cpu_kernels_fill(&cpu->kernels, cpu->isa);
    cpu->host.base.rules.scratch = mia__cpu_scratch;
    cpu->host.base.rules.form = mia__cpu_form;
    cpu->host.base.rules.fused_inputs = options != NULL && options->no_fusion ? 0 : MIA__MAX_OPERANDS;
    cpu->host.base.rules.fusions = FUSIONS;
    *out = &cpu->host.base;
    mia__complete(completion, MIA_OK, NULL);
}

static void cpu_describe(const mia__backend *backend, mia_device_info *info) {
    const mia__cpu *cpu = (const mia__cpu *)backend;
    static const char *const names[MIA__CPU_ISAS] = {"portable C", "AVX2", "AVX-512"};
    bool wide = cpu->isa == MIA__CPU_AVX512;
    info->backend = backend->type->name;
    info->threads = mia__pool_threads(cpu->pool);
    snprintf(info->description, sizeof info->description, "%s%s; %u thread%s", names[cpu->isa],
             wide && mia__cpu_has_vnni() ? ", VNNI" : "", info->threads, info->threads == 1 ? "" : "s");
}

/* Weights are read front to back at the speed of memory, and with pages of 4 KB address translation halves
 * that. The kernel is asked for large ones; whether it has them is its affair. */
static mia_status cpu_allocate(mia__backend *backend, size_t bytes, mia__buffer *out, mia_error *error) {
    mia_status status = mia__host_allocate(backend, bytes, out, error);
#if defined(__linux__)
    uintptr_t begin = ((uintptr_t)out->host + LARGE_PAGE - 1) & ~(uintptr_t)(LARGE_PAGE - 1);
    uintptr_t end = ((uintptr_t)out->host + bytes) & ~(uintptr_t)(LARGE_PAGE - 1);
    if (status == MIA_OK && bytes >= 2 * LARGE_PAGE && begin < end)
        madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#endif
    return status;
}

const mia__backend_type mia__backend_cpu = {
    .name = "cpu",
    .description = "this machine's processors, with its vector instructions",
    .synchronous = true,
    .checks = true,
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .allocate = cpu_allocate,
    .release = mia__host_release,
    .adopt = mia__host_adopt,
    .upload = mia__host_upload,
    .download = mia__host_download,
    .prepare = mia__cpu_prepare,
    .compile = mia__cpu_compile,
    .discard = mia__cpu_discard,
    .run = mia__cpu_run,
    .poll = mia__host_poll,
};
