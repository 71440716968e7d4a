/* What the two halves of the GGUF reader share: gguf_read.c (header, metadata) and gguf_tensors.c. */
#ifndef MIA_WEIGHTS_GGUF_PARSER_H
#define MIA_WEIGHTS_GGUF_PARSER_H

#include "weights/reader.h"
#include "weights/weights.h"

#define MIA__GGUF_ALIGNMENT 32u

/* The fewest bytes that an entry takes: key length, type, one byte; name length, dimensions, type, offset. */
#define MIA__GGUF_METADATA_BYTES 13u
#define MIA__GGUF_TENSOR_BYTES   24u

typedef struct mia__gguf_parser {
    mia_weights *weights;
    mia__reader reader;
    mia_error *error;
    /* Where in the file we are, for messages. */
    const char *section; /* NULL, "metadata", "tensor" */
    size_t entry;
    bool has_name;
    mia_text name; /* of the entry, once it is known */
    bool has_element;
    uint64_t element;
} mia__gguf_parser;

/* "x.gguf: tensor "blk.0.attn_q.weight": <format>". Gives FORMAT. */
mia_status mia__gguf_fail(const mia__gguf_parser *parser, const char *format, ...) MIA_PRINTF(2, 3);
mia_status mia__gguf_no_memory(const mia__gguf_parser *parser);

/* The next field; `field` names it in messages. */
MIA_MUST_CHECK mia_status mia__gguf_u32(mia__gguf_parser *parser, const char *field, uint32_t *out);
MIA_MUST_CHECK mia_status mia__gguf_u64(mia__gguf_parser *parser, const char *field, uint64_t *out);
MIA_MUST_CHECK mia_status mia__gguf_text(mia__gguf_parser *parser, const char *field, mia_text *out);

/* Makes room for one more element of a growing array of the weights. */
MIA_MUST_CHECK mia_status mia__gguf_reserve(const mia__gguf_parser *parser, void **array, size_t count,
                                            size_t *capacity, size_t size);

/* Reads `count` tensor descriptions and checks where their data lie. */
MIA_MUST_CHECK mia_status mia__gguf_tensors(mia__gguf_parser *parser, uint64_t count, uint64_t alignment);

#endif
