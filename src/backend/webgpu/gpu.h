/* The seam between the webgpu backend and a GPU: all that it asks of one, in few calls. native.c makes it of a
 * webgpu.h library that is found at run time, a page makes it of navigator.gpu, and tests have one that only writes
 * down what it is asked (tests/support/recording_gpu.h). Nothing above knows which it has.
 *
 * Rules. One call at a time: the caller holds a lock. Nothing here waits, but poll with `block`, and natively opening
 * a GPU and making a buffer, whose answers are owed at once; what takes time ends in a callback, which comes inside poll
 * or inside the call that began it, never from another thread, and may make further calls. Work is done in the order it
 * was submitted, writes before what is submitted after them. Objects may be destroyed as soon as the work that uses them
 * is submitted. After the device was lost every call does nothing, and whatever has not ended ends with DEVICE_LOST. */
#ifndef MIA_BACKEND_WEBGPU_GPU_H
#define MIA_BACKEND_WEBGPU_GPU_H

#include <mia/device.h>
#include <mia/dtype.h>

/* --- what there is ------------------------------------------------------------------------------ */

typedef enum mia__gpu_feature {
    MIA__GPU_F16 = 1,             /* f16 in shaders */
    MIA__GPU_SUBGROUPS = 2,       /* subgroup operations */
    MIA__GPU_TIMESTAMPS = 4,      /* times of passes */
    MIA__GPU_SUBGROUP_MATRIX = 8, /* subgroup matrices of the shapes of mia__gpu_info.matrices */
    MIA__GPU_PACKED_DOT = 16      /* dot4I8Packed and its kin */
} mia__gpu_feature;

/* As WebGPU names them; a device has at least the defaults of its specification. */
typedef struct mia__gpu_limits {
    uint64_t buffer_bytes;          /* maxBufferSize */
    uint64_t binding_bytes;         /* maxStorageBufferBindingSize */
    uint32_t storage_buffers;       /* maxStorageBuffersPerShaderStage */
    uint32_t storage_alignment;     /* minStorageBufferOffsetAlignment */
    uint32_t uniform_alignment;     /* minUniformBufferOffsetAlignment */
    uint32_t uniform_bytes;         /* maxUniformBufferBindingSize */
    uint32_t workgroup_bytes;       /* maxComputeWorkgroupStorageSize */
    uint32_t workgroup_invocations; /* maxComputeInvocationsPerWorkgroup */
    uint32_t workgroup_size[3];     /* maxComputeWorkgroupSizeX, Y, Z */
    uint32_t workgroups;            /* maxComputeWorkgroupsPerDimension */
} mia__gpu_limits;

/* A product of subgroup matrices: [M, K] by [K, N], of f16 or f32, summed in the type of the result. */
typedef struct mia__gpu_matrix {
    mia_dtype component, result;
    uint32_t m, n, k;
} mia__gpu_matrix;

#define MIA__GPU_MOST_MATRICES 16

typedef struct mia__gpu_info {
    char name[128];   /* of the adapter, "NVIDIA H100 80GB HBM3" */
    char driver[128]; /* what WebGPU calls description: driver and version */
    char library[256];
    bool processor;                         /* the adapter is a CPU */
    uint32_t features;                      /* set of mia__gpu_feature */
    uint32_t subgroup_least, subgroup_most; /* invocations of a subgroup; 0 without subgroups */
    mia__gpu_limits limits;
    mia__gpu_matrix matrices[MIA__GPU_MOST_MATRICES];
    uint32_t matrix_count;
} mia__gpu_info;

/* --- objects ------------------------------------------------------------------------------------ */

typedef struct mia__gpu_type mia__gpu_type;

/* An open GPU; each implementation has its own struct, beginning with this one. */
typedef struct mia__gpu {
    const mia__gpu_type *type;
    mia__gpu_info info;
} mia__gpu;

typedef struct mia__gpu_buffer mia__gpu_buffer;
typedef struct mia__gpu_pipeline mia__gpu_pipeline;
typedef struct mia__gpu_bindings mia__gpu_bindings;

typedef enum mia__gpu_usage {
    MIA__GPU_STORAGE, /* bound to shaders, copied from and to, written to */
    MIA__GPU_UNIFORM, /* bound as uniform, written to */
    MIA__GPU_READBACK /* copied to, mapped for reading */
} mia__gpu_usage;

/* How a shader reaches a buffer; binding numbers are places in the list, all of group 0. */
typedef enum mia__gpu_access {
    MIA__GPU_READ,       /* var<storage, read> */
    MIA__GPU_READ_WRITE, /* var<storage, read_write> */
    MIA__GPU_PARAMETERS  /* var<uniform> */
} mia__gpu_access;

#define MIA__GPU_MOST_BINDINGS 16

typedef struct mia__gpu_shader {
    const char *label; /* for the library's messages */
    const char *wgsl;  /* entry point `main`; both are copied */
    mia__gpu_access access[MIA__GPU_MOST_BINDINGS];
    uint32_t binding_count;
} mia__gpu_shader;

