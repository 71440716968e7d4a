/* How kernels that bring many elements together cut a workgroup: into teams, each of which works out one row (what is
 * reduced or normalised together) at a time. Many short rows share a workgroup, a long one has it alone.
 *
 *     invocations   0 1 2 3 | 4 5 6 7 | ...      TEAM = 4: team 0 has row 0, team 1 row 1, ...
 *
 * A workgroup's rows are neighbours, and their results fill whole words. */
#ifndef MIA_BACKEND_WEBGPU_TEAMS_H
#define MIA_BACKEND_WEBGPU_TEAMS_H

#include "backend/webgpu/kernel.h"

typedef struct mia__teams {
    uint32_t invocations; /* of a workgroup */
    uint32_t team;        /* of a team: a power of two */
    uint32_t rounds;      /* rows of a team, one after the other */
    uint32_t rows;        /* of a workgroup */
} mia__teams;

/* For rows of `length` elements, of which a workgroup takes a multiple of `multiple` (a power of two, at most 4). Invocations
 * keep `bytes` each in workgroup memory. */
mia__teams mia__teams_for(const mia__kernel *k, uint64_t length, uint32_t multiple, uint32_t bytes);

/* The same for that many invocations. */
mia__teams mia__teams_of(uint32_t invocations, uint64_t length, uint32_t multiple);

/* Constants INVOCATIONS, TEAM, TEAMS, ROUNDS and ROWS. */
void mia__teams_put(mia__kernel *k, const mia__teams *teams);

/* fn <name>(local: u32, v: T) -> T: what the invocations of a team have between them, by the expression `join` of a and b,
 * for each of them; called by all of a workgroup. T is a number or a vector, the order of a and b does not matter. A team's
 * invocations follow each other, or are STRIDE apart (`interleaved`). */
void mia__teams_join(mia__kernel *k, const mia__teams *teams, const char *name, const char *type,
                     const char *join, bool interleaved);

/* A view without modes of extent 1, and modes that follow each other joined: what it takes to find its i-th element. */
mia__view mia__kernel_shortened(const mia__view *view);

#endif
