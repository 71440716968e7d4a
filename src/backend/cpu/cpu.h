/* The cpu backend from inside: what a compiled step is, and what families of kernels (elementwise.c,
 * matmul.c, ...) and instruction sets (generic/, avx2/, avx512/) give to it.
 *
 *     plan step -> chooser of its family (table.c) -> mia__cpu_step: 1 to 4 phases of units, geometry
 *                  worked out
 *     phase     -> walks its units and calls the inner kernels of the processor's instruction set
 *                  (kernels.h)
 *
 * All threads share the units of a phase; a unit's result never depends on who runs it or beside which
 * others. */
#ifndef MIA_BACKEND_CPU_CPU_H
#define MIA_BACKEND_CPU_CPU_H

#include "backend/cpu/kernels.h"
#include "backend/cpu/pool.h"
#include "backend/host.h"
#include "backend/watch.h"
#include "backend/window.h"
#include "graph/ops.h"

#define MIA__CPU_MAX_PHASES 4

typedef struct mia__cpu_step mia__cpu_step;
typedef struct mia__cpu_fused mia__cpu_fused;

/* One step of one run, with its memory: what a phase gets. */
typedef struct mia__cpu_task {
    const mia__cpu_step *step;
    mia__kernel_args args;                 /* starts of buffers, as reference kernels want them */
    const char *inputs[MIA__MAX_OPERANDS]; /* first element of each operand's view */
    char *output;
    /* Of a core of a fused step (fused.c); NULL for others. */
    const struct mia__cpu_task *before; /* makes input 0, a stretch at a time: it is nowhere else */
    const struct mia__cpu_task *behind; /* takes the results in, which go nowhere else */
    const struct mia__cpu_task *cores;  /* matmuls of the same x, core_count of them, this one the first */
    uint32_t core_count;
    mia__watch *watch; /* NULL: nobody stops it */
} mia__cpu_task;

/* Whether the run is to stop, which a unit that may take long asks every MIA__CPU_LOOK elements or so. It may then
 * return with its work half done: no later phase runs, and nobody sees the result. */
#define MIA__CPU_LOOK 16384
static inline bool mia__cpu_stopped(const mia__cpu_task *task) {
    return mia__watch_cancelled(task->watch);
}
/* Where a walk over `count` elements that is at element i looks next. */
static inline size_t mia__cpu_look_after(size_t i, size_t count) {
    return count - i < MIA__CPU_LOOK ? count : i + MIA__CPU_LOOK;
}

/* Does units [begin, end) of a phase. */
typedef void (*mia__cpu_function)(const mia__cpu_task *task, size_t begin, size_t end);

typedef struct mia__cpu_phase {
    mia__cpu_function function;
    size_t units;
    size_t piece; /* units that are done before somebody looks whether the run is to stop */
} mia__cpu_phase;

/* Nested loops over an output and up to three inputs, in elements: modes of extent 1 dropped, neighbours that
 * lie behind each other in every operand merged, broadcast modes with stride 0. Operand 0 is the output. */
#define MIA__CPU_LOOP_OPERANDS 4
typedef struct mia__cpu_loop {
    uint32_t ndim; /* at least 1 */
    int64_t extent[MIA__VIEW_MODES];
    int64_t stride[MIA__CPU_LOOP_OPERANDS][MIA__VIEW_MODES];
    size_t rows;   /* product of the outer extents */
    size_t pieces; /* units that a row is cut into */
} mia__cpu_loop;

/* One instruction of an element-wise step, its operands and its result in registers (elementwise.c). */
typedef struct mia__cpu_instruction {
    mia__cpu_span_kernel kernel;
    mia__cpu_span span; /* attributes; the rest is filled in when it runs */
    uint8_t out, in[MIA__INSTRUCTION_OPERANDS];
    uint8_t operand_count;
} mia__cpu_instruction;

