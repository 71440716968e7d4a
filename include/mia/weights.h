/* Weights files: a source of bytes, and the named tensors and metadata that a file describes.
 *
 * A mia_weights holds descriptors; numbers are read when a run first needs them. mia_weights_tensor
 * (tensor.h) makes a constant of a named tensor on a device. */
#ifndef MIA_WEIGHTS_H
#define MIA_WEIGHTS_H

#include <mia/dtype.h>
#include <mia/layout.h>
#include <mia/memory.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that can be read at any offset, from any thread. `mapped`, when not NULL, is all of them in memory
 * for as long as the source is open, and `read` need not be called. `read` fills exactly `bytes` bytes or
 * fails with a message. `close` may be NULL. `name` is used in messages ("models/story.gguf") and must
 * outlive the source. */
typedef struct mia_source {
    const char *name;
    uint64_t size;
    const void *mapped;
    mia_status (*read)(void *user, uint64_t offset, void *into, size_t bytes, mia_error *error);
    void (*close)(void *user);
    void *user;
} mia_source;

/* Opens a file as a source, mapped where the system can; the name is copied. Blocks. Fails with NOT_FOUND, IO
 * or NO_MEMORY. The source is closed with mia_source_close. */
MIA_API MIA_MUST_CHECK mia_status mia_source_open_file(const char *path, const mia_allocator *allocator,
                                                       mia_source *out, mia_error *error);

/* A source over memory that the caller keeps alive. Cannot fail. */
MIA_API mia_source mia_source_of_memory(const char *name, const void *bytes, size_t size);

/* Calls the source's close, if any, and zeroes it, so that a second call does nothing. */
MIA_API void mia_source_close(mia_source *source);

typedef struct mia_weights mia_weights;

typedef struct mia_weights_options {
    const mia_allocator *allocator; /* copied; NULL: the C library's */
} mia_weights_options;

/* Parses a GGUF (v2, v3) header from a source. On success the weights own the source, on failure the source
 * is closed too. options may be NULL. Fails with FORMAT (naming the source, the field and the fault), IO,
 * NO_MEMORY. No tensor data is read. */
MIA_API MIA_MUST_CHECK mia_status mia_weights_open(mia_source source, const mia_weights_options *options,
                                                   mia_weights **out, mia_error *error);

/* mia_source_open_file and mia_weights_open in one call. */
MIA_API MIA_MUST_CHECK mia_status mia_weights_open_file(const char *path, const mia_weights_options *options,
                                                        mia_weights **out, mia_error *error);

/* Closes the weights, and their source once no run in progress needs it any more. Constants that were made
 * from them become stale handles. NULL is fine. */
MIA_API void mia_weights_close(mia_weights *weights);

MIA_API const char *mia_weights_name(const mia_weights *weights); /* the source's name */
MIA_API uint64_t mia_weights_size(const mia_weights *weights);    /* the source's bytes */

/* --- metadata --------------------------------------------------------------------------------- */

/* Numbers as in GGUF. */
typedef enum mia_value_type {
    MIA_VALUE_U8 = 0,
    MIA_VALUE_I8 = 1,
    MIA_VALUE_U16 = 2,
    MIA_VALUE_I16 = 3,
    MIA_VALUE_U32 = 4,
    MIA_VALUE_I32 = 5,
    MIA_VALUE_F32 = 6,
    MIA_VALUE_BOOL = 7,
    MIA_VALUE_STRING = 8,
    MIA_VALUE_ARRAY = 9,
    MIA_VALUE_U64 = 10,
    MIA_VALUE_I64 = 11,
    MIA_VALUE_F64 = 12
} mia_value_type;

typedef struct mia_text { /* not zero-terminated; may hold any byte */
    const char *bytes;
    size_t length;
} mia_text;

/* Writes text as printable UTF-8 for messages and tables: control characters, quotes, backslashes and bytes
 * that are not UTF-8 become escapes (\n, \x07). Writes at most size bytes, a final zero included; what does
 * not fit ends in "...". Returns the length written. size must be at least 8. */
MIA_API size_t mia_text_escape(mia_text text, char *out, size_t size);

/* One metadata value. Text and arrays point into memory of the weights. */
typedef struct mia_value {
    mia_value_type type;
    mia_value_type element_type; /* of an array */
    uint64_t count;              /* elements of an array, else 1 */
    union {
        uint64_t u; /* U8 .. U64, BOOL */
        int64_t i;  /* I8 .. I64 */
        double f;   /* F32, F64 */
        mia_text text;
    } as;
    const void *array; /* opaque; read elements with mia_value_element */
} mia_value;

MIA_API size_t mia_weights_metadata_count(const mia_weights *weights);

/* The entry at index (in file order): its key and value. index must be in range. */
MIA_API mia_value mia_weights_metadata(const mia_weights *weights, size_t index, mia_text *key);

/* Looks a key up; false when there is none. O(1). */
MIA_API bool mia_weights_find(const mia_weights *weights, const char *key, mia_value *out);

