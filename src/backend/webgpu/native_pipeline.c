/* Shaders, pipelines and bindings of the native GPU. A mia__gpu_bindings is the library's own bind group. */
#include "backend/webgpu/native.h"

/* Without a scope of its own, since callers want its errors together with others. */
static WGPUShaderModule module_of(const mia__native *gpu, const char *label, const char *wgsl) {
    WGPUShaderSourceWGSL source = {.chain = {.sType = WGPUSType_ShaderSourceWGSL},
                                   .code = mia__native_view(wgsl)};
    WGPUShaderModuleDescriptor descriptor = {.nextInChain = &source.chain, .label = mia__native_view(label)};
    return gpu->library.DeviceCreateShaderModule(gpu->device, &descriptor);
}

bool mia__native_takes(mia__native *gpu, const char *wgsl, bool whole) {
    char message[100];
    WGPUComputePipeline pipeline = NULL;
    gpu->library.DevicePushErrorScope(gpu->device, WGPUErrorFilter_Validation);
    WGPUShaderModule module = module_of(gpu, NULL, wgsl);
    if (module != NULL && whole) {
        const WGPUComputePipelineDescriptor descriptor = {
            .compute = {.module = module, .entryPoint = mia__native_view("main")}};
        pipeline = gpu->library.DeviceCreateComputePipeline(gpu->device, &descriptor);
    }
    bool takes = mia__native_pop_scope(gpu, message, sizeof message) == MIA_OK && module != NULL &&
                 (!whole || pipeline != NULL);
    if (pipeline != NULL) gpu->library.ComputePipelineRelease(pipeline);
    if (module != NULL) gpu->library.ShaderModuleRelease(module);
    return takes;
}

/* --- layouts ------------------------------------------------------------------------------------------ */

static WGPUBindGroupLayout layout_of(const mia__native *gpu, const mia__gpu_shader *shader) {
    static const WGPUBufferBindingType types[] = {
        [MIA__GPU_READ] = WGPUBufferBindingType_ReadOnlyStorage,
        [MIA__GPU_READ_WRITE] = WGPUBufferBindingType_Storage,
        [MIA__GPU_PARAMETERS] = WGPUBufferBindingType_Uniform,
    };
    WGPUBindGroupLayoutEntry entries[MIA__GPU_MOST_BINDINGS] = {0};
    for (uint32_t i = 0; i < shader->binding_count; i++) {
        entries[i].binding = i;
        entries[i].visibility = MIA__WGPU_STAGE_COMPUTE;
        entries[i].buffer.type = types[shader->access[i]];
    }
    WGPUBindGroupLayoutDescriptor descriptor = {
        .label = mia__native_view(shader->label), .entryCount = shader->binding_count, .entries = entries};
    return gpu->library.DeviceCreateBindGroupLayout(gpu->device, &descriptor);
}

/* --- making a pipeline -------------------------------------------------------------------------------- */

/* Refusals are the shader's fault, or that of limits that it does not keep to. */
static mia_status refusal(WGPUErrorType type) {
    return type == WGPUErrorType_OutOfMemory ? MIA_ERROR_NO_MEMORY : MIA_ERROR_UNSUPPORTED;
}

static void on_scope(WGPUPopErrorScopeStatus status, WGPUErrorType type, WGPUStringView message, void *task,
                     void *unused) {
    (void)unused;
    bool well = status != WGPUPopErrorScopeStatus_Success || type == WGPUErrorType_NoError;
    mia__native_came(task, well ? MIA_OK : refusal(type), message);
}

static void on_pipeline(WGPUCreatePipelineAsyncStatus status, WGPUComputePipeline pipeline,
                        WGPUStringView message, void *user, void *unused) {
    (void)unused;
    mia__native_task *task = user;
    task->pipeline->pipeline = pipeline;
    mia__native_came(task, status == WGPUCreatePipelineAsyncStatus_Success ? MIA_OK : MIA_ERROR_UNSUPPORTED,
                     message);
}

static void pop_scope(const mia__native *gpu, mia__native_task *task) {
    (void)gpu->library.DevicePopErrorScope(
        gpu->device, (WGPUPopErrorScopeCallbackInfo){.mode = WGPUCallbackMode_AllowProcessEvents,
                                                     .callback = on_scope,
                                                     .userdata1 = task});
}

