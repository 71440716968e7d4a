/* Describing a dispatch (kernel.h): parameters, bindings, text, and the pipeline that comes of them. */
#include "backend/webgpu/kernel.h"

#include "graph/ops.h"
#include "plan/bindings.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MOST_PIECES 4096 /* of a step */
#define MOST_NUMBER                                                                                          \
    (UINT32_MAX - (1u << 24)) /* those that fill up a row of workgroups are beyond, and do not wrap */

void mia__kernel_begin(mia__kernel *k) {
    mia__text_clear(&k->code);
    k->once_count = 0;
    k->nanoseconds = 0;
    if (k->jobs != NULL) return; /* what follows is the other jobs', too */
    mia__text_clear(&k->enables);
    mia__text_clear(&k->fields);
    k->value_count = k->slot_count = 0;
}

void mia__kernel_again(mia__kernel *k) {
    if (k->status == MIA_OK) k->why = NULL;
    mia__kernel_begin(k);
}

bool mia__kernel_refuse(mia__kernel *k, const char *why) {
    if (k->why == NULL) k->why = why;
    return false;
}

static bool no_memory(mia__kernel *k) {
    k->status = MIA_ERROR_NO_MEMORY;
    return false;
}

/* --- parts ------------------------------------------------------------------------------------ */

bool mia__kernel_bind(mia__kernel *k, uint32_t buffer, const char *element, bool written, uint32_t *slot) {
    for (uint32_t s = 0; s < k->slot_count; s++) {
        if (k->slots[s].buffer != buffer) continue;
        k->slots[s].written = k->slots[s].written || written;
        *slot = s;
        return strcmp(k->slots[s].element, element) == 0 ||
               mia__kernel_refuse(k, "one buffer would be read in two ways");
    }
    if (k->slot_count >= k->info.limits.storage_buffers || k->slot_count + 1 >= MIA__GPU_MOST_BINDINGS)
        return mia__kernel_refuse(k, "it has more operands than the GPU binds buffers");
    k->slots[k->slot_count] = (mia__kernel_slot){buffer, written, element};
    *slot = k->slot_count++;
    return true;
}

/* Whether "\n    name: " is among the fields. */
static bool has_field(const mia__kernel *k, const char *name) {
    const char *at = mia__text_get(&k->fields);
    size_t length = strlen(name);
    for (; (at = strstr(at, name)) != NULL; at += length)
        if (at[-1] == ' ' && at[length] == ':') return true;
    return false;
}

static void add_parameter(mia__kernel *k, const char *own, const char *type, uint32_t value) {
    char name[80];
    (void)snprintf(name, sizeof name, "%s%s", k->jobs != NULL ? mia__jobs_prefix(k->jobs) : "", own);
    if (has_field(k, name)) return;
    if (k->value_count == MIA__KERNEL_MOST_PARAMETERS) {
        (void)mia__kernel_refuse(k, "it has too many parameters");
        return;
    }
    mia__text_add(&k->fields, "    %s: %s,\n", name, type);
    k->values[k->value_count++] = value;
}

void mia__kernel_u32(mia__kernel *k, const char *name, uint64_t value) {
    add_parameter(k, name, "u32", (uint32_t)value);
}

void mia__kernel_f32(mia__kernel *k, const char *name, double value) {
    float narrow = (float)value;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    add_parameter(k, name, "f32", bits);
}

void mia__kernel_put(mia__kernel *k, const char *wgsl) {
    mia__text_put(&k->code, wgsl);
}

void mia__kernel_add(mia__kernel *k, const char *format, ...) {
    char line[2000];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof line)
        k->code.failed = true;
    else
        mia__text_put(&k->code, line);
}

bool mia__kernel_lacks(const mia__kernel *k, const char *name) {
    const char *at = mia__text_get(&k->code);
    size_t length = strlen(name);
    for (; (at = strstr(at, name)) != NULL; at += length)
        if (at[length] == '(' && at - mia__text_get(&k->code) >= 3 && memcmp(at - 3, "fn ", 3) == 0)
            return false;
    return true;
}

