/* Shaders described piece by piece: one dispatch of a step at a time, its bindings, its parameters and its text.
 *
 * A family (kernels of like operations, in a file of its own) is a function of a kernel that was begun for a step: it
 * binds buffers, names parameters, adds WGSL, and ends the dispatch; a step of several dispatches begins the next.
 *
 *     static bool choose_roll(mia__kernel *k) {
 *         mia__kernel_output(k);                              // binds step->output as `out`
 *         mia__kernel_input(k, "x", &k->step->inputs[0]);     // fn x_get(offset), fn x_at(flat index)
 *         mia__kernel_u32(k, "shift", ...);                   // p.shift
 *         mia__kernel_put(k, "fn value(i: u32) -> f32 { return x_get(x_at((i + p.shift) % p.count)); }\n");
 *         return mia__kernel_map(k);                          // calls value for every element of the output
 *     }
 *
 * What differs from step to step but not in kind (extents, strides, offsets, numbers) is a parameter, so that steps of
 * other lengths find their pipeline made. Numbers in storage are words: `array<u32>`, which functions made for an operand's
 * type take apart and put together; f16, bf16 and f32 are f32 in a shader, i8 is i32, u8 and bool8 are u32.
 *
 * Results are compact, at offset 0 of their buffer, and a word belongs to one invocation. Bytes after the last element are free
 * to write up to the next multiple of 16. Offsets are u32 and wrap, so negative strides are added as they are. */
#ifndef MIA_BACKEND_WEBGPU_KERNEL_H
#define MIA_BACKEND_WEBGPU_KERNEL_H

#include "backend/webgpu/text.h"
#include "backend/webgpu/webgpu.h"

#define MIA__KERNEL_MOST_PARAMETERS 160
#define MIA__KERNEL_MOST_ONCE       64
#define MIA__KERNEL_INVOCATIONS     256 /* of a workgroup, where a family has no reason for another number */

typedef struct mia__kernel_slot {
    uint32_t buffer; /* of the plan */
    bool written;
    const char *element; /* WGSL type of the array's elements */
} mia__kernel_slot;

typedef struct mia__jobs mia__jobs;

/* Workgroups in three modes, x the fastest, none of them zero. */
typedef struct mia__kernel_grid {
    uint64_t x, y, z;
} mia__kernel_grid;

typedef struct mia__kernel {
    mia__webgpu *webgpu;
    mia__webgpu_program *program;
    const mia__plan *plan;
    const mia__step *step;
    uint32_t step_index;
    uint32_t
        taken; /* steps that the family has described, this one and those behind it that run together with it; 1 */
    mia__gpu_info info; /* of the GPU, less what the device is told to do without */

    mia__text enables, fields, code;
    uint32_t values[MIA__KERNEL_MOST_PARAMETERS], value_count;
    mia__kernel_slot slots[MIA__GPU_MOST_BINDINGS];
    uint32_t slot_count;
    const char *once[MIA__KERNEL_MOST_ONCE]; /* texts that are there */
    uint32_t once_count;
    mia__kernel_grid grid;
    double nanoseconds; /* estimate of the dispatch; 0: by the bytes bound */
    mia__jobs *jobs;    /* that the step is to be one of; NULL: it has dispatches of its own */
    mia_status status;  /* why it cannot be */
    const char *why;
} mia__kernel;

/* A family: describes all dispatches of k->step; false when it does not take the step (k->why may say more) or is out of
 * memory (k->status). */
typedef bool (*mia__kernel_family)(mia__kernel *k);

/* The family of a step, NULL when there is none. */
mia__kernel_family mia__kernel_family_of(const mia__plan *plan, const mia__step *step);

/* --- one dispatch ------------------------------------------------------------------------------- */

/* Begins the next dispatch of the step. */
void mia__kernel_begin(mia__kernel *k);

/* The slot of a plan buffer, whose array is `b<slot>`; bound once, however often it is asked for. False (and the dispatch
 * cannot be) when it is bound with another element type. */
