/* The part of attention.h that reads keys and values: included once for each of their types, with
 *   ELEMENT  the type in memory    LOAD  MIA_LANES of them as f32    ONE(x)  one of them as f32
 *   NAME(x)  the name of a function */

/* Scores of key `at` for `rows` rows. */
INLINE void NAME(score)(const mia__cpu_attention_tile *tile, const ELEMENT *key, state *s, int64_t at,
                        unsigned rows) {
    vf sums[ROWS] = {{0}};
    float rest[ROWS] = {0};
    int64_t d = 0;
    for (; d + MIA_LANES <= tile->dim; d += MIA_LANES) {
        vf k = LOAD(key + d);
        for (unsigned row = 0; row < rows; row++) sums[row] = vf_fma(vf_load(tile->q[row] + d), k, sums[row]);
    }
    for (; d < tile->dim; d++)
        for (unsigned row = 0; row < rows; row++) rest[row] += tile->q[row][d] * ONE(key[d]);
    for (unsigned row = 0; row < rows; row++)
        s->scores[row][at] = (vf_sum(sums[row]) + rest[row]) * tile->scale;
}

/* Adds the chunk's values to elements e .. of `rows` rows from `row` on, `vectors` vectors wide. */
INLINE void NAME(add_values)(const mia__cpu_attention_tile *tile, const ELEMENT *values, const state *s,
                             unsigned row, unsigned rows, unsigned vectors, int64_t e, int64_t count) {
    vf sums[4][4];
    for (unsigned i = 0; i < rows; i++)
        for (unsigned j = 0; j < vectors; j++)
            sums[i][j] = vf_load(tile->out[row + i] + e + j * MIA_LANES) * s->rescale[row + i];
    for (int64_t at = 0; at < count; at++) {
        const ELEMENT *value = values + at * tile->v_stride + e;
        for (unsigned j = 0; j < vectors; j++) {
            vf v = LOAD(value + j * MIA_LANES);
            for (unsigned i = 0; i < rows; i++)
                sums[i][j] = vf_fma(vf_set(s->scores[row + i][at]), v, sums[i][j]);
        }
    }
    for (unsigned i = 0; i < rows; i++)
        for (unsigned j = 0; j < vectors; j++) vf_store(tile->out[row + i] + e + j * MIA_LANES, sums[i][j]);
}

/* All elements of up to 4 rows, `count` values. */
INLINE void NAME(add_rows)(const mia__cpu_attention_tile *tile, const ELEMENT *values, const state *s,
                           unsigned row, unsigned rows, int64_t count) {
    int64_t e = 0;
    for (; e + 4 * MIA_LANES <= tile->value_dim; e += 4 * MIA_LANES)
        NAME(add_values)(tile, values, s, row, rows, 4, e, count);
    for (; e + MIA_LANES <= tile->value_dim; e += MIA_LANES)
        NAME(add_values)(tile, values, s, row, rows, 1, e, count);
    for (; e < tile->value_dim; e++) {
        for (unsigned i = row; i < row + rows; i++) {
            float sum = tile->out[i][e] * s->rescale[i];
            for (int64_t at = 0; at < count; at++)
                sum += s->scores[i][at] * ONE(values[at * tile->v_stride + e]);
            tile->out[i][e] = sum;
        }
    }
}

static void NAME(score_chunk)(const mia__cpu_attention_tile *tile, const ELEMENT *keys, state *s,
                              int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        const ELEMENT *key = keys + i * tile->k_stride;
        switch (tile->rows) {
        case 1: NAME(score)(tile, key, s, i, 1); break;
        case 2: NAME(score)(tile, key, s, i, 2); break;
        case 4: NAME(score)(tile, key, s, i, 4); break;
        case ROWS: NAME(score)(tile, key, s, i, ROWS); break;
        default: NAME(score)(tile, key, s, i, tile->rows); break;
        }
    }
}

/* Four rows at a time as far as all of them see, then each by itself: a value that a row does not see must
 * not reach it, not even with weight 0, since it may be infinite. */
static void NAME(value_chunk)(const mia__cpu_attention_tile *tile, const ELEMENT *values, state *s) {
    for (unsigned row = 0; row < tile->rows; row += 4) {
        unsigned rows = tile->rows - row < 4 ? tile->rows - row : 4;
        int64_t common = rows == 4 ? s->seen[row] : 0;
        for (unsigned i = row; i < row + rows; i++) common = s->seen[i] < common ? s->seen[i] : common;
        if (common > 0) NAME(add_rows)(tile, values, s, row, 4, common);
        for (unsigned i = row; i < row + rows; i++) {
            if (common > 0) s->rescale[i] = 1;
            if (s->seen[i] == common) continue;
            for (int64_t at = common; at < s->seen[i]; at++) s->scores[i][at - common] = s->scores[i][at];
            NAME(add_rows)(tile, values + common * tile->v_stride, s, i, 1, s->seen[i] - common);
        }
    }
}

static void NAME(attention)(const mia__cpu_attention_tile *tile) {
    const ELEMENT *k = tile->k, *v = tile->v;
    state s;
    int64_t most = 0;
    for (unsigned row = 0; row < tile->rows; row++)
        most = tile->visible[row] > most ? tile->visible[row] : most;
    begin_tile(tile, &s);
    for (int64_t first = 0; first < most; first += CHUNK) {
        int64_t count = most - first < CHUNK ? most - first : CHUNK;
        NAME(score_chunk)(tile, k + first * tile->k_stride, &s, count);
        for (unsigned row = 0; row < tile->rows; row++) {
            int64_t seen = tile->visible[row] - first;
            s.seen[row] = seen < 0 ? 0 : seen < count ? seen : count;
            weigh(&s, row);
        }
        NAME(value_chunk)(tile, v + first * tile->v_stride, &s);
    }
    end_tile(tile, &s);
}

#undef ELEMENT
#undef NAME
#undef LOAD
#undef ONE
