/* Operations of one's own: registered on a device at run time, then recorded, planned and named in messages
 * like those of ops.def. Two kinds:
 *
 *   element-wise   `number` says what one element becomes, `floats` does many of f32 at once; broadcasting,
 *                  types, strides, threads and fusion with neighbours come by themselves
 *   any other      `shape` says what comes out, `reference` makes it; `cpu` does so with all threads */
#ifndef MIA_CUSTOM_H
#define MIA_CUSTOM_H

#include <mia/device.h>
#include <mia/ops.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MIA_CUSTOM_OPERANDS 6 /* at most */

/* An operand, or a result, as far as rules care. */
typedef struct mia_custom_type {
    mia_dtype dtype;
    mia_shape shape;
} mia_custom_type;

/* A tensor as a kernel sees it: element (i, j, ...) is at data + (i stride[0] + j stride[1] + ...) units of
 * dtype. Strides may be 0 or negative. Packed types come as their scalars, with an inner mode first. */
typedef struct mia_custom_view {
    mia_dtype dtype;
    uint32_t ndim;
    const int64_t *extent, *stride;
    void *data; /* an operand's is not to be written */
} mia_custom_view;

typedef struct mia_custom_call {
    void *user;
    const mia_attributes *attributes;
    mia_custom_view operands[MIA_CUSTOM_OPERANDS];
    uint32_t count;
    mia_custom_view output; /* compact; overlaps no operand */
} mia_custom_call;

/* What to register; fields that are not needed stay zero. */
typedef struct mia_op_description {
    const char *name; /* a C identifier, copied */
    const char *doc;  /* one line, copied; may be NULL */
    uint32_t operands;
    uint64_t types; /* bit d set: dtype d is taken as the first operand; 0: f32, f16, bf16 and f64 */
    double bound;   /* largest error of `floats`, `cpu` or `wgsl`, as in ops.def */
    void *user;     /* handed to every function; used as long as the device is open */

    /* element-wise: operands are of one type and repeat to each other, the result is alike. x: operand_count
     * numbers, of an element each. Both from any thread, and they depend on nothing but what they get. */
    double (*number)(void *user, const mia_attributes *attributes, const double *x);
    /* `count` elements in a row; out may be one of x. May be NULL. */
    void (*floats)(void *user, const mia_attributes *attributes, float *out, const float *const *x,
                   size_t count);

    /* any other: type and shape of the result; a refusal says why in the error. */
    mia_status (*shape)(void *user, const mia_custom_type *operands, const mia_attributes *attributes,
                        mia_custom_type *out, mia_error *error);
    void (*reference)(const mia_custom_call *call);
    /* Makes places [begin, end) of the output's last mode (of rank 0: place 0); threads share them. May be
     * NULL. */
    void (*cpu)(const mia_custom_call *call, int64_t begin, int64_t end);

    /* Element-wise, for the webgpu backend: the body of a WGSL function of numbers x0, x1, ... (f32) and attributes f0,
     * f1 (f32), i0, i1, ... (i32) that returns an f32: "return x0 + f0 * x1;". Operands of other types come as f32, the
     * result becomes the type as by mia_convert. Copied; NULL: the operation does not run there. */
    const char *wgsl;
} mia_op_description;

/* Registers an operation; *out is its number on this device. Any thread; does not block. INVALID_ARGUMENT: no
 * device, a name that is no identifier or is taken, no or too many operands, functions of both kinds or of
 * none. NO_MEMORY. It stays until the device is closed. */
MIA_API MIA_MUST_CHECK mia_status mia_op_register(mia_device *device, const mia_op_description *description,
                                                  mia_op *out, mia_error *error);

/* The row of an operation that was registered on the device, or of ops.def; NULL for a number that is none. */
MIA_API const mia_op_info *mia_op_describe_on(mia_device *device, mia_op op);

/* Records a registered operation, like the functions of ops.h. attributes: copied, NULL is all zero. */
MIA_API mia_tensor mia_op_call(mia_op op, const mia_tensor *operands, uint32_t count,
                               const mia_attributes *attributes, MIA__SITE_ARGS);

/* The same with the result's type known: mia_call(f32, op, operands, count, attributes). */
#define mia_call(type, op, operands, count, attributes)                                                      \
    mia__as_##type(mia_op_call(op, operands, count, attributes, __FILE__, __LINE__), __FILE__, __LINE__)

#ifdef __cplusplus
}
#endif
#endif