/* Element `index` of an array value; a zero value (type U8, 0) outside the range. O(1), also for text. */
MIA_API mia_value mia_value_element(const mia_value *array, uint64_t index);

/* Typed look-ups. NOT_FOUND when the key is missing, FORMAT when it has another type or does not fit; the
 * message names the file and the key. */
MIA_API MIA_MUST_CHECK mia_status mia_weights_get_u32(const mia_weights *weights, const char *key,
                                                      uint32_t *out, mia_error *error);
MIA_API MIA_MUST_CHECK mia_status mia_weights_get_f32(const mia_weights *weights, const char *key, float *out,
                                                      mia_error *error);
MIA_API MIA_MUST_CHECK mia_status mia_weights_get_bool(const mia_weights *weights, const char *key, bool *out,
                                                       mia_error *error);
MIA_API MIA_MUST_CHECK mia_status mia_weights_get_text(const mia_weights *weights, const char *key,
                                                       mia_text *out, mia_error *error);

/* --- tensors ---------------------------------------------------------------------------------- */

typedef struct mia_tensor_info {
    mia_text name;
    mia_dtype dtype;       /* MIA_NONE when Mia does not compute with this type */
    const char *type_name; /* the file's name of the type, "q4_0", "iq2_xs" */
    mia_shape shape;       /* first mode fastest, in elements */
    uint64_t offset;       /* of the first byte in the source */
    uint64_t bytes;
} mia_tensor_info;

MIA_API size_t mia_weights_tensor_count(const mia_weights *weights);

/* The tensor at index, in file order; index must be in range. */
MIA_API const mia_tensor_info *mia_weights_tensor_at(const mia_weights *weights, size_t index);

/* The tensor of that name, or NULL. O(1). */
MIA_API const mia_tensor_info *mia_weights_find_tensor(const mia_weights *weights, const char *name);

/* Copies `bytes` bytes from `offset` within the tensor's data. Blocks. Fails with INVALID_ARGUMENT, IO. */
MIA_API MIA_MUST_CHECK mia_status mia_weights_read(const mia_weights *weights, const mia_tensor_info *tensor,
                                                   uint64_t offset, void *into, size_t bytes,
                                                   mia_error *error);

/* The tensor's bytes in memory when the source is mapped, else NULL. */
MIA_API const void *mia_weights_mapped(const mia_weights *weights, const mia_tensor_info *tensor);

/* --- writing ---------------------------------------------------------------------------------- */

/* Writes a GGUF file (v3, little-endian, alignment 32): first all metadata, then all tensors' names, then the
 * bytes of each tensor in the order of declaration. The adding functions remember the first fault and do
 * nothing from then on; mia_gguf_writer_close reports it. Texts and arrays are copied. Not for use from two
 * threads at once. */
typedef struct mia_gguf_writer mia_gguf_writer;

/* Creates the file, or empties one that is there. Fails with IO, NO_MEMORY. */
MIA_API MIA_MUST_CHECK mia_status mia_gguf_writer_open(const char *path, const mia_allocator *allocator,
                                                       mia_gguf_writer **out, mia_error *error);

/* Metadata; a key may be given once, and only before the first mia_gguf_writer_data. */
MIA_API void mia_gguf_writer_u32(mia_gguf_writer *writer, const char *key, uint32_t value);
MIA_API void mia_gguf_writer_f32(mia_gguf_writer *writer, const char *key, float value);
MIA_API void mia_gguf_writer_bool(mia_gguf_writer *writer, const char *key, bool value);
MIA_API void mia_gguf_writer_text(mia_gguf_writer *writer, const char *key, mia_text value);
MIA_API void mia_gguf_writer_texts(mia_gguf_writer *writer, const char *key, const mia_text *values,
                                   size_t count);
MIA_API void mia_gguf_writer_f32s(mia_gguf_writer *writer, const char *key, const float *values,
                                  size_t count);
MIA_API void mia_gguf_writer_i32s(mia_gguf_writer *writer, const char *key, const int32_t *values,
                                  size_t count);

/* Declares a tensor: a dtype that GGUF has, a shape in elements (the first extent in whole blocks). */
MIA_API void mia_gguf_writer_tensor(mia_gguf_writer *writer, const char *name, mia_dtype dtype,
                                    mia_shape shape);

/* The next bytes of the declared tensors' data, in pieces of any size; padding between tensors is written by
 * the writer. Blocks. Fails with the first fault so far: INVALID_ARGUMENT, IO, NO_MEMORY. */
MIA_API MIA_MUST_CHECK mia_status mia_gguf_writer_data(mia_gguf_writer *writer, const void *bytes,
                                                       size_t count, mia_error *error);

/* Completes the file and frees the writer, also on failure. Fails with the first fault of all (a full disk,
 * say) or when data is missing; a regular file that is not complete is removed. NULL is fine. */
MIA_API MIA_MUST_CHECK mia_status mia_gguf_writer_close(mia_gguf_writer *writer, mia_error *error);

#ifdef __cplusplus
}
#endif
#endif
