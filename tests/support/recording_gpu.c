/* The recording GPU (recording_gpu.h). Objects stay in memory until it is closed, so that use after free is a fault that
 * is written down; what ends later waits in a queue that polls count down. */
#include "support/recording_gpu.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mia__gpu_buffer {
    mia__gpu_buffer *next;
    uint32_t number;
    mia__gpu_usage usage;
    uint64_t bytes;
    uint8_t *memory;
    bool mapped, freed;
};

struct mia__gpu_pipeline {
    mia__gpu_pipeline *next;
    uint32_t number;
    mia__gpu_access access[MIA__GPU_MOST_BINDINGS];
    uint32_t count;
    char *wgsl;
    bool freed;
};

struct mia__gpu_bindings {
    mia__gpu_bindings *next;
    uint32_t number;
    mia__gpu_pipeline *pipeline;
    mia__gpu_binding list[MIA__GPU_MOST_BINDINGS];
    uint32_t count;
    bool freed;
};

typedef struct text {
    char *data;
    size_t length, capacity;
} text;

/* A copy that waits for submit, or (from is NULL) the times of stamps. */
typedef struct command {
    struct command *next;
    mia__gpu_buffer *from, *into;
    uint64_t from_offset, into_offset, bytes;
} command;

typedef struct ending {
    struct ending *next;
    uint32_t polls;
    uint64_t at; /* by the clock, it ends */
    mia__gpu_done done;
    mia__gpu_made made;
    mia__gpu_mapped mapped;
    mia__gpu_pipeline *pipeline;
    mia__gpu_buffer *buffer;
    mia_status status;
    const char *message;
    void *user;
} ending;

typedef struct recording {
    mia__gpu base;
    recording_settings settings;
    void (*failed)(void *user, mia_status status, const char *message);
    void *user;
    text lines, faults;
    mia__gpu_buffer *buffers; /* newest first, as the others */
    mia__gpu_pipeline *pipelines;
    mia__gpu_bindings *bindings;
    command *oldest_command;
    ending *oldest;
    uint32_t buffer_count, pipeline_count, bindings_count, submits, fail_buffer;
    uint64_t time;        /* of stamps */
    uint64_t clock, busy; /* now; until then the GPU works */
    uint64_t gathered;    /* nanoseconds of dispatches that wait for submit */
    recording_times took;
    bool stamped[MIA__GPU_MOST_STAMPS];
    bool lost, told_lost;
} recording;

static recording_settings next_settings;
static recording *last;

/* --- text --------------------------------------------------------------------------------------------- */

static void add_text(text *t, const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    size_t needed = t->length + (size_t)length + 1;
    if (needed > t->capacity) {
        t->capacity = 2 * needed;
        t->data = realloc(t->data, t->capacity);
        if (t->data == NULL) abort();
    }
    (void)vsnprintf(t->data + t->length, (size_t)length + 1, format, arguments);
    t->length += (size_t)length;
}

MIA_PRINTF(2, 3) static void note(recording *gpu, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    add_text(&gpu->lines, format, arguments);
    va_end(arguments);
}

MIA_PRINTF(3, 4) static void hold(recording *gpu, bool rule, const char *format, ...) {
    if (rule) return;
    va_list arguments;
    va_start(arguments, format);
    add_text(&gpu->faults, format, arguments);
    va_end(arguments);
}

static void *make(size_t bytes) {
    void *made = calloc(1, bytes > 0 ? bytes : 1);
    if (made == NULL) abort();
    return made;
}

/* --- opening ------------------------------------------------------------------------------------------ */

mia__gpu_info recording_info(void) {
    return (mia__gpu_info){
        .name = "recording",
        .driver = "computes nothing",
        .library = "none",
        .limits = {.buffer_bytes = 256 << 20,
                   .binding_bytes = 128 << 20,
                   .storage_buffers = 8,
                   .storage_alignment = 256,
                   .uniform_alignment = 256,
                   .uniform_bytes = 65536,
                   .workgroup_bytes = 16384,
                   .workgroup_invocations = 256,
                   .workgroup_size = {256, 256, 64},
                   .workgroups = 65535},
    };
}

