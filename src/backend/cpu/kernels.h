/* Inner kernels: what an instruction set gives. Each works on contiguous memory and knows nothing of steps or
 * threads.
 *
 * The table of an open backend begins as the generic one (portable C) and is overridden by each instruction
 * set that the processor has (table.c). The three versions are made from the same templates (template/), so
 * they differ in the width of vectors and in little else. Pointers need no more alignment than their
 * elements. */
#ifndef MIA_BACKEND_CPU_KERNELS_H
#define MIA_BACKEND_CPU_KERNELS_H

#include <mia/custom.h>

typedef enum mia__cpu_isa {
    MIA__CPU_GENERIC = 0,
    MIA__CPU_AVX2,
    MIA__CPU_AVX512,
    MIA__CPU_ISAS
} mia__cpu_isa;

#define MIA__CPU_GROUP 16 /* output rows that prepared weights interleave */
#define MIA__CPU_LINES 8  /* output rows of a panel of doubles */
#define MIA__CPU_BLOCK 32 /* elements of a quantised block */

/* A block of 32 activations rounded to 8 bits: x is about scale * quants. */
typedef struct mia__cpu_block {
    int8_t quants[MIA__CPU_BLOCK];
    float scale;
    int16_t sum, half; /* of quants; of the first half of them */
} mia__cpu_block;

/* A group of 16 rows of prepared block-quantised weights (blocks.h draws it). */
typedef struct mia__cpu_quants {
    const uint8_t *quants;
    const uint8_t *scales;
} mia__cpu_quants;

/* (x - centre - shift) * factor: the mean in two parts, so that no digit of a large one is lost. */
typedef struct mia__cpu_normal {
    float centre, shift, factor;
} mia__cpu_normal;

/* How a tile of a product is written: `n` outputs of each of `m` columns, `stride` floats apart. */
typedef struct mia__cpu_tile {
    float *out;
    int64_t stride;
    unsigned n, m;
    bool more; /* adds to what is there */
} mia__cpu_tile;

/* A group of weights by columns of activations; and the weights alone. `blocks` of 32 elements: whole blocks
 * of the format. */
typedef void (*mia__cpu_product)(mia__cpu_quants w, const mia__cpu_block *x, size_t blocks,
                                 const mia__cpu_tile *tile);
typedef void (*mia__cpu_unpack)(mia__cpu_quants w, size_t blocks, float *out);

/* Attention of `rows` rows of one group of heads to a chunk of its keys, see template/attention.h. A row is one
 * query of one head. */
#define MIA__CPU_ATTENTION_ROWS  8
#define MIA__CPU_ATTENTION_CHUNK 128 /* keys */
typedef struct mia__cpu_attention_tile {
    unsigned rows;
    float scale;
    const float *q[MIA__CPU_ATTENTION_ROWS];
    const float *mask[MIA__CPU_ATTENTION_ROWS]; /* added to the chunk's scores; may be NULL */
    float *out[MIA__CPU_ATTENTION_ROWS];        /* values weighed so far */
    float greatest[MIA__CPU_ATTENTION_ROWS], sum[MIA__CPU_ATTENTION_ROWS]; /* so far: score, weights */
    int64_t seen[MIA__CPU_ATTENTION_ROWS];  /* keys of the chunk that a row sees */
    float rescale[MIA__CPU_ATTENTION_ROWS]; /* what the chunk makes of the weights before it */
    float scores[MIA__CPU_ATTENTION_ROWS][MIA__CPU_ATTENTION_CHUNK];
} mia__cpu_attention_tile;

/* A block of keys or values: `count` rows, of which `width` elements from element `first` on are there. */
typedef struct mia__cpu_attention_block {
    const void *from;
    int64_t stride; /* elements from row to row */
    int64_t count, first, width;
} mia__cpu_attention_block;

/* Places of element-wise operations in the tables below: their numbers in ops.def follow each other. */
static inline unsigned mia__cpu_unary(mia_op op) {
    return (unsigned)op - MIA_OP_neg;
}
static inline unsigned mia__cpu_binary(mia_op op) {
    return (unsigned)op - MIA_OP_add;
}
/* Of block formats: their tags follow each other, too. */
#define MIA__CPU_FORMATS 8
static inline unsigned mia__cpu_format(mia_dtype dtype) {
    return (unsigned)dtype - MIA_q8_0;
}

