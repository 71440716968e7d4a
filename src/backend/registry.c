/* The backends of this build, in order of preference (backend.h). A new one is an include and a line. */
#include "backend/backend.h"
#include "backend/cpu/cpu.h"
#include "backend/null/null.h"
#include "backend/reference/reference.h"
#include "backend/webgpu/webgpu.h"

static const mia__backend_type *const types[] = {
    &mia__backend_cpu,
    &mia__backend_reference,
    &mia__backend_webgpu,
    &mia__backend_null,
};

const mia__backend_type *const *mia__backend_types(size_t *count) {
    *count = sizeof types / sizeof types[0];
    return types;
}
