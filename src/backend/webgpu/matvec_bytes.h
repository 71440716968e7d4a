/* What the two files of products of one column by bytes share: matvec_bytes.c has the rows of weights, matvec_bytes_x.c brings
 * x. */
#ifndef MIA_BACKEND_WEBGPU_MATVEC_BYTES_H
#define MIA_BACKEND_WEBGPU_MATVEC_BYTES_H

#include "backend/webgpu/product.h"

#define MIA__BYTES_QUADS 16 /* vec4s of xq a group */

/* How the work is divided, the same for all jobs of a dispatch. */
typedef struct mia__bytes_division {
    uint32_t size;   /* of a subgroup */
    uint32_t groups; /* of a row */
    uint32_t chunks; /* of a row */
    uint32_t each;   /* chunks of a group */
    uint32_t slices; /* subgroups of a team */
    uint32_t teams;
    uint32_t invocations;
    uint32_t turns; /* chunks of a lane */
    uint32_t rows;  /* summed up together */
    bool whole;     /* no lane is without a chunk */
} mia__bytes_division;

/* Binds x and the norm's weights. */
bool mia__bytes_x(mia__kernel *k, const mia__product *product);

/* xq, xe, xs and parts, and fn round_x(li: u32), which a workgroup calls together: x is there afterwards. Sums of blocks where
 * `sums`. */
void mia__bytes_rounding(mia__kernel *k, const mia__product *product, const mia__bytes_division *d,
                         bool sums);

#endif