#define MIA__CPU_UNARIES     (MIA_OP_squared_relu - MIA_OP_neg + 1)
#define MIA__CPU_BINARIES    (MIA_OP_fmod - MIA_OP_add + 1)
#define MIA__CPU_ELEMENTWISE (MIA_OP_clamp - MIA_OP_add + 1)

/* The types that element-wise operations compute in. Narrower ones are widened first: f16 and bf16 to f32; i8,
 * u8 and bool8 to i32. */
typedef enum mia__cpu_lane {
    MIA__CPU_LANE_F32,
    MIA__CPU_LANE_F64,
    MIA__CPU_LANE_I32,
    MIA__CPU_LANE_U32,
    MIA__CPU_LANES
} mia__cpu_lane;

/* One operation on contiguous elements of a lane; out may be an operand. Conditions, and results of
 * comparisons, are i32. */
typedef struct mia__cpu_span {
    void *out;
    const void *in[MIA_CUSTOM_OPERANDS];
    size_t count;
    double f[2];                                    /* the operation's real attributes */
    double (*real)(const double *, const double *); /* for the kernel that goes by a function of numbers */
    const mia_op_description *custom;               /* of an operation that a program registered */
    const mia_attributes *attributes;
    mia_dtype dtype; /* of its result */
    uint32_t operands;
} mia__cpu_span;
typedef void (*mia__cpu_span_kernel)(const mia__cpu_span *span);

