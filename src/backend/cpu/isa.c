/* What the processor has. Asked once; the answers never change. */
#include "backend/cpu/kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t asked = PTHREAD_ONCE_INIT;
static mia__cpu_isa best;
static bool has_vnni, has_bf16;

static void ask(void) {
#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
    __builtin_cpu_init();
    has_vnni = __builtin_cpu_supports("avx512vnni") > 0;
    has_bf16 = __builtin_cpu_supports("avx512bf16") > 0;
#if defined(MIA_CPU_HAVE_AVX2)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = MIA__CPU_AVX2;
#endif
#if defined(MIA_CPU_HAVE_AVX512)
    if (best == MIA__CPU_AVX2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        best = MIA__CPU_AVX512;
#endif
#endif
}

mia__cpu_isa mia__cpu_detect(void) {
    pthread_once(&asked, ask);
    mia__cpu_isa isa = best;
    const char *cap = getenv("MIA_CPU_ISA");
    if (cap != NULL && strcmp(cap, "generic") == 0) isa = MIA__CPU_GENERIC;
    if (cap != NULL && strcmp(cap, "avx2") == 0 && isa > MIA__CPU_AVX2) isa = MIA__CPU_AVX2;
    return isa;
}

bool mia__cpu_has_vnni(void) {
    pthread_once(&asked, ask);
    return has_vnni;
}

bool mia__cpu_has_bf16(void) {
    pthread_once(&asked, ask);
    return has_bf16;
}