mia__gpu_info recording_info_large(void) {
    mia__gpu_info info = recording_info();
    info.features = MIA__GPU_F16 | MIA__GPU_SUBGROUPS | MIA__GPU_TIMESTAMPS | MIA__GPU_SUBGROUP_MATRIX |
                    MIA__GPU_PACKED_DOT;
    info.subgroup_least = info.subgroup_most = 32;
    info.matrices[0] = (mia__gpu_matrix){MIA_f16, MIA_f32, 16, 16, 16};
    info.matrices[1] = (mia__gpu_matrix){MIA_f16, MIA_f16, 16, 16, 16};
    info.matrix_count = 2;
    info.limits.buffer_bytes = UINT64_C(4) << 30;
    info.limits.binding_bytes = UINT64_C(2) << 30;
    info.limits.storage_buffers = 16;
    info.limits.workgroup_bytes = 49152;
    info.limits.workgroup_invocations = 1024;
    info.limits.workgroup_size[0] = info.limits.workgroup_size[1] = 1024;
    return info;
}

void recording_set(const recording_settings *settings) {
    next_settings = settings != NULL ? *settings : (recording_settings){0};
}

mia__gpu *recording_last(void) {
    return last != NULL ? &last->base : NULL;
}

static void open_recording(const mia__gpu_request *request, mia__gpu **out, mia__gpu_done done, void *user) {
    *out = NULL;
    if (next_settings.no_adapter) {
        done(user, MIA_ERROR_NOT_FOUND, "recording: told to find no adapter");
        return;
    }
    recording *gpu = make(sizeof *gpu);
    gpu->settings = next_settings;
    gpu->base =
        (mia__gpu){&recording_gpu_type, next_settings.info != NULL ? *next_settings.info : recording_info()};
    gpu->failed = request->failed;
    gpu->user = request->user;
    gpu->fail_buffer = next_settings.fail_buffer;
    last = gpu;
    *out = &gpu->base;
    done(user, MIA_OK, NULL);
}

#define FREE_LIST(type, first, release)                                                                      \
    for (type *item = (first), *after; item != NULL; item = after) {                                         \
        after = item->next;                                                                                  \
        release;                                                                                             \
        free(item);                                                                                          \
    }

static void close_recording(mia__gpu *base) {
    recording *gpu = (recording *)base;
    FREE_LIST(mia__gpu_buffer, gpu->buffers, free(item->memory))
    FREE_LIST(mia__gpu_pipeline, gpu->pipelines, free(item->wgsl))
    FREE_LIST(mia__gpu_bindings, gpu->bindings, (void)0)
    FREE_LIST(command, gpu->oldest_command, (void)0)
    FREE_LIST(ending, gpu->oldest, (void)0)
    free(gpu->lines.data);
    free(gpu->faults.data);
    if (last == gpu) last = NULL;
    free(gpu);
}

/* --- buffers ------------------------------------------------------------------------------------------ */

static mia__gpu_buffer *make_buffer(mia__gpu *base, uint64_t bytes, mia__gpu_usage usage, mia_error *error) {
    static const char *const usages[] = {"storage", "uniform", "readback"};
    recording *gpu = (recording *)base;
    bool fails = gpu->fail_buffer == 1;
    if (gpu->fail_buffer > 0) gpu->fail_buffer--;
    if (gpu->lost || fails || bytes > base->info.limits.buffer_bytes) {
        (void)mia_error_set(error, gpu->lost ? MIA_ERROR_DEVICE_LOST : MIA_ERROR_NO_MEMORY,
                            "recording: no buffer of %" PRIu64 " bytes", bytes);
        return NULL;
    }
    hold(gpu, bytes % 4 == 0, "buffer of %" PRIu64 " bytes is not of whole words\n", bytes);
    mia__gpu_buffer *buffer = make(sizeof *buffer);
    *buffer = (mia__gpu_buffer){.next = gpu->buffers,
                                .number = gpu->buffer_count++,
                                .usage = usage,
                                .bytes = bytes,
                                .memory = make((size_t)bytes)};
    gpu->buffers = buffer;
    note(gpu, "buffer %u %s %" PRIu64 "\n", buffer->number, usages[usage], bytes);
    return buffer;
}

static void free_buffer(mia__gpu *base, mia__gpu_buffer *buffer) {
    recording *gpu = (recording *)base;
    if (buffer == NULL) return;
    hold(gpu, !buffer->freed, "buffer %u freed twice\n", buffer->number);
    buffer->freed = true;
    note(gpu, "free buffer %u\n", buffer->number);
}

