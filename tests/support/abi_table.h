/* Sizes, offsets and values of webgpu.h as tables: of backend/webgpu/abi.h, and of a real header. */
#ifndef MIA_TEST_SUPPORT_ABI_TABLE_H
#define MIA_TEST_SUPPORT_ABI_TABLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct abi_row {
    const char *name;
    uint64_t value;
} abi_row;

const abi_row *abi_table_ours(size_t *count);
const abi_row *abi_table_standard(size_t *count); /* NULL where no webgpu.h was found */

#define STRUCT(type)         {#type, sizeof(type)},
#define MEMBER(type, member) {#type "." #member, offsetof(type, member)},
#define VALUE(constant)      {#constant, (uint64_t)(constant)},

#endif