/* Tiles of a compact output, and how inputs lie beside it: modes that every input continues are merged. */
typedef struct mia__cpu_elementwise {
    size_t count, tile;                          /* elements, of all and of a unit */
    uint8_t bytes[MIA__MAX_OPERANDS], out_bytes; /* of elements in memory */
    uint8_t access[MIA__MAX_OPERANDS];
    uint8_t result;        /* the register that the last instruction leaves the numbers in */
    bool lands;            /* that is an input, which is brought straight to the output */
    bool direct;           /* one instruction on memory as it lies, without tiles */
    bool slow;             /* its instructions take longer than memory does */
    uint32_t instructions; /* in step->instructions */
    uint32_t ndim;         /* at least 1 */
    int64_t extent[MIA__VIEW_MODES];
    int64_t stride[MIA__MAX_OPERANDS][MIA__VIEW_MODES];
} mia__cpu_elementwise;

/* out[N, M, batch] = w[K, N, batch] by x[K, M, batch] */
typedef struct mia__cpu_matmul {
    int64_t k, n, m;
    int64_t w_stride[2], x_stride[2]; /* of modes 0 and 1 */
    uint32_t batch_ndim;
    int64_t batch_extent[MIA__VIEW_MODES];
    int64_t w_batch[MIA__VIEW_MODES], x_batch[MIA__VIEW_MODES]; /* strides */
    int64_t batches;
    int64_t n_tiles, m_tiles, n_tile, m_tile; /* how the output is cut into units */
    int64_t panels;                           /* of activations, a batch */
    mia_dtype dtype, x_dtype;                 /* of w, of x and the output */
    size_t x_bytes;                           /* of scratch memory that x is brought into */
    bool prepared;                            /* w is in the form of forms.h */
    bool packed;                              /* x is brought into panels by phase 0 */
    bool tiled;                               /* results are made in tiles on the stack */
    bool narrows;                             /* they are f32, and narrowed there */
} mia__cpu_matmul;

/* Rows of softmax and norms: a row is what is normalised together. Operands are the output, the input, and the
 * channel, which counts weights and biases. */
typedef struct mia__cpu_rows {
    mia__cpu_loop outer; /* over rows */
    mia__cpu_loop inner; /* over the elements of a row */
    int64_t length;      /* of a row */
    int64_t channels;
    bool spread; /* weights and biases are brought into scratch memory by phase 0 */
    double epsilon;
} mia__cpu_rows;

typedef struct mia__cpu_rope {
    int64_t dim, heads, positions, rotated;
    int64_t x_stride[3];
    int64_t out_stride[3];
    int64_t position_stride, frequency_stride;
    bool halves;
    double magnitude;
    mia_dtype dtype;
} mia__cpu_rope;

typedef struct mia__cpu_attention {
    int64_t dim, value_dim, heads, queries, keys, groups;
    int64_t q_stride[3], k_stride[3], v_stride[3], mask_stride[3];
    int64_t tiles;  /* of rows of one group */
    int64_t pieces; /* that the keys of a tile are dealt to */
    bool spread;    /* queries are brought into scratch memory, as f32 */
    bool joined;    /* results are made in scratch memory, and joined by the last phase */
    bool masked;
    uint32_t length; /* the operand that holds it */
    double scale;
    mia_dtype q_dtype, k_dtype, v_dtype;
} mia__cpu_attention;

typedef struct mia__cpu_partial mia__cpu_partial; /* reduce.h */
typedef void (*mia__cpu_take)(const mia__cpu_kernels *kernels, mia__cpu_partial *partial, const void *x,
                              size_t count, int64_t first);

typedef struct mia__cpu_reduce {
    mia__cpu_loop kept;    /* operand 0 the output, 1 the input, over the modes that stay */
    mia__cpu_loop reduced; /* operand 1 the input, over the modes that go */
    int64_t count;         /* elements that enter a result */
    int64_t results;
    int64_t columns; /* neighbouring results that a unit makes */
    size_t parts;    /* that the reduced modes are cut into; of more than one, the results are combined */
    bool as_they_lie, rows_added; /* how elements are walked; otherwise they are brought out */
    mia__cpu_take take;
} mia__cpu_reduce;