typedef struct mia__gpu_binding {
    mia__gpu_buffer *buffer;
    uint64_t offset, bytes; /* multiples of the access's alignment, and of 4 */
} mia__gpu_binding;

/* The end of something begun. message is NULL when all went well, and valid during the call only. */
typedef void (*mia__gpu_done)(void *user, mia_status status, const char *message);
typedef void (*mia__gpu_made)(void *user, mia__gpu_pipeline *pipeline, mia_status status,
                              const char *message);
typedef void (*mia__gpu_mapped)(void *user, const void *memory, mia_status status, const char *message);

typedef struct mia__gpu_request {
    const mia_allocator *allocator;
    const mia_webgpu_options *options; /* NULL: the defaults */
    /* Told once if the device is lost (DEVICE_LOST), and of errors that nothing else reports: INTERNAL for calls that
     * the library refused, NO_MEMORY. The texts are the library's. */
    void (*failed)(void *user, mia_status status, const char *message);
    void *user;
} mia__gpu_request;

/* --- the calls ---------------------------------------------------------------------------------- */

struct mia__gpu_type {
    const char *name;
    /* Completes after setting *out. NOT_FOUND without a library or an adapter: the message says what to install. */
    void (*open)(const mia__gpu_request *request, mia__gpu **out, mia__gpu_done done, void *user);
    void (*close)(mia__gpu *gpu);

    /* Zeroed memory of whole words. NULL with the error set: NO_MEMORY (over limits.buffer_bytes too). Where an
     * implementation cannot know at once, `failed` is told later. */
    mia__gpu_buffer *(*buffer)(mia__gpu *gpu, uint64_t bytes, mia__gpu_usage usage, mia_error *error);
    void (*free_buffer)(mia__gpu *gpu, mia__gpu_buffer *buffer);
    /* Copies bytes into a buffer (offset and bytes are multiples of 4); `from` is free when it returns. */
    void (*write)(mia__gpu *gpu, mia__gpu_buffer *buffer, uint64_t offset, const void *from, size_t bytes);

    /* Compiles; several may be under way at once. UNSUPPORTED with the library's message for a shader that it refuses. */
    void (*pipeline)(mia__gpu *gpu, const mia__gpu_shader *shader, mia__gpu_made made, void *user);
    void (*free_pipeline)(mia__gpu *gpu, mia__gpu_pipeline *pipeline);
    /* NULL without memory. */
    mia__gpu_bindings *(*bind)(mia__gpu *gpu, mia__gpu_pipeline *pipeline, const mia__gpu_binding *bindings,
                               uint32_t count);
    void (*free_bindings)(mia__gpu *gpu, mia__gpu_bindings *bindings);

    /* Commands, gathered until submit. With stamp >= 0 the dispatch is timed alone: its begin and end, nanoseconds as two u64, are
     * at places 2 * stamp and 2 * stamp + 1 of what `stamps` copies. */
    void (*dispatch)(mia__gpu *gpu, mia__gpu_pipeline *pipeline, mia__gpu_bindings *bindings,
                     const uint32_t groups[3], int32_t stamp);
    void (*copy)(mia__gpu *gpu, mia__gpu_buffer *from, uint64_t from_offset, mia__gpu_buffer *into,
                 uint64_t into_offset, uint64_t bytes);
    /* Copies the times of stamps [0, count) into a READBACK buffer. At most MIA__GPU_MOST_STAMPS a submission. */
    void (*stamps)(mia__gpu *gpu, uint32_t count, mia__gpu_buffer *into);
    /* Sends what was gathered; done when the GPU has done it. done may be NULL. */
    void (*submit)(mia__gpu *gpu, mia__gpu_done done, void *user);

    /* Maps a READBACK buffer from its start, when all that was submitted before is done; unmap ends it. */
    void (*map)(mia__gpu *gpu, mia__gpu_buffer *buffer, size_t bytes, mia__gpu_mapped mapped, void *user);
    void (*unmap)(mia__gpu *gpu, mia__gpu_buffer *buffer);

    /* Has callbacks called that are due. With `block`, waits until one was (native only); returns at once when nothing
     * is under way. */
    void (*poll)(mia__gpu *gpu, bool block);
    /* Nanoseconds of a clock that begins anywhere, for how long submissions take; always 0 where a poll does not see
     * whether they have ended. */
    uint64_t (*now)(mia__gpu *gpu);
};

#define MIA__GPU_MOST_STAMPS 1024

/* "NAME; f16, subgroups of 32", cut where the room ends; and its parts: features, and limits ("buffers to 1 GiB, ..."). */
void mia__gpu_describe(const mia__gpu_info *info, char *text, size_t bytes);
void mia__gpu_describe_features(const mia__gpu_info *info, char *text, size_t bytes);
void mia__gpu_describe_limits(const mia__gpu_info *info, char *text, size_t bytes);

/* What the other calls go to: in a native program webgpu.h through a library found at run time. */
extern const mia__gpu_type mia__gpu_native;

#endif
