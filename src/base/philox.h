/* Philox4x32-10, a generator without a state: four words out of a counter of four and a key of two, by ten rounds
 * of multiplication (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011). And what
 * numbers are made of its words: element i of a row takes word i % 4 of block i / 4, an f64 two words.
 *
 *     element    0   1   2   3 | 4   5   6   7          f64   0       1     | 2       3
 *     word       0   1   2   3 | 0   1   2   3                0   1   2   3 | 0   1   2   3
 *     block      0             | 1                            0             | 1 */
#ifndef MIA_BASE_PHILOX_H
#define MIA_BASE_PHILOX_H

#include <stdint.h>

#define MIA__PHILOX_WORDS  4
#define MIA__PHILOX_ROUNDS 10

static inline void mia__philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < MIA__PHILOX_ROUNDS; round++) {
        uint64_t a = UINT64_C(0xD2511F53) * c0, b = UINT64_C(0xCD9E8D57) * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9; /* the golden ratio, and sqrt(3) - 1 */
        k1 += 0xBB67AE85;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* Block number `block` of a key. */
static inline void mia__philox_block(uint64_t block, const uint32_t key[2], uint32_t out[4]) {
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), 0, 0};
    mia__philox(counter, key, out);
}

/* In [0, 1), in steps of 2^-bits: as many bits as the type that it goes to can hold, so that none is rounded up to
 * 1. */
static inline double mia__uniform_of_word(uint32_t word, unsigned bits) {
    return (double)(word >> (32 - bits)) / (double)(UINT64_C(1) << bits);
}

static inline double mia__uniform_of_words(uint32_t low, uint32_t high) {
    return (double)(((uint64_t)high << 32 | low) >> 11) * 0x1p-53;
}

#endif