/* Lines along one mode (scan.c, sort.c); strides in elements. */
typedef struct mia__cpu_lines {
    mia__cpu_loop outer; /* over the other modes: operand 0 the output, 1 the input */
    int64_t count;       /* of lines */
    int64_t length;      /* of the operand's line */
    int64_t kept;        /* of the result's */
    int64_t in_stride, out_stride;
    int64_t pieces; /* that a line is cut into, which are worked on at once */
    int64_t lanes;  /* that lines are dealt out to, each with scratch of its own */
    int64_t room;   /* items in the scratch of a lane or piece, half of them to sort with */
    bool flipped;   /* the greatest first; of a running sum from the end */
    bool exclusive;
} mia__cpu_lines;

/* A copy of all of a value; see copy.h. */
typedef struct mia__cpu_copy {
    mia__cpu_loop loop; /* operand 0 is written from operand 1 */
    size_t bytes;       /* of what is moved at a time: short rows count as one unit */
} mia__cpu_copy;

/* A copy whose input runs along mode 1: in tiles. */
typedef struct mia__cpu_turn {
    mia__cpu_copy copy;
    int64_t tiles; /* along mode 1 */
    bool stream;   /* past the caches */
} mia__cpu_turn;

/* Elements found by index: out = in[index]. */
typedef struct mia__cpu_taken {
    mia__cpu_loop loop; /* operand 0 the output, 1 the input at index 0, 2 the indices */
    size_t bytes;       /* of what is moved at a time */
    int64_t extent;     /* of the mode that is indexed */
    int64_t stride;     /* of it, in the input */
} mia__cpu_taken;

/* Elements put where their index says: lines of the indexed mode, and what they are beside. */
typedef struct mia__cpu_scattered {
    mia__cpu_copy copy;  /* of what is overwritten, unless in place */
    mia__cpu_loop lines; /* operand 0 the output, 1 the part, 2 the indices; without the indexed mode */
    int64_t count;       /* indices of a line */
    int64_t extent;      /* of the mode */
    int64_t out_stride, part_stride, index_stride; /* along the mode */
} mia__cpu_scattered;

/* Numbers of a table at indices. */
typedef struct mia__cpu_embedding {
    mia__cpu_loop rows; /* operand 0 the output, 1 the indices */
    int64_t length;     /* of a row */
    int64_t extent;     /* rows of the table */
    int64_t step;       /* from element to element of a row */
    int64_t stride;     /* from row to row, in units */
} mia__cpu_embedding;

/* A convolution, out [W', H', outputs * groups, N]; strides in elements. One dimension has a second mode of
 * extent 1. */
typedef struct mia__cpu_convolution {
    mia__window_axis axis[2];
    int64_t channels, outputs, groups; /* channels and outputs are those of a group */
    int64_t batches;
    int64_t x_channel, x_batch;
    int64_t w_step[2], w_channel, w_output;
    int64_t places;           /* of the window, in both modes */
    int64_t depth;            /* products that a number is the sum of */
    int64_t n_tiles, m_tiles; /* how places and outputs are cut into units */
    int64_t m_tile;
    bool widened; /* x is read from scratch, as f32 */
} mia__cpu_convolution;

typedef struct mia__cpu_pool {
    mia__window_axis axis[2];
    mia__cpu_loop outer; /* over modes 2.. : operand 0 the output, 1 the input */
} mia__cpu_pool;