/* The scope holds the compiler's own words, which come first; what the pipeline's making says of an invalid module is
 * only that it is one. Where a library makes pipelines in the call alone, the scope holds both. */
static void make(mia__native *gpu, const mia__gpu_shader *shader, mia__native_task *task) {
    const mia__webgpu_library *library = &gpu->library;
    bool at_once = library->DeviceCreateComputePipelineAsync == NULL;
    mia__gpu_pipeline *made = task->pipeline;
    task->awaited = at_once ? 1 : 2;
    library->DevicePushErrorScope(gpu->device, WGPUErrorFilter_Validation);
    WGPUShaderModule module = module_of(gpu, shader->label, shader->wgsl);
    made->layout = layout_of(gpu, shader);
    WGPUPipelineLayoutDescriptor description = {.bindGroupLayoutCount = 1, .bindGroupLayouts = &made->layout};
    WGPUPipelineLayout layout = library->DeviceCreatePipelineLayout(gpu->device, &description);
    WGPUComputePipelineDescriptor descriptor = {
        .label = mia__native_view(shader->label),
        .layout = layout,
        .compute = {.module = module, .entryPoint = mia__native_view("main")},
    };
    if (at_once) made->pipeline = library->DeviceCreateComputePipeline(gpu->device, &descriptor);
    pop_scope(gpu, task);
    if (!at_once)
        (void)library->DeviceCreateComputePipelineAsync(
            gpu->device, &descriptor,
            (WGPUCreateComputePipelineAsyncCallbackInfo){
                .mode = WGPUCallbackMode_AllowProcessEvents, .callback = on_pipeline, .userdata1 = task});
    if (layout != NULL) library->PipelineLayoutRelease(layout);
    if (module != NULL) library->ShaderModuleRelease(module);
}

void mia__native_pipeline(mia__gpu *base, const mia__gpu_shader *shader, mia__gpu_made made, void *user) {
    mia__native *gpu = (mia__native *)base;
    mia__gpu_pipeline *pipeline = mia_allocate_zeroed(&gpu->allocator, 1, sizeof *pipeline);
    mia__native_task *task = pipeline == NULL ? NULL : mia__native_begin(gpu, MIA__NATIVE_PIPELINE, user);
    if (task == NULL) {
        mia_release(&gpu->allocator, pipeline, sizeof *pipeline);
        made(user, NULL, MIA_ERROR_NO_MEMORY, "webgpu: no memory for a pipeline");
        return;
    }
    task->tell.made = made;
    task->pipeline = pipeline;
    if (task->status == MIA_OK) make(gpu, shader, task);
}

void mia__native_free_pipeline(mia__gpu *base, mia__gpu_pipeline *pipeline) {
    mia__native *gpu = (mia__native *)base;
    if (pipeline == NULL) return;
    if (pipeline->pipeline != NULL) gpu->library.ComputePipelineRelease(pipeline->pipeline);
    if (pipeline->layout != NULL) gpu->library.BindGroupLayoutRelease(pipeline->layout);
    mia_release(&gpu->allocator, pipeline, sizeof *pipeline);
}

/* --- bindings ----------------------------------------------------------------------------------------- */

mia__gpu_bindings *mia__native_bind(mia__gpu *base, mia__gpu_pipeline *pipeline,
                                    const mia__gpu_binding *bindings, uint32_t count) {
    mia__native *gpu = (mia__native *)base;
    if (gpu->lost || count > MIA__GPU_MOST_BINDINGS) return NULL;
    WGPUBindGroupEntry entries[MIA__GPU_MOST_BINDINGS] = {0};
    for (uint32_t i = 0; i < count; i++) {
        entries[i].binding = i;
        entries[i].buffer = (WGPUBuffer)(void *)bindings[i].buffer;
        entries[i].offset = bindings[i].offset;
        entries[i].size = bindings[i].bytes;
    }
    WGPUBindGroupDescriptor descriptor = {
        .layout = pipeline->layout, .entryCount = count, .entries = entries};
    return (mia__gpu_bindings *)(void *)gpu->library.DeviceCreateBindGroup(gpu->device, &descriptor);
}

void mia__native_free_bindings(mia__gpu *base, mia__gpu_bindings *bindings) {
    mia__native *gpu = (mia__native *)base;
    if (bindings != NULL) gpu->library.BindGroupRelease((WGPUBindGroup)(void *)bindings);
}