/* A range of a buffer that something is about to use. */
static void hold_range(recording *gpu, const char *what, const mia__gpu_buffer *buffer, uint64_t offset,
                       uint64_t bytes) {
    hold(gpu, !buffer->freed, "%s: buffer %u is freed\n", what, buffer->number);
    hold(gpu, !buffer->mapped, "%s: buffer %u is mapped\n", what, buffer->number);
    hold(gpu, offset % 4 == 0 && bytes % 4 == 0,
         "%s: buffer %u: %" PRIu64 ", %" PRIu64 " are not whole words\n", what, buffer->number, offset,
         bytes);
    hold(gpu, bytes <= buffer->bytes && offset <= buffer->bytes - bytes,
         "%s: buffer %u: %" PRIu64 " + %" PRIu64 " of %" PRIu64 "\n", what, buffer->number, offset, bytes,
         buffer->bytes);
}

static bool fits(const mia__gpu_buffer *buffer, uint64_t offset, uint64_t bytes) {
    return bytes <= buffer->bytes && offset <= buffer->bytes - bytes;
}

static void write_buffer(mia__gpu *base, mia__gpu_buffer *buffer, uint64_t offset, const void *from,
                         size_t bytes) {
    recording *gpu = (recording *)base;
    if (gpu->lost) return;
    hold_range(gpu, "write", buffer, offset, bytes);
    hold(gpu, buffer->usage != MIA__GPU_READBACK, "write: buffer %u is for reading back\n", buffer->number);
    note(gpu, "write %u at %" PRIu64 ", %zu bytes\n", buffer->number, offset, bytes);
    if (bytes > 0 && fits(buffer, offset, bytes)) memcpy(buffer->memory + offset, from, bytes);
}

/* --- what ends later ---------------------------------------------------------------------------------- */

static void begin(recording *gpu, const ending *what) {
    ending *item = make(sizeof *item), **end = &gpu->oldest;
    *item = *what;
    item->next = NULL;
    item->polls = gpu->settings.late + 1;
    while (*end != NULL) end = &(*end)->next;
    *end = item;
}

static void complete_oldest(recording *gpu) {
    ending item = *gpu->oldest;
    free(gpu->oldest);
    gpu->oldest = item.next;
    if (gpu->lost && item.status == MIA_OK) {
        item.status = MIA_ERROR_DEVICE_LOST;
        item.message = "recording: the device was lost";
    }
    if (item.done != NULL) item.done(item.user, item.status, item.message);
    if (item.made != NULL)
        item.made(item.user, item.status == MIA_OK ? item.pipeline : NULL, item.status, item.message);
    if (item.mapped != NULL) {
        item.buffer->mapped = item.status == MIA_OK;
        item.mapped(item.user, item.status == MIA_OK ? item.buffer->memory : NULL, item.status, item.message);
    }
}

static void poll(mia__gpu *base, bool block) {
    recording *gpu = (recording *)base;
    if (gpu->lost && !gpu->told_lost) {
        gpu->told_lost = true;
        if (gpu->failed != NULL)
            gpu->failed(gpu->user, MIA_ERROR_DEVICE_LOST, "recording: the device was lost");
    }
    if (block && gpu->oldest != NULL) {
        if (gpu->oldest->at > gpu->clock) gpu->clock = gpu->oldest->at;
        complete_oldest(gpu);
        return;
    }
    gpu->clock += gpu->settings.poll_nanoseconds;
    for (ending *item = gpu->oldest; item != NULL; item = item->next)
        if (item->polls > 0) item->polls--;
    while (gpu->oldest != NULL && ((gpu->oldest->polls == 0 && gpu->oldest->at <= gpu->clock) || gpu->lost))
        complete_oldest(gpu);
}

static uint64_t now(mia__gpu *base) {
    return ((const recording *)base)->clock;
}

/* --- pipelines and bindings --------------------------------------------------------------------------- */

static void make_pipeline(mia__gpu *base, const mia__gpu_shader *shader, mia__gpu_made made, void *user) {
    recording *gpu = (recording *)base;
    ending what = {.made = made, .user = user};
    if (!gpu->lost) {
        mia__gpu_pipeline *pipeline = make(sizeof *pipeline);
        uint32_t storage = 0;
        *pipeline = (mia__gpu_pipeline){
            .next = gpu->pipelines, .number = gpu->pipeline_count++, .count = shader->binding_count};
        gpu->pipelines = pipeline;
        pipeline->wgsl = make(strlen(shader->wgsl) + 1);
        strcpy(pipeline->wgsl, shader->wgsl);
        note(gpu, "pipeline %u \"%s\" ", pipeline->number, shader->label != NULL ? shader->label : "");
        for (uint32_t i = 0; i < shader->binding_count; i++) {
            pipeline->access[i] = shader->access[i];
            if (shader->access[i] != MIA__GPU_PARAMETERS) storage++;
            note(gpu, "%c", "rwp"[shader->access[i]]);
        }
        note(gpu, "\n");
        hold(gpu, storage <= base->info.limits.storage_buffers, "pipeline %u has %u storage buffers\n",
             pipeline->number, storage);
        what.pipeline = pipeline;
        if (gpu->settings.refuse != NULL && strstr(shader->wgsl, gpu->settings.refuse) != NULL) {
            pipeline->freed = true;
            what.status = MIA_ERROR_UNSUPPORTED;
            what.message = "recording: told to refuse this shader";
        }
    }
    begin(gpu, &what);
}