/* A step as compiled. */
struct mia__cpu_step {
    const mia__step *source;
    const mia__cpu_kernels *kernels;
    mia__cpu_phase phases[MIA__CPU_MAX_PHASES];
    uint32_t phase_count;
    bool shared;   /* worth waking the pool for; otherwise the calling thread does it alone */
    bool fallback; /* runs on a reference kernel */
    double work;   /* estimate of nanoseconds on one thread */
    size_t input_offset[MIA__MAX_OPERANDS], output_offset; /* of views, in bytes */
    mia__cpu_instruction *instructions;                    /* room for mia__cpu_instructions_most(source) */
    mia__cpu_fused *fused; /* of a step with cores, which has no phases of its own */
    uint32_t joined;       /* steps behind it that run with it; then `shared` is about all of them */
    union {
        mia__cpu_elementwise elementwise;
        mia__cpu_loop loop;
        mia__cpu_matmul matmul;
        mia__cpu_rows rows;
        mia__cpu_rope rope;
        mia__cpu_attention attention;
        mia__cpu_reduce reduce;
        mia__cpu_lines lines;
        mia__cpu_convolution convolution;
        mia__cpu_pool pool;
        mia__cpu_copy copy;
        mia__cpu_turn turn;
        mia__cpu_taken taken;
        mia__cpu_scattered scattered;
        mia__cpu_embedding embedding;
    } as;
};

/* One of the steps that a step with cores is made of. */
typedef struct mia__cpu_member {
    mia__step source;
    mia__cpu_step step;
    uint8_t from
        [MIA__MAX_OPERANDS]; /* its inputs: those of the fused step, or MIA__MAX_OPERANDS + a part's result */
    bool runs;               /* by itself, its result in memory; otherwise it runs within another */
    size_t result;           /* where that is in the step's scratch, SIZE_MAX: the output or nowhere */
    size_t scratch;
} mia__cpu_member;

/* A step with cores: prologue, norm, cores and epilogue, those that there are. */
#define MIA__CPU_MOST_PARTS (MIA__MOST_CORES + 3)
struct mia__cpu_fused {
    mia__cpu_member *parts;
    uint32_t count, core;            /* core: the part that the cores begin with */
    bool has_prologue, has_epilogue; /* the first part, the last part */
    mia__instruction *instructions;  /* of the prologue; from step->core on those of the epilogue */
    size_t bytes;                    /* of scratch */
};

/* A plan's steps as compiled. */
typedef struct mia__cpu_program {
    uint32_t count, fallbacks;
    size_t bytes;
    mia__cpu_step steps[];
} mia__cpu_program;

/* An open backend. */
typedef struct mia__cpu {
    mia__host_backend host;
    mia_precision precision;
    mia__cpu_isa isa;
    mia__cpu_kernels kernels;
    mia__pool *pool;
    double shared_nanoseconds; /* steps of less work than this stay on the calling thread */
} mia__cpu;

/* Fills in phases, geometry and work of a step (source, kernels and offsets are set), or returns false: then
 * the reference kernel does it. Pure. */
typedef bool (*mia__cpu_chooser)(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);

/* --- table.c ---------------------------------------------------------------------------------- */

/* The chooser of an operation, NULL when the reference kernel is all there is. */
mia__cpu_chooser mia__cpu_chooser_find(mia_op op);
size_t mia__cpu_scratch(const void *cpu, const mia__plan *plan, const mia__step *step);

/* --- compile.c -------------------------------------------------------------------------------- */
mia_status mia__cpu_compile(mia__backend *backend, const mia__plan *plan, void **program, mia_error *error);
void mia__cpu_discard(mia__backend *backend, void *program);
/* Finds out whether a chosen step is worth sharing, and cuts its phases. */
void mia__cpu_share(const mia__cpu *cpu, mia__cpu_step *step);
/* Compiles one step, of that plan or of parts of its steps; room: for its instructions. */
mia_status mia__cpu_choose(const mia__cpu *cpu, const mia__plan *plan, const mia__step *source,
                           mia__cpu_instruction *room, mia__cpu_step *out, mia_error *error);

