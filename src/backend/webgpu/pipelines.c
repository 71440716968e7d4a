/* Pipelines: one for each shader text, made while other things go on, and kept as long as the device. */
#include "backend/webgpu/webgpu.h"

#include <stdio.h>
#include <string.h>

/* That are being made at a time: they keep a library's threads busy, and a device that is closed waits for no more. */
#define MOST_BEGUN 16

static void begin_some(mia__webgpu *webgpu);

static void made(void *user, mia__gpu_pipeline *gpu, mia_status status, const char *message) {
    mia__webgpu_pipeline *pipeline = user;
    pipeline->owner->heard++;
    pipeline->owner->pipelines_begun--;
    pipeline->gpu = gpu;
    pipeline->status = status;
    pipeline->pending = pipeline->begun = false;
    if (status != MIA_OK)
        (void)snprintf(pipeline->message, sizeof pipeline->message, "webgpu: the library %s: %s",
                       status == MIA_ERROR_UNSUPPORTED ? "refuses a shader" : "made no pipeline",
                       message != NULL ? message : mia_status_sentence(status));
    begin_some(pipeline->owner);
}

static void begin(mia__webgpu_pipeline *pipeline) {
    mia__webgpu *webgpu = pipeline->owner;
    mia__gpu_shader shader = {.label = pipeline->label,
                              .wgsl = pipeline->key + pipeline->binding_count + 1,
                              .binding_count = pipeline->binding_count};
    for (uint32_t b = 0; b < shader.binding_count; b++)
        shader.access[b] = (mia__gpu_access)(pipeline->key[b] - '0');
    webgpu->pipelines_begun++;
    pipeline->begun = true;
    webgpu->gpu->type->pipeline(webgpu->gpu, &shader, made, pipeline);
}

/* What a run waits for, then others in the order in which they were asked for. NULL: none. */
static mia__webgpu_pipeline *next(mia__webgpu *webgpu) {
    mia__webgpu_pipeline *wanted = mia__webgpu_run_wants(webgpu);
    while (wanted == NULL && webgpu->pipelines_asked < webgpu->pipeline_count) {
        mia__webgpu_pipeline *asked = webgpu->pipelines[webgpu->pipelines_asked++];
        if (asked->pending && !asked->begun) wanted = asked;
    }
    return wanted;
}

/* The next ones, as far as there is room. One may end inside the call that begins it. */
static void begin_some(mia__webgpu *webgpu) {
    mia__webgpu_pipeline *pipeline;
    if (webgpu->asking) return;
    webgpu->asking = true;
    while (webgpu->pipelines_begun < MOST_BEGUN && (pipeline = next(webgpu)) != NULL) begin(pipeline);
    webgpu->asking = false;
}

/* The key: how each buffer is reached, and the text. */
static char *make_key(const mia__webgpu *webgpu, const mia__gpu_shader *shader, size_t *bytes) {
    size_t length = strlen(shader->wgsl);
    *bytes = shader->binding_count + 1 + length + 1;
    char *key = mia_allocate(webgpu->allocator, *bytes, 1);
    if (key == NULL) return NULL;
    for (uint32_t b = 0; b < shader->binding_count; b++) key[b] = (char)('0' + shader->access[b]);
    key[shader->binding_count] = '\n';
    memcpy(key + shader->binding_count + 1, shader->wgsl, length + 1);
    return key;
}

/* Takes the key over. */
static mia__webgpu_pipeline *add(mia__webgpu *webgpu, const mia__gpu_shader *shader, char *key,
                                 size_t bytes) {
    if (webgpu->pipeline_count == webgpu->pipeline_capacity) {
        size_t wanted = webgpu->pipeline_capacity == 0 ? 64 : webgpu->pipeline_capacity * 2;
        void *grown = mia_reallocate_array(webgpu->allocator, webgpu->pipelines, webgpu->pipeline_capacity,
                                           wanted, sizeof(mia__webgpu_pipeline *));
        if (grown == NULL) return NULL;
        webgpu->pipelines = grown;
        webgpu->pipeline_capacity = wanted;
    }
    mia__webgpu_pipeline *pipeline = mia_allocate_zeroed(webgpu->allocator, 1, sizeof *pipeline);
    if (pipeline == NULL) return NULL;
    if (mia__hash_add(&webgpu->pipeline_index, webgpu->allocator, key, bytes, webgpu->pipeline_count) !=
        MIA__HASH_ADDED) {
        mia_release(webgpu->allocator, pipeline, sizeof *pipeline);
        return NULL;
    }
    *pipeline = (mia__webgpu_pipeline){.owner = webgpu,
                                       .key = key,
                                       .key_bytes = bytes,
                                       .binding_count = shader->binding_count,
                                       .label = shader->label,
                                       .pending = true};
    return webgpu->pipelines[webgpu->pipeline_count++] = pipeline;
}

mia__webgpu_pipeline *mia__webgpu_pipeline_get(mia__webgpu *webgpu, const mia__gpu_shader *shader) {
    size_t bytes, index;
    char *key = make_key(webgpu, shader, &bytes);
    if (key == NULL) return NULL;
    if (mia__hash_find(&webgpu->pipeline_index, key, bytes, &index)) {
        mia_release(webgpu->allocator, key, bytes);
        mia__webgpu_pipeline *known = webgpu->pipelines[index];
        if (!known->pending && known->status == MIA_ERROR_NO_MEMORY) { /* by now there may be some */
            known->pending = true;
            begin(known);
        }
        return known;
    }
    mia__webgpu_pipeline *pipeline = add(webgpu, shader, key, bytes);
    if (pipeline == NULL)
        mia_release(webgpu->allocator, key, bytes);
    else
        begin_some(webgpu);
    return pipeline;
}

void mia__webgpu_pipelines_release(mia__webgpu *webgpu) {
    for (size_t i = webgpu->pipelines_asked; i < webgpu->pipeline_count; i++)
        webgpu->pipelines[i]->pending = webgpu->pipelines[i]->begun;
    for (size_t i = 0; i < webgpu->pipeline_count; i++) {
        mia__webgpu_pipeline *pipeline = webgpu->pipelines[i];
        while (pipeline->pending && mia__webgpu_wait(webgpu)) continue;
        if (pipeline->gpu != NULL) webgpu->gpu->type->free_pipeline(webgpu->gpu, pipeline->gpu);
        pipeline->gpu = NULL;
    }
}

void mia__webgpu_pipelines_free(mia__webgpu *webgpu) {
    for (size_t i = 0; i < webgpu->pipeline_count; i++) {
        mia_release(webgpu->allocator, webgpu->pipelines[i]->key, webgpu->pipelines[i]->key_bytes);
        mia_release(webgpu->allocator, webgpu->pipelines[i], sizeof *webgpu->pipelines[i]);
    }
    mia_release(webgpu->allocator, webgpu->pipelines,
                webgpu->pipeline_capacity * sizeof(mia__webgpu_pipeline *));
    mia__hash_free(&webgpu->pipeline_index, webgpu->allocator);
}
