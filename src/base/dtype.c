/* Facts of element types, from dtype.def. */
#include <mia/dtype.h>

static const mia_dtype_info none = {"none", MIA_KIND_NONE, 0, 0, -1};

static const mia_dtype_info table[MIA_DTYPE_LIMIT] = {
#define MIA_DTYPE(name, tag, kind, elements, bytes, host, ggml)                                              \
    [tag] = {#name, MIA_KIND_##kind, elements, bytes, ggml},
#include <mia/dtype.def>
#undef MIA_DTYPE
};

const mia_dtype_info *mia_dtype_describe(mia_dtype dtype) {
    if ((int)dtype < 0 || dtype >= MIA_DTYPE_LIMIT || table[dtype].name == NULL) return &none;
    return &table[dtype];
}