typedef struct mia__cpu_kernels {
    /* element-wise: out may be an operand */
    void (*unary[MIA__CPU_UNARIES])(float *out, const float *x, size_t count); /* by mia__cpu_unary(op) */
    void (*binary[MIA__CPU_BINARIES])(float *out, const float *a, const float *b,
                                      size_t count);                  /* by mia__cpu_binary(op) */
    mia__cpu_span_kernel spans[MIA__CPU_LANES][MIA__CPU_ELEMENTWISE]; /* by op - MIA_OP_add; NULL: none */
    mia__cpu_span_kernel convert[MIA__CPU_LANES][MIA_bool8 + 1];      /* to a type; NULL: the numbers stay */
    mia__cpu_span_kernel fit[MIA_bool8 + 1]; /* rounds, or wraps, to a narrower type; NULL: none is needed */
    void (*widen_i8)(int32_t *out, const int8_t *x, size_t count);
    void (*widen_u8)(int32_t *out, const uint8_t *x, size_t count);
    void (*widen_bool8)(int32_t *out, const uint8_t *x, size_t count);
    void (*narrow_bytes)(uint8_t *out, const int32_t *x, size_t count);
    void (*widen_f16)(float *out, const uint16_t *x, size_t count);
    void (*widen_bf16)(float *out, const uint16_t *x, size_t count);
    void (*narrow_f16)(uint16_t *out, const float *x, size_t count);
    void (*narrow_bf16)(uint16_t *out, const float *x, size_t count);

    /* rows */
    float (*sum)(const float *x, float centre, size_t count);            /* of x - centre */
    float (*sum_of_squares)(const float *x, float centre, size_t count); /* of x - centre */
    float (*greatest)(const float *x, size_t count);                     /* NaN if any is; count > 0 */
    float (*least)(const float *x, size_t count);                        /* NaN if any is; count > 0 */
    size_t (*find)(const float *x, float value, size_t count); /* where it is first, or a NaN; or count */
    /* best[i] and its number, where sign * x[i] is greater, or the first NaN. */
    void (*keep_best)(float *best, int32_t *numbers, const float *x, float sign, int32_t number,
                      size_t count);
    /* The product as mantissa * 2^exponent; count is at most 2048. False, and nothing, if a factor is zero,
     * subnormal or not finite. */
    bool (*multiply)(const float *x, size_t count, double *mantissa, int64_t *exponent);
    float (*exponentials)(float *out, const float *x, float greatest,
                          size_t count); /* exp(x - greatest); their sum */
    float (*sum_of_exponentials)(const float *x, float greatest, size_t count);
    void (*scale)(float *out, const float *x, float factor, size_t count);
    void (*normalise)(float *out, const float *x, const mia__cpu_normal *normal, const float *weight,
                      const float *bias, size_t count); /* bias may be NULL */
    void (*normalise_evenly)(float *out, const float *x, const mia__cpu_normal *normal, float weight,
                             float bias, size_t count);

    /* rope of pairs, by cosines and sines of their angles; out may be x */
    void (*rope_interleaved)(float *out, const float *x, const float *cosines, const float *sines,
                             size_t pairs);
    void (*rope_halves)(float *out, const float *x, const float *cosines, const float *sines, size_t pairs);

    /* attention: scores and values by type: f32, f16, bf16 */
    void (*attention_scores[3])(mia__cpu_attention_tile *tile, const mia__cpu_attention_block *keys);
    void (*attention_weights)(mia__cpu_attention_tile *tile);
    void (*attention_values[3])(const mia__cpu_attention_tile *tile, const mia__cpu_attention_block *values);

    /* matmul of f32 panels: w holds `groups` pointers to [k][16] weights, x is [k][tile->m] */
    unsigned groups, columns; /* most that `product` takes */
    void (*product)(const float *const *w, const float *x, int64_t k, const mia__cpu_tile *tile);
    /* one column by a group of prepared weights [k][16], read once */
    void (*matvec_f32)(const float *w, const float *x, int64_t k, float *out, unsigned n);
    void (*matvec_f16)(const uint16_t *w, const float *x, int64_t k, float *out, unsigned n);
    void (*matvec_bf16)(const uint16_t *w, const float *x, int64_t k, float *out, unsigned n);
    float (*dot)(const float *a, const float *b, size_t count);

    /* sums += x * factor */
    void (*accumulate)(float *sums, const float *x, float factor, size_t count);
    void (*accumulate_f64)(double *sums, const double *x, double factor, size_t count);
    /* sums [columns_f64][8] += w [k][8] by x [k][columns_f64] */
    unsigned columns_f64;
    void (*product_f64)(const double *w, const double *x, int64_t k, double *sums);
    /* movement: lines of 64 bytes, as many as each has units, turned over (strides in units); stream: past the
     * caches, to aligned lines, until end_stream */
    void (*turn_lines)(size_t bytes, bool stream, char *out, int64_t out_stride, const char *in,
                       int64_t in_stride);
    void (*end_stream)(void);
    /* random numbers: 4 words of each block from `first` on; normal ones of words in pairs, a multiple of 32 */
    void (*random_words)(uint64_t first, const uint32_t *key, size_t blocks, uint32_t *out);
    void (*normal_numbers)(float *out, const uint32_t *words, size_t count);

    /* matmul of 8-bit activations: x is [blocks][tile->m] */
    unsigned quantised_columns;
    void (*quantise)(const float *x, size_t blocks, mia__cpu_block *out, size_t stride);
    mia__cpu_product products[MIA__CPU_FORMATS]; /* by mia__cpu_format(dtype) */
    mia__cpu_unpack unpacks[MIA__CPU_FORMATS];   /* prepared blocks as f32 [k][16] */
} mia__cpu_kernels;

/* What the processor has, capped by the environment variable MIA_CPU_ISA (generic, avx2, avx512) and by the
 * build. */
mia__cpu_isa mia__cpu_detect(void);
/* Whether it has the dot products of bytes that the avx512 kernels use. */
bool mia__cpu_has_vnni(void);

/* The table for an instruction set. */
void mia__cpu_kernels_fill(mia__cpu_kernels *kernels, mia__cpu_isa isa);

/* Each file of an instruction set fills in its family. */
#define MIA__CPU_FAMILIES(X, isa)                                                                            \
    X(isa, elementwise)                                                                                      \
    X(isa, lanes)                                                                                            \
    X(isa, rows) X(isa, movement) X(isa, attention) X(isa, matmul) X(isa, sums) X(isa, quantised)
#define MIA__CPU_DECLARE_FILL(isa, family) void mia__cpu_##isa##_##family(mia__cpu_kernels *kernels);
MIA__CPU_FAMILIES(MIA__CPU_DECLARE_FILL, generic)
MIA__CPU_FAMILIES(MIA__CPU_DECLARE_FILL, avx2)
MIA__CPU_FAMILIES(MIA__CPU_DECLARE_FILL, avx512)

#endif