void mia__kernel_put_with(mia__kernel *k, const char *wgsl, const mia__kernel_word *words, uint32_t count) {
    while (*wgsl != 0) {
        const char *next = NULL;
        const mia__kernel_word *word = NULL;
        for (uint32_t i = 0; i < count; i++) {
            const char *at = strstr(wgsl, words[i].from);
            if (at == NULL || (next != NULL && at >= next)) continue;
            next = at;
            word = &words[i];
        }
        if (word == NULL) {
            mia__text_put(&k->code, wgsl);
            return;
        }
        mia__text_add(&k->code, "%.*s%s", (int)(next - wgsl), wgsl, word->to);
        wgsl = next + strlen(word->from);
    }
}

void mia__kernel_once(mia__kernel *k, const char *wgsl) {
    for (uint32_t i = 0; i < k->once_count; i++)
        if (k->once[i] == wgsl) return;
    if (k->once_count == MIA__KERNEL_MOST_ONCE) {
        k->code.failed = true;
        return;
    }
    k->once[k->once_count++] = wgsl;
    mia__text_put(&k->code, wgsl);
}

void mia__kernel_enable(mia__kernel *k, const char *directive) {
    if (strstr(mia__text_get(&k->enables), directive) == NULL) mia__text_add(&k->enables, "%s\n", directive);
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Arrays grow by doubling. */
static bool grow(const mia_allocator *allocator, void **array, uint32_t needed, uint32_t *capacity,
                 size_t size) {
    if (needed <= *capacity) return true;
    uint32_t wanted = *capacity == 0 ? 64 : *capacity;
    while (wanted < needed) wanted *= 2;
    void *grown = mia_reallocate_array(allocator, *array, *capacity, wanted, size);
    if (grown == NULL) return false;
    *array = grown;
    *capacity = wanted;
    return true;
}

/* Puts the parameters behind those of other dispatches, where a binding may begin. */
static bool add_parameters(mia__kernel *k, mia__webgpu_dispatch *dispatch) {
    mia__webgpu_program *program = k->program;
    uint32_t alignment = k->info.limits.uniform_alignment / 4;
    uint32_t first = (program->parameter_words + alignment - 1) / alignment * alignment;
    uint32_t count = (k->value_count + 3) & ~3u;
    void *words = program->parameters;
    if (!grow(k->webgpu->allocator, &words, first + count, &program->parameter_capacity, sizeof(uint32_t)))
        return false;
    program->parameters = words;
    memset(program->parameters + program->parameter_words, 0,
           (first + count - program->parameter_words) * sizeof(uint32_t));
    memcpy(program->parameters + first, k->values, k->value_count * sizeof(uint32_t));
    program->parameter_words = first + count;
    dispatch->parameter_offset = first * 4;
    dispatch->parameter_bytes = count * 4;
    return true;
}

/* How each slot is to be bound, by WebGPU's rule on aliasing. */
static bool bind_slots(const mia__kernel *k, mia__plan_binding *bindings) {
    for (uint32_t s = 0; s < k->slot_count; s++)
        bindings[s] = (mia__plan_binding){.buffer = k->slots[s].buffer, .written = k->slots[s].written};
    return mia__plan_bind(k->plan, bindings, k->slot_count);
}

static void write_module(mia__kernel *k, mia__text *module, mia__gpu_shader *shader,
                         const mia__plan_binding *bindings) {
    shader->access[0] = MIA__GPU_PARAMETERS;
    shader->binding_count = k->slot_count + 1;
    mia__text_put(module, mia__text_get(&k->enables));
    mia__text_add(module, "struct Parameters {\n%s}\n@group(0) @binding(0) var<uniform> p: Parameters;\n",
                  mia__text_get(&k->fields));
    for (uint32_t s = 0; s < k->slot_count; s++) {
        bool read_write = bindings[s].read_write;
        shader->access[s + 1] = read_write ? MIA__GPU_READ_WRITE : MIA__GPU_READ;
        mia__text_add(module, "@group(0) @binding(%u) var<storage, %s> b%u: array<%s>;\n", s + 1,
                      read_write ? "read_write" : "read", s, k->slots[s].element);
    }
    mia__text_put(module, mia__text_get(&k->code));
}

double mia__kernel_estimate(double bytes) {
    const double launch = 3000, bytes_a_nanosecond = 1000;
    return launch + bytes / bytes_a_nanosecond;
}

static double estimate(const mia__kernel *k) {
    double bytes = 0;
    for (uint32_t s = 0; s < k->slot_count; s++) bytes += (double)k->plan->buffers[k->slots[s].buffer].bytes;
    return mia__kernel_estimate(bytes);
}

/* The dispatch that was described, but for its parameters and workgroups. */
static bool make(mia__kernel *k, mia__webgpu_dispatch *dispatch) {
    if (k->why != NULL) return false;
    if (k->jobs != NULL) return mia__kernel_refuse(k, "it is no job of a dispatch");
    for (uint32_t s = 0; s < k->slot_count; s++)
        if (k->plan->buffers[k->slots[s].buffer].bytes > k->info.limits.binding_bytes)
            return mia__kernel_refuse(k, "an operand is larger than what the GPU binds");
    mia__plan_binding bindings[MIA__GPU_MOST_BINDINGS];
    if (!bind_slots(k, bindings)) return mia__kernel_refuse(k, "its operands overlap what it writes");
    if (k->value_count == 0) mia__kernel_u32(k, "nothing", 0);
    mia__text module = {.allocator = k->webgpu->allocator};
    const mia__op_row *row = mia__op_row_of(k->step->op, k->step->custom);
    mia__gpu_shader shader = {.label = row != NULL ? row->info.name : "fused"};
    write_module(k, &module, &shader, bindings);
    bool failed = k->enables.failed || k->fields.failed || k->code.failed || module.failed;
    shader.wgsl = mia__text_get(&module);
    *dispatch = (mia__webgpu_dispatch){.step = k->step_index,
                                       .binding_count = k->slot_count,
                                       .nanoseconds = k->nanoseconds > 0 ? k->nanoseconds : estimate(k)};
    for (uint32_t s = 0; s < k->slot_count; s++) dispatch->buffers[s] = k->slots[s].buffer;
    dispatch->pipeline = failed ? NULL : mia__webgpu_pipeline_get(k->webgpu, &shader);
    mia__text_free(&module);
    return dispatch->pipeline != NULL || no_memory(k);
}

/* Puts it into the program with the parameters as they are. */
static bool append(mia__kernel *k, mia__webgpu_dispatch dispatch, uint64_t x, uint64_t y, uint64_t z) {
    mia__webgpu_program *program = k->program;
    void *dispatches = program->dispatches;
    uint32_t most = k->info.limits.workgroups;
    if (x > most || y > most || z > most)
        return mia__kernel_refuse(k, "it is larger than the GPU's dispatches");
    dispatch.groups[0] = (uint32_t)x;
    dispatch.groups[1] = (uint32_t)y;
    dispatch.groups[2] = (uint32_t)z;
    if (!add_parameters(k, &dispatch) || !grow(k->webgpu->allocator, &dispatches, program->count + 1,
                                               &program->capacity, sizeof *program->dispatches))
        return no_memory(k);
    program->dispatches = dispatches;
    program->dispatches[program->count++] = dispatch;
    program->nanoseconds += dispatch.nanoseconds;
    return true;
}

/* In x and y where x alone has no room. */
static bool append_flat(mia__kernel *k, mia__webgpu_dispatch dispatch, uint64_t workgroups) {
    uint64_t most = k->info.limits.workgroups, rows = (workgroups + most - 1) / most;
    return append(k, dispatch, (workgroups + rows - 1) / rows, rows, 1);
}

bool mia__kernel_end_flat(mia__kernel *k, uint64_t workgroups) {
    mia__webgpu_dispatch dispatch;
    if (!make(k, &dispatch) || !append_flat(k, dispatch, workgroups)) return false;
    mia__kernel_begin(k);
    return true;
}

static bool is_wide(const mia__kernel *k) {
    uint64_t most = k->info.limits.workgroups;
    return k->grid.x > most || k->grid.y > most || k->grid.z > most;
}

void mia__kernel_main(mia__kernel *k, mia__kernel_grid grid, uint32_t invocations, const char *more) {
    k->grid = grid;
    if (!is_wide(k)) {
        mia__kernel_add(k,
                        "@compute @workgroup_size(%u)\n"
                        "fn main(@builtin(workgroup_id) id: vec3<u32>, %s) {\n",
                        invocations, more);
        return;
    }
    mia__kernel_u32(k, "grid_x", grid.x);
    mia__kernel_u32(k, "grid_y", grid.y);
    mia__kernel_u32(k, "grid_z", grid.z);
    mia__kernel_add(k,
                    "@compute @workgroup_size(%u)\n"
                    "fn main(@builtin(workgroup_id) flat: vec3<u32>, @builtin(num_workgroups) across: "
                    "vec3<u32>, %s) {\n"
                    "    let place = flat.x + flat.y * across.x;\n    let line = place / p.grid_x;\n"
                    "    let id = vec3<u32>(place %% p.grid_x, line %% p.grid_y, line / p.grid_y);\n"
                    "    if (id.z >= p.grid_z) { return; }\n",
                    invocations, more);
}

bool mia__kernel_end_grid(mia__kernel *k) {
    const mia__kernel_grid *grid = &k->grid;
    const uint64_t most = MOST_NUMBER;
    mia__webgpu_dispatch dispatch;
    if (!is_wide(k)) {
        if (!make(k, &dispatch) || !append(k, dispatch, grid->x, grid->y, grid->z)) return false;
        mia__kernel_begin(k);
        return true;
    }
    if (grid->x > most || grid->y > most / grid->x || grid->z > most / (grid->x * grid->y))
        return mia__kernel_refuse(k, "it is larger than the GPU's dispatches");
    return mia__kernel_end_flat(k, grid->x * grid->y * grid->z);
}

/* The invocations from one on, in as many dispatches as take about a piece of a run each. */
static bool append_pieces(mia__kernel *k, mia__webgpu_dispatch dispatch, uint64_t count, uint32_t from) {
    const uint64_t size = MIA__KERNEL_INVOCATIONS, groups = (count + size - 1) / size;
    double wanted = ceil(dispatch.nanoseconds * k->webgpu->speed_first / MIA__WEBGPU_PIECE_NANOSECONDS);
    uint64_t pieces = wanted < 1 ? 1 : wanted > MOST_PIECES ? MOST_PIECES : (uint64_t)wanted;
    uint64_t each = (groups + pieces - 1) / pieces, used = (groups + each - 1) / each;
    dispatch.nanoseconds /= (double)used;
    for (uint64_t group = 0; group < groups; group += each) {
        uint64_t last = group + each < groups ? (group + each) * size : count;
        k->values[from] = (uint32_t)(group * size);
        k->values[from + 1] = (uint32_t)last;
        if (!append_flat(k, dispatch, (last - group * size + size - 1) / size)) return false;
    }
    return true;
}

bool mia__kernel_each(mia__kernel *k, uint64_t count) {
    mia__webgpu_dispatch dispatch;
    if (count > MOST_NUMBER) return mia__kernel_refuse(k, "its result has more than 2^32 elements");
    if (k->jobs != NULL) return mia__jobs_add(k, count);
    uint32_t from = k->value_count;
    mia__kernel_u32(k, "each_from", 0);
    mia__kernel_u32(k, "each_end", count);
    mia__kernel_add(
        k,
        "@compute @workgroup_size(%d)\n"
        "fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>) {\n"
        "    let i = id.x + id.y * n.x * %du + p.each_from;\n"
        "    if (i < p.each_end) { each(i); }\n}\n",
        MIA__KERNEL_INVOCATIONS, MIA__KERNEL_INVOCATIONS);
    if (!make(k, &dispatch) || !append_pieces(k, dispatch, count, from)) return false;
    mia__kernel_begin(k);
    return true;
}
