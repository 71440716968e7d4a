/* What the processor has. Asked once; the answers never change. */
#include "backend/cpu/kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
#include <cpuid.h>
#define MIA_X86 1
#endif

static pthread_once_t asked = PTHREAD_ONCE_INIT;
static mia__cpu_isa best;
static bool has_vnni;

#if defined(MIA_X86) && defined(MIA_CPU_HAVE_AVX2)
/* Conversions of 16-bit floats; clang's __builtin_cpu_supports does not know the name. */
static bool has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

static void ask(void) {
#if defined(MIA_X86)
    __builtin_cpu_init();
    has_vnni = __builtin_cpu_supports("avx512vnni") > 0;
#if defined(MIA_CPU_HAVE_AVX2)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c()) best = MIA__CPU_AVX2;
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
