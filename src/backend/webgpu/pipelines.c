/* Pipelines: one for each shader text, made while other things go on, and kept as long as the device. */
#include "backend/webgpu/webgpu.h"

#include <stdio.h>
#include <string.h>

static void made(void *user, mia__gpu_pipeline *gpu, mia_status status, const char *message) {
    mia__webgpu_pipeline *pipeline = user;
    pipeline->owner->heard++;
    pipeline->gpu = gpu;
    pipeline->status = status;
    pipeline->pending = false;
    if (status != MIA_OK)
        (void)snprintf(pipeline->message, sizeof pipeline->message,
                       "webgpu: the library refuses a shader: %s",
                       message != NULL ? message : mia_status_sentence(status));
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
static mia__webgpu_pipeline *add(mia__webgpu *webgpu, char *key, size_t bytes) {
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
    *pipeline = (mia__webgpu_pipeline){.owner = webgpu, .key = key, .key_bytes = bytes, .pending = true};
    return webgpu->pipelines[webgpu->pipeline_count++] = pipeline;
}

mia__webgpu_pipeline *mia__webgpu_pipeline_get(mia__webgpu *webgpu, const mia__gpu_shader *shader) {
    size_t bytes, index;
    char *key = make_key(webgpu, shader, &bytes);
    if (key == NULL) return NULL;
    if (mia__hash_find(&webgpu->pipeline_index, key, bytes, &index)) {
        mia_release(webgpu->allocator, key, bytes);
        return webgpu->pipelines[index];
    }
    mia__webgpu_pipeline *pipeline = add(webgpu, key, bytes);
    if (pipeline == NULL)
        mia_release(webgpu->allocator, key, bytes);
    else
        webgpu->gpu->type->pipeline(webgpu->gpu, shader, made, pipeline);
    return pipeline;
}

void mia__webgpu_pipelines_release(mia__webgpu *webgpu) {
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