/* --- run.c ------------------------------------------------------------------------------------ */
void mia__cpu_run(mia__backend *backend, mia__run *run);

/* --- loop.c: what families share, geometry above all ------------------------------------------ */
void mia__cpu_loop_make(mia__cpu_loop *loop, const mia__view *shape, uint32_t first_mode,
                        const mia__view *const *operands, uint32_t count);
/* Offsets, in elements, of operands [0, count) at the `row`-th pass of the modes from first_mode on. */
void mia__cpu_loop_offsets(const mia__cpu_loop *loop, uint32_t first_mode, size_t row, uint32_t count,
                           int64_t *offsets);
/* Lines along a mode of a step's operand 0 and its output: outer, count, length, kept and strides. */
mia__cpu_lines mia__cpu_lines_make(const mia__step *step, uint32_t mode);
/* memmove to a place before `from`, or elsewhere, unless the run is to stop meanwhile. */
void mia__cpu_move(const mia__cpu_task *task, char *to, const char *from, size_t bytes);
/* Appends a phase. */
void mia__cpu_phase_add(mia__cpu_step *step, mia__cpu_function function, size_t units);
static inline bool mia__cpu_is_float(mia_dtype dtype) {
    return dtype == MIA_f32 || dtype == MIA_f16 || dtype == MIA_bf16;
}

/* --- fused.c: steps with cores ---------------------------------------------------------------- */
bool mia__cpu_has_cores(const mia__step *step);
size_t mia__cpu_scratch_fused(const mia__cpu *cpu, const mia__plan *plan, const mia__step *step);
/* Whether a step, one of a plan's, is one of a group whose first rounds the same x to 8 bits into its own scratch. */
bool mia__cpu_borrows_scratch(const mia__cpu *cpu, const mia__plan *plan, const mia__step *step);
/* The first step of the group that step `index` is one of; itself when it is alone. */
uint32_t mia__cpu_group_of(const mia__plan *plan, uint32_t index);
/* Bytes that a step with cores takes of a program, a multiple of what its parts are aligned to. */
size_t mia__cpu_fused_bytes(const mia__plan *plan, const mia__step *step);
/* fused: so many bytes. */
mia_status mia__cpu_choose_fused(const mia__cpu *cpu, const mia__plan *plan, const mia__step *source,
                                 mia__cpu_instruction *room, mia__cpu_fused *fused, mia__cpu_step *out,
                                 mia_error *error);
/* The tasks of all parts, of a task of the whole step. */
void mia__cpu_fused_tasks(const mia__cpu_task *whole, mia__cpu_task tasks[MIA__CPU_MOST_PARTS]);
/* Elements first .. first + count of what comes before a core, in `room`; returns where element 0 would be. */
const char *mia__cpu_chain_before(const mia__cpu_task *before, size_t first, size_t count, void *room);
/* What comes behind cores, whose results from element `first` on are at results[]. `behind` is a copy of the task. */
void mia__cpu_chain_behind(mia__cpu_task *behind, const void *const *results, uint32_t cores, size_t first,
                           size_t count);
/* What a step is about: itself, or the first of its cores. */
static inline const mia__cpu_step *mia__cpu_core(const mia__cpu_step *step) {
    return step->fused != NULL ? &step->fused->parts[step->fused->core].step : step;
}
/* Where element 0 would be when element `first` is at `at`: not to be read, but a place to count from. */
static inline char *mia__cpu_origin(const void *at, size_t first, size_t bytes) {
    return (char *)((uintptr_t)at - first * bytes);
}