static void free_pipeline(mia__gpu *base, mia__gpu_pipeline *pipeline) {
    recording *gpu = (recording *)base;
    if (pipeline == NULL) return;
    hold(gpu, !pipeline->freed, "pipeline %u freed twice\n", pipeline->number);
    pipeline->freed = true;
    note(gpu, "free pipeline %u\n", pipeline->number);
}

/* One binding as WebGPU validates it. */
static void hold_binding(recording *gpu, mia__gpu_access access, const mia__gpu_binding *binding) {
    const mia__gpu_limits *limits = &gpu->base.info.limits;
    bool uniform = access == MIA__GPU_PARAMETERS;
    uint64_t alignment = uniform ? limits->uniform_alignment : limits->storage_alignment;
    uint64_t most = uniform ? limits->uniform_bytes : limits->binding_bytes;
    uint32_t number = binding->buffer->number;
    hold_range(gpu, "bind", binding->buffer, binding->offset, binding->bytes);
    hold(gpu, binding->buffer->usage == (uniform ? MIA__GPU_UNIFORM : MIA__GPU_STORAGE),
         "bind: buffer %u is of another usage\n", number);
    hold(gpu, binding->offset % alignment == 0, "bind: buffer %u: offset %" PRIu64 " is not aligned\n",
         number, binding->offset);
    hold(gpu, binding->bytes > 0 && binding->bytes <= most, "bind: buffer %u: %" PRIu64 " bytes\n", number,
         binding->bytes);
}

/* A buffer is either read or written in a dispatch; and what is written overlaps nothing. */
static void hold_aliases(recording *gpu, const mia__gpu_pipeline *pipeline, const mia__gpu_binding *list) {
    for (uint32_t i = 0; i < pipeline->count; i++)
        for (uint32_t j = 0; j < i; j++) {
            const mia__gpu_binding *a = &list[i], *b = &list[j];
            if (a->buffer != b->buffer) continue;
            bool writes = pipeline->access[i] == MIA__GPU_READ_WRITE;
            hold(gpu, pipeline->access[j] == pipeline->access[i],
                 "bind: buffer %u is both read and written by pipeline %u\n", a->buffer->number,
                 pipeline->number);
            hold(gpu, !writes || a->offset + a->bytes <= b->offset || b->offset + b->bytes <= a->offset,
                 "bind: pipeline %u writes overlapping parts of buffer %u\n", pipeline->number,
                 a->buffer->number);
        }
}

static mia__gpu_bindings *bind(mia__gpu *base, mia__gpu_pipeline *pipeline, const mia__gpu_binding *list,
                               uint32_t count) {
    recording *gpu = (recording *)base;
    if (gpu->lost) return NULL;
    hold(gpu, !pipeline->freed, "bind: pipeline %u is freed\n", pipeline->number);
    hold(gpu, count == pipeline->count, "bind: %u bindings for pipeline %u\n", count, pipeline->number);
    if (count != pipeline->count) return NULL;
    mia__gpu_bindings *made = make(sizeof *made);
    *made = (mia__gpu_bindings){
        .next = gpu->bindings, .number = gpu->bindings_count++, .pipeline = pipeline, .count = count};
    gpu->bindings = made;
    note(gpu, "bind %u to pipeline %u:", made->number, pipeline->number);
    for (uint32_t i = 0; i < count; i++) {
        made->list[i] = list[i];
        hold_binding(gpu, pipeline->access[i], &list[i]);
        note(gpu, " %u+%" PRIu64 ":%" PRIu64, list[i].buffer->number, list[i].offset, list[i].bytes);
    }
    note(gpu, "\n");
    hold_aliases(gpu, pipeline, list);
    return made;
}

