/* Fuzz target: any bytes as a GGUF file, through a mapped source and through one that can only be read. */
#include "replay.h"

#include <mia/weights.h>
#include <stdlib.h>
#include <string.h>

typedef struct readable {
    const uint8_t *bytes;
    size_t count;
} readable;

static mia_status read_bytes(void *user, uint64_t offset, void *into, size_t bytes, mia_error *error) {
    const readable *file = user;
    if (offset > file->count || bytes > file->count - offset)
        abort(); /* the parser must check before it reads */
    (void)error;
    if (bytes > 0) memcpy(into, file->bytes + offset, bytes);
    return MIA_OK;
}

static uint64_t walk_value(const mia_value *value) {
    uint64_t sum = value->as.u;
    if (value->type == MIA_VALUE_STRING) {
        char shown[64];
        sum = mia_text_escape(value->as.text, shown, sizeof shown) + value->as.text.length;
    }
    for (uint64_t i = 0; value->type == MIA_VALUE_ARRAY && i < value->count; i++) {
        mia_value element = mia_value_element(value, i);
        sum += walk_value(&element);
    }
    return sum;
}

/* Reads all that the file describes. */
static uint64_t walk(const mia_weights *weights) {
    uint64_t sum = 0;
    for (size_t i = 0; i < mia_weights_metadata_count(weights); i++) {
        mia_text key;
        mia_value value = mia_weights_metadata(weights, i, &key);
        sum += walk_value(&value) + key.length;
    }
    for (size_t i = 0; i < mia_weights_tensor_count(weights); i++) {
        const mia_tensor_info *tensor = mia_weights_tensor_at(weights, i);
        for (uint64_t at = 0; at < tensor->bytes; at += 64) {
            uint8_t part[64];
            uint64_t left = tensor->bytes - at;
            if (mia_weights_read(weights, tensor, at, part, left < 64 ? (size_t)left : 64, NULL) != MIA_OK)
                abort();
            sum += part[0];
        }
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    readable file = {bytes, count};
    mia_source sources[] = {
        mia_source_of_memory("fuzz", bytes, count),
        {"fuzz", count, NULL, read_bytes, NULL, &file},
    };
    uint64_t sums[2] = {0, 0};
    mia_error errors[2] = {{MIA_OK, ""}, {MIA_OK, ""}};
    for (int way = 0; way < 2; way++) {
        mia_weights *weights = NULL;
        if (mia_weights_open(sources[way], NULL, &weights, &errors[way]) == MIA_OK) sums[way] = walk(weights);
        mia_weights_close(weights);
    }
    if (count > 0 && (sums[0] != sums[1] || strcmp(errors[0].message, errors[1].message) != 0)) abort();
    return 0;
}