bool mia__kernel_bind(mia__kernel *k, uint32_t buffer, const char *element, bool written, uint32_t *slot);

/* Parameters: fields of the uniform `p`, in the order they are given. A name that is there keeps its first value. */
void mia__kernel_u32(mia__kernel *k, const char *name, uint64_t value);
void mia__kernel_f32(mia__kernel *k, const char *name, double value);

/* WGSL of the dispatch's module; mia__kernel_put as it is, mia__kernel_add as printf does. */
void mia__kernel_put(mia__kernel *k, const char *wgsl);
__attribute__((format(printf, 2, 3))) void mia__kernel_add(mia__kernel *k, const char *format, ...);
/* Whether a function of that name is still to be put there. */
bool mia__kernel_lacks(const mia__kernel *k, const char *name);
/* The same with words replaced wherever they stand: a template. */
typedef struct mia__kernel_word {
    const char *from, *to;
} mia__kernel_word;
void mia__kernel_put_with(mia__kernel *k, const char *wgsl, const mia__kernel_word *words, uint32_t count);
/* Text that several ask for, put once: static text, which is known by its address. */
void mia__kernel_once(mia__kernel *k, const char *wgsl);
/* A line at the top, "enable f16;", once. */
void mia__kernel_enable(mia__kernel *k, const char *directive);

/* What a dispatch that moves so many bytes may take, for k->nanoseconds where it touches a part of what it binds. */
double mia__kernel_estimate(double bytes);

/* Begins `main`, of workgroups of so many invocations, where `id` is the workgroup's place in the grid, however large its modes
 * are; `more` are the built-ins it has besides ("@builtin(local_invocation_index) li: u32"). mia__kernel_end_grid ends the
 * dispatch, after the closing brace. */
void mia__kernel_main(mia__kernel *k, mia__kernel_grid grid, uint32_t invocations, const char *more);
bool mia__kernel_end_grid(mia__kernel *k);

/* Ends a dispatch whose text has a `main` of its own: that many workgroups, in x and y where x alone has no room; shaders get
 * their number back by `id.x + id.y * n.x` of workgroup_id and num_workgroups. */
bool mia__kernel_end_flat(mia__kernel *k, uint64_t workgroups);

/* Ends a dispatch whose text has fn each(i: u32): called for every i below `count`, by several dispatches where it takes long.
 * Only what ends so can be a job. */
bool mia__kernel_each(mia__kernel *k, uint64_t count);

/* Says why a step cannot be; returns false. */
bool mia__kernel_refuse(mia__kernel *k, const char *why);

/* Forgets the dispatch that was begun and why it could not be, for another try. */
void mia__kernel_again(mia__kernel *k);

/* --- several steps in one dispatch (jobs.c) ------------------------------------------------------ */

/* Whether a step is little work for a GPU and ends with mia__kernel_each, so that it may be a job. */
bool mia__kernel_is_small(const mia__plan *plan, const mia__step *step);

/* Describes k->step and some of the `count - 1` steps behind it that run together with it, as many as fit, as jobs of one
 * dispatch: each is described by `describe`, as if it were alone, and gets workgroups of its own. k->taken says how many. False
 * when no two fit: k->step is to be described alone. */
bool mia__kernel_jobs(mia__kernel *k, uint32_t count, bool (*describe)(mia__kernel *k));

/* For kernel.c, while k->jobs is set: what the job's parameters begin with; and the end of its text. */
const char *mia__jobs_prefix(const mia__jobs *jobs);
bool mia__jobs_add(mia__kernel *k, uint64_t count);

/* --- operands ----------------------------------------------------------------------------------- */

/* "f32", "i32", "u32": what an element of a type is in a shader. */
const char *mia__kernel_type(mia_dtype dtype);
static inline uint32_t mia__kernel_per_word(mia_dtype dtype) {
    uint32_t bytes = mia_dtype_describe(dtype)->bytes;
    return bytes < 4 ? 4 / bytes : 1;
}