static void free_bindings(mia__gpu *base, mia__gpu_bindings *bindings) {
    recording *gpu = (recording *)base;
    if (bindings == NULL) return;
    hold(gpu, !bindings->freed, "bindings %u freed twice\n", bindings->number);
    bindings->freed = true;
    note(gpu, "free bindings %u\n", bindings->number);
}

/* --- commands ----------------------------------------------------------------------------------------- */

static void dispatch(mia__gpu *base, mia__gpu_pipeline *pipeline, mia__gpu_bindings *bindings,
                     const uint32_t groups[3], int32_t stamp) {
    recording *gpu = (recording *)base;
    if (gpu->lost) return;
    hold(gpu, !pipeline->freed, "dispatch: pipeline %u is freed\n", pipeline->number);
    hold(gpu, !bindings->freed, "dispatch: bindings %u are freed\n", bindings->number);
    hold(gpu, bindings->pipeline == pipeline, "dispatch: bindings %u are of another pipeline\n",
         bindings->number);
    for (uint32_t i = 0; i < bindings->count; i++)
        hold_range(gpu, "dispatch", bindings->list[i].buffer, bindings->list[i].offset,
                   bindings->list[i].bytes);
    for (int i = 0; i < 3; i++)
        hold(gpu, groups[i] <= base->info.limits.workgroups, "dispatch: %u workgroups\n", groups[i]);
    hold(gpu, stamp < MIA__GPU_MOST_STAMPS, "dispatch: stamp %d\n", (int)stamp);
    if (stamp >= 0 && stamp < MIA__GPU_MOST_STAMPS) {
        hold(gpu, !gpu->stamped[stamp], "dispatch: stamp %d twice\n", (int)stamp);
        gpu->stamped[stamp] = true;
    }
    gpu->gathered += gpu->settings.dispatch_nanoseconds;
    note(gpu, "dispatch %u with %u, %ux%ux%u", pipeline->number, bindings->number, groups[0], groups[1],
         groups[2]);
    if (stamp >= 0) note(gpu, ", stamp %d", (int)stamp);
    note(gpu, "\n");
}

static void gather(recording *gpu, const command *what) {
    command *item = make(sizeof *item), **end = &gpu->oldest_command;
    *item = *what;
    while (*end != NULL) end = &(*end)->next;
    *end = item;
}

static void copy(mia__gpu *base, mia__gpu_buffer *from, uint64_t from_offset, mia__gpu_buffer *into,
                 uint64_t into_offset, uint64_t bytes) {
    recording *gpu = (recording *)base;
    if (gpu->lost) return;
    hold_range(gpu, "copy", from, from_offset, bytes);
    hold_range(gpu, "copy", into, into_offset, bytes);
    hold(gpu, from != into, "copy: within buffer %u\n", from->number);
    hold(gpu, from->usage == MIA__GPU_STORAGE, "copy: from buffer %u, which is none of storage\n",
         from->number);
    note(gpu, "copy %u+%" PRIu64 " into %u+%" PRIu64 ", %" PRIu64 " bytes\n", from->number, from_offset,
         into->number, into_offset, bytes);
    gather(gpu, &(command){NULL, from, into, from_offset, into_offset, bytes});
}

static void stamps(mia__gpu *base, uint32_t count, mia__gpu_buffer *into) {
    recording *gpu = (recording *)base;
    if (gpu->lost) return;
    hold_range(gpu, "stamps", into, 0, 16 * (uint64_t)count);
    hold(gpu, into->usage == MIA__GPU_READBACK, "stamps: buffer %u is not for reading back\n", into->number);
    note(gpu, "stamps %u into %u\n", count, into->number);
    gather(gpu, &(command){.into = into, .bytes = 16 * (uint64_t)count});
}

/* Stamps are a microsecond long, and one apart; zero where there are no timestamps. */
static void obey(recording *gpu, const command *item) {
    if (!fits(item->into, item->into_offset, item->bytes)) return;
    if (item->from != NULL) {
        if (fits(item->from, item->from_offset, item->bytes))
            memmove(item->into->memory + item->into_offset, item->from->memory + item->from_offset,
                    (size_t)item->bytes);
        return;
    }
    for (uint64_t i = 0; i < item->bytes / 8; i++) {
        uint64_t time = (gpu->base.info.features & MIA__GPU_TIMESTAMPS) != 0 ? gpu->time += 1000 : 0;
        memcpy(item->into->memory + 8 * i, &time, sizeof time);
    }
}

