/* The table of backend/webgpu/abi.h. */
#include "support/abi_table.h"

#include "backend/webgpu/abi.h"

const abi_row *abi_table_ours(size_t *count) {
    static const abi_row rows[] = {
#include "support/abi_rows.def"
        {"buffer map read", MIA__WGPU_BUFFER_MAP_READ},
        {"buffer copy source", MIA__WGPU_BUFFER_COPY_SRC},
        {"buffer copy destination", MIA__WGPU_BUFFER_COPY_DST},
        {"buffer uniform", MIA__WGPU_BUFFER_UNIFORM},
        {"buffer storage", MIA__WGPU_BUFFER_STORAGE},
        {"buffer query resolve", MIA__WGPU_BUFFER_QUERY_RESOLVE},
        {"map read", MIA__WGPU_MAP_READ},
        {"stage compute", MIA__WGPU_STAGE_COMPUTE},
    };
    *count = sizeof rows / sizeof rows[0];
    return rows;
}