/* Binds an input and makes, for `name` x:
 *     fn x_word(i: u32) -> u32          the word at i of its buffer
 *     fn x_get(offset: u32) -> T        the element at an offset from the buffer's start; not for block types
 *     fn x_at(i: u32) -> u32            the offset of the i-th element of its view, first mode fastest
 * and parameters p.x_o (the view's offset), p.x_e0 .. (extents), p.x_s0 .. (strides). */
bool mia__kernel_input(mia__kernel *k, const char *name, const mia__operand *operand);

/* Its parts, for a view in other modes, or a buffer that is read in another way. */
bool mia__kernel_words(mia__kernel *k, const char *name, uint32_t buffer);
void mia__kernel_get(mia__kernel *k, const char *name, mia_dtype dtype);
void mia__kernel_view(mia__kernel *k, const char *name, const mia__view *view);
void mia__kernel_at(mia__kernel *k, const char *name, const mia__view *view);

/* Binds the output: fn out_put(w: u32, e0: T, ...), which writes word w from as many elements as it holds, and
 * fn out_round(v: T) -> T, which rounds or wraps as storing and reading would. Parameters p.count: its
 * elements. */
bool mia__kernel_output(mia__kernel *k);
/* The same for another name and operand. */
bool mia__kernel_result(mia__kernel *k, const char *name, const mia__operand *operand);

/* The function that rounds to a type, for values between instructions: fn <name>(v: T) -> T. */
void mia__kernel_round(mia__kernel *k, const char *name, mia_dtype dtype);

/* The bits of an element in storage, in the low end of a word: fn <name>(v: T) -> u32. */
void mia__kernel_bits(mia__kernel *k, const char *name, mia_dtype dtype);

/* Ends a dispatch whose text has fn value(i: u32) -> T: called for every element of the output. */
bool mia__kernel_map(mia__kernel *k);

/* Four elements at a time, of operands that lie so that four lie together wherever the first of them is the 4 q-th of
 * the view: bound as arrays of mia__kernel_fours_type, while other bindings of the same buffer are words.
 *     fn x_four(q: u32) -> vec4<T>               after mia__kernel_input_fours
 *     fn out_four(q: u32, v: vec4<T>)            after mia__kernel_output_fours; p.count
 * mia__kernel_map_fours ends a dispatch whose text has fn four(q: u32) -> vec4<T>. */
bool mia__kernel_in_fours(const mia__view *view);
const char *mia__kernel_fours_type(mia_dtype dtype);
bool mia__kernel_input_fours(mia__kernel *k, const char *name, const mia__operand *operand);
bool mia__kernel_output_fours(mia__kernel *k);
bool mia__kernel_map_fours(mia__kernel *k);

/* Whether the GPU has a feature, and the device is to use it. */
static inline bool mia__kernel_has(const mia__kernel *k, mia__gpu_feature feature) {
    return (k->info.features & (uint32_t)feature) != 0;
}

/* Invocations of a subgroup, a power of two of 4 to 64, where all subgroups have as many and a workgroup's follow each other
 * in it; else 1: kernels do without. */
static inline uint32_t mia__webgpu_subgroup(const mia__gpu_info *info) {
    uint32_t size = info->subgroup_least;
    bool usable = (info->features & MIA__GPU_SUBGROUPS) != 0 && size == info->subgroup_most && size >= 4 &&
                  size <= 64 && (size & (size - 1)) == 0;
    return usable ? size : 1;
}

/* --- rules and forms (forms.c) ------------------------------------------------------------------ */

void mia__webgpu_rules(mia__webgpu *webgpu);
mia_status mia__webgpu_prepare(mia__backend *backend, mia_dtype dtype, const mia_shape *shape,
                               const mia__form *form, const void *raw, mia__buffer *into, mia_error *error);
mia_status mia__webgpu_prepare_rows(mia__backend *backend, mia_dtype dtype, const mia_shape *shape,
                                    const mia__form *form, uint64_t first, uint64_t count, const void *raw,
                                    mia__buffer *into, mia_error *error);

#endif
