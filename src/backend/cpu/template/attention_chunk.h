/* The part of attention.h that reads keys and values: included once for each of their types, with
 *   ELEMENT  the type in memory    LOAD  MIA_LANES of them as f32    ONE(x)  one of them as f32
 *   NAME(x)  the name of a function */

/* The first `count` < MIA_LANES elements; the others are zero. */
INLINE vf NAME(load_part)(const ELEMENT *from, int64_t count) {
    ELEMENT some[MIA_LANES] = {0};
    memcpy(some, from, (size_t)count * sizeof *from);
    return LOAD(some);
}

/* Products of `rows` rows from `row` on and `keys` keys from `at` on (past the last, the last again), together a
 * lane each: set for the first block of a key, and added to for the others. */
INLINE void NAME(multiply)(mia__cpu_attention_tile *tile, const mia__cpu_attention_block *block, unsigned row,
                           unsigned rows, int64_t at, unsigned keys) {
    const ELEMENT *key[MIA_LANES];
    vf sums[MIA_LANES] = {{0}}, k[MIA_LANES];
    EACH(j, keys) {
        int64_t place = at + (int64_t)j < block->count ? at + (int64_t)j : block->count - 1;
        key[j] = (const ELEMENT *)block->from + place * block->stride;
    }
    int64_t d = 0;
    for (; d + MIA_LANES <= block->width; d += MIA_LANES) {
        EACH(j, keys) k[j] = LOAD(key[j] + d);
        EACH(i, rows) {
            vf q = vf_load(tile->q[row + i] + block->first + d);
            EACH(j, keys) sums[i * keys + j] = vf_fma(q, k[j], sums[i * keys + j]);
        }
    }
    if (d < block->width) {
        int64_t rest = block->width - d;
        EACH(j, keys) k[j] = NAME(load_part)(key[j] + d, rest);
        EACH(i, rows) {
            vf q = vf_load_part(tile->q[row + i] + block->first + d, (size_t)rest);
            EACH(j, keys) sums[i * keys + j] = vf_fma(q, k[j], sums[i * keys + j]);
        }
    }
    float all[MIA_LANES];
    vf_store(all, vf_sum_each(sums));
    EACH(i, rows) {
        float *scores = tile->scores[row + i] + at;
        EACH(j, keys) scores[j] = block->first > 0 ? scores[j] + all[i * keys + j] : all[i * keys + j];
    }
}

#define MULTIPLY(rows)                                                                                       \
    for (int64_t at = 0; at < block->count; at += MIA_LANES / (rows))                                        \
        NAME(multiply)(tile, block, row, rows, at, MIA_LANES / (rows));                                      \
    row += (rows)

static void NAME(scores)(mia__cpu_attention_tile *tile, const mia__cpu_attention_block *block) {
    unsigned row = 0;
#if MIA_LANES >= 8
    while (tile->rows - row >= 8) {
        MULTIPLY(8);
    }
#endif
    while (tile->rows - row >= 4) {
        MULTIPLY(4);
    }
    while (tile->rows - row >= 2) {
        MULTIPLY(2);
    }
    while (tile->rows > row) {
        MULTIPLY(1);
    }
}
#undef MULTIPLY

/* Some keys of a chunk, for some rows: weights of keys from `key` on. */
typedef struct NAME(part) {
    unsigned row, rows;
    int64_t key, end;
} NAME(part);

/* Adds the part's values to elements e .. of its rows, `vectors` vectors wide; e counts from the block's first. */
INLINE void NAME(add_values)(const mia__cpu_attention_tile *tile, const mia__cpu_attention_block *block,
                             const NAME(part) * part, unsigned rows, unsigned vectors, int64_t e) {
    vf sums[16], v[4];
    int64_t to = block->first + e;
    EACH(i, rows) {
        unsigned row = part->row + i;
        float rescale = part->key == 0 ? tile->rescale[row] : 1;
        EACH(j, vectors)
        sums[i * vectors + j] = vf_load(tile->out[row] + to + j * MIA_LANES) * rescale;
    }
    const ELEMENT *value = (const ELEMENT *)block->from + part->key * block->stride + e;
    for (int64_t key = part->key; key < part->end; key++, value += block->stride) {
        EACH(j, vectors) v[j] = LOAD(value + j * MIA_LANES);
        EACH(i, rows) {
            vf weight = vf_set(tile->scores[part->row + i][key]);
            EACH(j, vectors) sums[i * vectors + j] = vf_fma(weight, v[j], sums[i * vectors + j]);
        }
    }
    EACH(i, rows)
    EACH(j, vectors) vf_store(tile->out[part->row + i] + to + j * MIA_LANES, sums[i * vectors + j]);
}

/* The elements from e on, fewer than a vector. */
static void NAME(add_rest)(const mia__cpu_attention_tile *tile, const mia__cpu_attention_block *block,
                           const NAME(part) * part, int64_t e) {
    const ELEMENT *values = (const ELEMENT *)block->from;
    for (; e < block->width; e++) {
        for (unsigned row = part->row; row < part->row + part->rows; row++) {
            float *out = tile->out[row] + block->first + e;
            float sum = part->key == 0 ? *out * tile->rescale[row] : *out;
            for (int64_t key = part->key; key < part->end; key++)
                sum += tile->scores[row][key] * ONE(values[key * block->stride + e]);
            *out = sum;
        }
    }
}

/* All of a part whose rows are `rows`; as many vectors wide as registers hold. */
INLINE void NAME(add_part)(const mia__cpu_attention_tile *tile, const mia__cpu_attention_block *block,
                           const NAME(part) * part, unsigned rows, unsigned vectors) {
    int64_t e = 0, wide = (int64_t)vectors * MIA_LANES;
    for (; e + wide <= block->width; e += wide) NAME(add_values)(tile, block, part, rows, vectors, e);
    for (; e + MIA_LANES <= block->width; e += MIA_LANES) NAME(add_values)(tile, block, part, rows, 1, e);
    NAME(add_rest)(tile, block, part, e);
}

/* Rows together as far as all of them see, then each by itself: a value that a row does not see must not reach
 * it, not even with weight 0, since it may be infinite. */
static void NAME(values)(const mia__cpu_attention_tile *tile, const mia__cpu_attention_block *block) {
    unsigned most = MIA_LANES == 16 ? 8 : 4;
    for (unsigned row = 0, rows; row < tile->rows; row += rows) {
        rows = tile->rows - row >= most ? most : tile->rows - row >= 4 ? 4 : 1;
        int64_t common = tile->seen[row];
        for (unsigned i = row; i < row + rows; i++) common = tile->seen[i] < common ? tile->seen[i] : common;
        const NAME(part) all = {row, rows, 0, common};
        if (common > 0 && rows == 8) NAME(add_part)(tile, block, &all, 8, 2);
        if (common > 0 && rows == 4) NAME(add_part)(tile, block, &all, 4, MIA_LANES == 16 ? 4 : 2);
        if (common > 0 && rows == 1) NAME(add_part)(tile, block, &all, 1, 4);
        for (unsigned i = row; i < row + rows; i++) {
            const NAME(part) own = {i, 1, common, tile->seen[i]};
            if (own.end > own.key) NAME(add_part)(tile, block, &own, 1, 4);
        }
    }
}

#undef ELEMENT
#undef NAME
#undef LOAD
#undef ONE
