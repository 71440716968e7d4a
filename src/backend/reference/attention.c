/* Grouped-query attention over a cache. q [D, H, T], k [D, S, G], v [E, S, G], length i32; the result is
 * [E, H, T].
 *
 * Of attention the first `length` rows of k and v hold tokens, the T newest last: query t is token
 * length - T + t and sees the rows up to its own. Of attention_masked every query sees the first `length` rows,
 * and a mask [S, T, H] of f32, whose extents may be 1 or lack, is added to the scaled scores. Head h reads group
 * h / (H / G). A query that sees no row gives zeros, and so does one whose every score is -infinity with its mask.
 * A mask of -infinity makes a score of -infinity whatever q and k are; the row still enters with 0 times its values.
 *
 * Three passes over the rows, the scores made anew in each, so that no memory is needed: the greatest score,
 * then the sum of exp(score - greatest) together with what it weighs of v, a piece of E at a time. */
#include "backend/reference/element.h"

#include <math.h>

#define PIECE 128 /* elements of E at a time */

/* One head of one query. */
typedef struct head_query {
    const mia__kernel_args *args;
    int64_t q_at, k_at, v_at; /* element 0 of q; of row 0 in the head's group of k and of v */
    int64_t out_at;
    int64_t rows;    /* rows that it sees */
    int64_t mask_at; /* the mask of row 0 */
} head_query;

static double mask_of(const head_query *query, int64_t s) {
    const mia__step *step = query->args->step;
    if (step->op != MIA_OP_attention_masked) return 0;
    const mia__view *mask = &step->inputs[3].view;
    int64_t at = query->mask_at + (mia__extent(mask, 0) > 1 ? s * mask->stride[0] : 0);
    return mia__load(MIA_f32, query->args->inputs[3], at);
}

static double score(const head_query *query, int64_t s) {
    const mia__step *step = query->args->step;
    const mia__operand *q = &step->inputs[0], *k = &step->inputs[1];
    int64_t k_at = query->k_at + s * k->view.stride[1];
    double sum = 0, mask = mask_of(query, s);
    if (mask == -(double)INFINITY) return mask;
    for (int64_t d = 0; d < q->view.extent[0]; d++) {
        double a = mia__load(q->dtype, query->args->inputs[0], query->q_at + d * q->view.stride[0]);
        sum += a * mia__load(k->dtype, query->args->inputs[1], k_at + d * k->view.stride[0]);
    }
    return sum * step->attributes.f[0] + mask;
}

static void attend_piece(const head_query *query, double greatest, int64_t first, int64_t count) {
    const mia__step *step = query->args->step;
    const mia__operand *v = &step->inputs[2], *out = &step->output;
    double weighed[PIECE] = {0}, sum = 0;
    for (int64_t s = 0; s < query->rows; s++) {
        double weight = exp(score(query, s) - greatest);
        int64_t v_at = query->v_at + s * v->view.stride[1] + first * v->view.stride[0];
        sum += weight;
        for (int64_t e = 0; e < count; e++)
            weighed[e] += weight * mia__load(v->dtype, query->args->inputs[2], v_at + e * v->view.stride[0]);
    }
    for (int64_t e = 0; e < count; e++) {
        double value = query->rows > 0 ? weighed[e] / sum : 0;
        mia__store(out->dtype, query->args->output, query->out_at + (first + e) * out->view.stride[0], value);
    }
}

static void attend(head_query *query) {
    double greatest = -(double)INFINITY;
    int64_t length = query->args->step->output.view.extent[0], some = 0;
    for (int64_t s = 0; s < query->rows; s++) {
        double one = score(query, s);
        greatest = fmax(greatest, one);
        some += one != -(double)INFINITY;
    }
    if (query->args->step->op == MIA_OP_attention_masked && some == 0) query->rows = 0;
    for (int64_t first = 0; first < length; first += PIECE)
        attend_piece(query, greatest, first, length - first < PIECE ? length - first : PIECE);
}

/* Rows that query t sees, of `length` in use. */
static int64_t visible(const mia__step *step, int64_t length, int64_t t) {
    int64_t rows = length, capacity = step->inputs[1].view.extent[1];
    if (step->op == MIA_OP_attention) rows += t + 1 - step->inputs[0].view.extent[2];
    return rows < 0 ? 0 : rows > capacity ? capacity : rows;
}

void mia__reference_attention(const mia__kernel_args *args) {
    const mia__step *step = args->step;
    const mia__view *q = &step->inputs[0].view, *k = &step->inputs[1].view, *v = &step->inputs[2].view;
    uint32_t last = step->input_count - 1;
    int64_t length = mia__load_whole(MIA_i32, args->inputs[last], step->inputs[last].view.offset);
    int64_t heads = q->extent[1], groups = k->extent[2];
    mia__view mask = step->op == MIA_OP_attention_masked ? step->inputs[3].view : (mia__view){.ndim = 0};
    mia__walk walk;
    if (!mia__walk_start(&walk, &step->output.view, 1)) return;
    uint32_t o = mia__walk_add(&walk, &step->output.view), x = mia__walk_add(&walk, q);
    do {
        int64_t group = walk.index[0] * groups / heads; /* h / (heads / groups): groups divides heads */
        head_query one = {.args = args,
                          .q_at = walk.at[x],
                          .k_at = k->offset + group * k->stride[2],
                          .v_at = v->offset + group * v->stride[2],
                          .out_at = walk.at[o],
                          .rows = visible(step, length, walk.index[1]),
                          .mask_at = mask.offset};
        if (mia__extent(&mask, 1) > 1) one.mask_at += walk.index[1] * mask.stride[1];
        if (mia__extent(&mask, 2) > 1) one.mask_at += walk.index[0] * mask.stride[2];
        attend(&one);
    } while (mia__walk_next(&walk));
}