/* --- families: choosers ----------------------------------------------------------------------- */
bool mia__cpu_choose_elementwise(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
/* Elements first .. first + count of an element-wise step's result. */
void mia__cpu_chain_run(const mia__cpu_task *task, size_t first, size_t count);
/* The kernel of a registered element-wise operation on tiles of a lane. */
mia__cpu_span_kernel mia__cpu_custom_kernel(mia__cpu_lane lane);
bool mia__cpu_choose_custom(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_convert(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_conversion(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_blocks(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
/* Whether a step moves blocks, which the family of the line above does whatever the operation. */
bool mia__cpu_moves_blocks(const mia__step *step);
bool mia__cpu_choose_copy(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_concat(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_pad(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_update(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_embedding(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_take(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_scatter(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_shifted(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_creation(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_cumsum(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_sort(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_window(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_pool(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_reduce(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_normalise(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_rope(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_attention(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
bool mia__cpu_choose_matmul(const mia__cpu *cpu, const mia__plan *plan, mia__cpu_step *out);
/* matmul_wide.c: products in double */
void mia__cpu_choose_matmul_f64(const mia__cpu *cpu, mia__cpu_step *out);
size_t mia__cpu_scratch_matmul_f64(const mia__cpu *cpu, const mia__step *step);
mia__cpu_matmul mia__cpu_matmul_describe(const mia__cpu *cpu, const mia__step *step);
int64_t mia__cpu_matmul_offset(const mia__cpu_matmul *matmul, const int64_t *strides, int64_t batch);
size_t mia__cpu_scratch_matmul(const mia__cpu *cpu, const mia__step *step);
/* Lets a chosen product make its results in tiles on the stack, of so many cores. False: it has no tiles. */
bool mia__cpu_matmul_in_tiles(mia__cpu_step *step, uint32_t cores);
bool mia__cpu_matmul_takes(const mia__step *step);
/* Whether both bring the same x, if they read one, into the same form. */
bool mia__cpu_matmul_shares(const mia__cpu_step *a, const mia__cpu_step *b);
/* Whether a reduction, or a row of a norm, takes its input a stretch at a time from what comes before it. */
bool mia__cpu_reduce_takes_before(const mia__step *step);
bool mia__cpu_rows_take_chains(const mia__step *step);
size_t mia__cpu_scratch_rows(const mia__cpu *cpu, const mia__step *step);
size_t mia__cpu_scratch_attention(const mia__cpu *cpu, const mia__step *step);
size_t mia__cpu_scratch_scatter(const mia__cpu *cpu, const mia__step *step);
size_t mia__cpu_scratch_rope(const mia__cpu *cpu, const mia__step *step);
size_t mia__cpu_scratch_window(const mia__cpu *cpu, const mia__step *step);
size_t mia__cpu_scratch_reduce(const mia__cpu *cpu, const mia__step *step);
size_t mia__cpu_scratch_cumsum(const mia__cpu *cpu, const mia__step *step);
size_t mia__cpu_scratch_sort(const mia__cpu *cpu, const mia__step *step);

/* Most instructions that a step is compiled to. */
static inline uint32_t mia__cpu_instructions_most(const mia__step *step) {
    if (step->op == MIA__OP_FUSED)
        return 2 * step->instruction_count; /* each may be followed by a rounding */
    const mia__op_row *row = mia__op_row_of(step->op, step->custom);
    bool elementwise = row != NULL && row->info.op_class == MIA_CLASS_ELEMENTWISE;
    return step->op == MIA_OP_convert || elementwise ? 1 : 0;
}

/* Units of mia__cpu_choose_normalise in f64 (normalise_f64.c). */
void mia__cpu_rows_f64(const mia__cpu_task *task, size_t begin, size_t end);

/* Keys that query t sees. */
int64_t mia__cpu_attention_seen(const mia__cpu_task *task, int64_t t);
/* Units of mia__cpu_choose_attention, a head's query each, in f64 (attention_f64.c). */
void mia__cpu_attention_f64(const mia__cpu_task *task, size_t begin, size_t end);

/* --- cpu.c ------------------------------------------------------------------------------------ */
extern const mia__backend_type mia__backend_cpu;

#endif