static void submit(mia__gpu *base, mia__gpu_done done, void *user) {
    recording *gpu = (recording *)base;
    if (!gpu->lost) {
        note(gpu, "submit\n");
        if (++gpu->submits == gpu->settings.lose_submit) gpu->lost = true;
    }
    while (gpu->oldest_command != NULL) {
        command *item = gpu->oldest_command;
        gpu->oldest_command = item->next;
        hold(gpu, (item->from == NULL || !item->from->freed) && !item->into->freed,
             "submit: a buffer of a copy is freed\n");
        if (!gpu->lost) obey(gpu, item);
        free(item);
    }
    memset(gpu->stamped, 0, sizeof gpu->stamped);
    if (gpu->busy < gpu->clock) gpu->busy = gpu->clock;
    gpu->busy += gpu->gathered;
    gpu->took.all += gpu->gathered;
    if (gpu->gathered > gpu->took.longest) gpu->took.longest = gpu->gathered;
    gpu->gathered = 0;
    if (done != NULL) begin(gpu, &(ending){.done = done, .user = user, .at = gpu->busy});
}

static void map(mia__gpu *base, mia__gpu_buffer *buffer, size_t bytes, mia__gpu_mapped mapped, void *user) {
    recording *gpu = (recording *)base;
    if (!gpu->lost) {
        hold_range(gpu, "map", buffer, 0, (bytes + 3) & ~(size_t)3);
        hold(gpu, buffer->usage == MIA__GPU_READBACK, "map: buffer %u is not for reading back\n",
             buffer->number);
        note(gpu, "map %u, %zu bytes\n", buffer->number, bytes);
    }
    begin(gpu, &(ending){.mapped = mapped, .user = user, .buffer = buffer});
}

static void unmap(mia__gpu *base, mia__gpu_buffer *buffer) {
    recording *gpu = (recording *)base;
    if (gpu->lost) return;
    hold(gpu, buffer->mapped, "unmap: buffer %u is not mapped\n", buffer->number);
    buffer->mapped = false;
    note(gpu, "unmap %u\n", buffer->number);
}

const mia__gpu_type recording_gpu_type = {
    .name = "recording",
    .open = open_recording,
    .close = close_recording,
    .buffer = make_buffer,
    .free_buffer = free_buffer,
    .write = write_buffer,
    .pipeline = make_pipeline,
    .free_pipeline = free_pipeline,
    .bind = bind,
    .free_bindings = free_bindings,
    .dispatch = dispatch,
    .copy = copy,
    .stamps = stamps,
    .submit = submit,
    .map = map,
    .unmap = unmap,
    .poll = poll,
    .now = now,
};

/* --- knobs -------------------------------------------------------------------------------------------- */

const char *recording_text(mia__gpu *gpu) {
    const text *lines = &((recording *)gpu)->lines;
    return lines->data != NULL ? lines->data : "";
}

void recording_clear(mia__gpu *gpu) {
    text *lines = &((recording *)gpu)->lines;
    lines->length = 0;
    if (lines->data != NULL) lines->data[0] = '\0';
    ((recording *)gpu)->took = (recording_times){0};
}

recording_times recording_took(mia__gpu *gpu) {
    return ((const recording *)gpu)->took;
}

const char *recording_wgsl(mia__gpu *gpu, uint32_t pipeline) {
    for (mia__gpu_pipeline *item = ((recording *)gpu)->pipelines; item != NULL; item = item->next)
        if (item->number == pipeline) return item->wgsl;
    return NULL;
}

const char *recording_faults(mia__gpu *gpu) {
    const text *faults = &((recording *)gpu)->faults;
    return faults->data != NULL ? faults->data : "";
}

void recording_lose(mia__gpu *gpu) {
    ((recording *)gpu)->lost = true;
}

void recording_fail_buffer(mia__gpu *gpu, uint32_t n) {
    ((recording *)gpu)->fail_buffer = n;
}

recording_live recording_count(mia__gpu *base) {
    const recording *gpu = (const recording *)base;
    recording_live live = {0};
    for (const mia__gpu_buffer *item = gpu->buffers; item != NULL; item = item->next)
        if (!item->freed) live.buffers++, live.bytes += item->bytes;
    for (const mia__gpu_pipeline *item = gpu->pipelines; item != NULL; item = item->next)
        live.pipelines += !item->freed;
    for (const mia__gpu_bindings *item = gpu->bindings; item != NULL; item = item->next)
        live.bindings += !item->freed;
    return live;
}
