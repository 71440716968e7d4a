/* Elements that are moved as they are, whatever they mean: units of 1, 2 or 4 bytes, and of 8 or 16 where the operands
 * lie so that several elements move together. Blocks are spelt out as an inner mode of half-words or words.
 *
 *     q8_0 [64, 3]    17 half-words of a block, 2 blocks of a row, 3 rows */
#ifndef MIA_BACKEND_WEBGPU_UNITS_H
#define MIA_BACKEND_WEBGPU_UNITS_H

#include "backend/webgpu/kernel.h"

typedef struct mia__units {
    uint32_t bytes;
    uint32_t
        inner; /* 1: there is an inner mode, and modes count one more than the operation's attributes say */
    uint32_t count;
    mia__view views[MIA__MAX_OPERANDS]; /* offset, extents and strides in units */
} mia__units;

/* Operands of one type. */
void mia__units_of(mia__units *units, const mia__operand *const *operands, uint32_t count);

/* Makes units as large as all operands allow, up to `most` bytes. Not where single places of mode 0 are told apart. */
void mia__units_widen(mia__units *units, uint32_t most);

/* Binds the buffer of operand number `number`, as `name` x: fn x_unit(offset: u32) -> U, where U is mia__units_type, and the
 * functions and parameters of mia__kernel_view and mia__kernel_at. */
bool mia__units_input(mia__kernel *k, const mia__units *units, uint32_t number, const char *name,
                      uint32_t buffer);
const char *mia__units_type(const mia__units *units);

/* Lines that take i apart: "let c0 = ...", one for each extent of p.<name>_e<mode>. */
void mia__units_coordinates(mia__kernel *k, const char *name, uint32_t ndim);
/* " + c0 * p.x_s0 + ..." for modes [from, end) of `name` x and coordinates that begin with number `first`. */
void mia__units_offset(mia__kernel *k, const char *name, uint32_t from, uint32_t end, uint32_t first);

/* Ends a dispatch whose text has fn unit(i: u32) -> U: called for every unit of the output, which is operand 0. */
bool mia__units_map(mia__kernel *k, const mia__units *units);

/* Ends a dispatch whose text has fn each(i: u32): called for i below `count`, each of which moves so many bytes. */
bool mia__units_each(mia__kernel *k, uint64_t count, double bytes);

/* Binds a buffer whose units are written in any order: fn <name>_set(offset: u32, v: U), and fn <name>_word(i: u32) -> u32 for
 * units up to 4 bytes. Units smaller than words are put into theirs so that others of it may be written meanwhile. */
bool mia__units_target(mia__kernel *k, const mia__units *units, const char *name, uint32_t buffer);

#endif
