/* Memory on the GPU: buffers, used again where they are not large, uploads of which a bounded amount is on its way at a time, and
 * the buffer that values are read back through. */
#include "backend/webgpu/webgpu.h"

#include "base/size.h"

#include <inttypes.h>
#include <string.h>

#define MOST_UNUSED ((uint64_t)64 << 20) /* bytes of buffers that are kept; none is of more than a quarter */
#define STAGING_BYTES                                                                                        \
    ((uint64_t)56 << 20) /* at most on their way from the host: with parameters less than 64 MiB; */
#define SENT_BYTES  ((uint64_t)16 << 20) /* so many with a submission */
#define WRITE_PIECE ((size_t)8 << 20)

static uint64_t room_for(size_t bytes) {
    if (bytes > SIZE_MAX - MIA__WEBGPU_ALIGNMENT) return UINT64_MAX;
    return mia__align_up(bytes > 0 ? bytes : 1, MIA__WEBGPU_ALIGNMENT);
}

/* One of the unused buffers, of exactly that size. */
static mia__webgpu_buffer *take_unused(mia__webgpu *webgpu, uint64_t bytes) {
    for (mia__webgpu_buffer **link = &webgpu->unused; *link != NULL; link = &(*link)->next) {
        mia__webgpu_buffer *buffer = *link;
        if (buffer->bytes != bytes) continue;
        *link = buffer->next;
        webgpu->unused_bytes -= bytes;
        return buffer;
    }
    return NULL;
}

static void free_buffer(mia__webgpu *webgpu, mia__webgpu_buffer *buffer) {
    webgpu->gpu->type->free_buffer(webgpu->gpu, buffer->gpu);
    mia_release(webgpu->allocator, buffer, sizeof *buffer);
}

/* Those that were given back first go first. */
static void keep_unused(mia__webgpu *webgpu, uint64_t bytes) {
    while (webgpu->unused != NULL && webgpu->unused_bytes > bytes) {
        mia__webgpu_buffer **link = &webgpu->unused;
        while ((*link)->next != NULL) link = &(*link)->next;
        webgpu->unused_bytes -= (*link)->bytes;
        free_buffer(webgpu, *link);
        *link = NULL;
    }
}

static mia__webgpu_buffer *make_buffer(mia__webgpu *webgpu, uint64_t bytes, mia_error *error) {
    uint64_t most = webgpu->gpu->info.limits.buffer_bytes;
    if (bytes > most) {
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY,
                            "webgpu: a buffer of %" PRIu64 " bytes is more than the %" PRIu64
                            " that the GPU gives at once",
                            bytes, most);
        return NULL;
    }
    mia__webgpu_buffer *buffer = mia_allocate_zeroed(webgpu->allocator, 1, sizeof *buffer);
    if (buffer == NULL) {
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "webgpu: no memory for a buffer");
        return NULL;
    }
    buffer->bytes = bytes;
    buffer->id = ++webgpu->next_id;
    buffer->gpu = webgpu->gpu->type->buffer(webgpu->gpu, bytes, MIA__GPU_STORAGE, error);
    if (buffer->gpu != NULL) return buffer;
    mia_release(webgpu->allocator, buffer, sizeof *buffer);
    return NULL;
}

mia_status mia__webgpu_allocate(mia__backend *backend, size_t bytes, mia__buffer *out, mia_error *error) {
    mia__webgpu *webgpu = (mia__webgpu *)backend;
    mia_error own = {0};
    mia__webgpu_lock(webgpu);
    mia__webgpu_buffer *buffer = NULL;
    if (mia__webgpu_check(webgpu, &own) == MIA_OK) {
        buffer = take_unused(webgpu, room_for(bytes));
        if (buffer == NULL) buffer = make_buffer(webgpu, room_for(bytes), &own);
        if (buffer == NULL && webgpu->unused != NULL) { /* which may be what is in the way */
            keep_unused(webgpu, 0);
            own = (mia_error){0};
            buffer = make_buffer(webgpu, room_for(bytes), &own);
        }
    }
    mia__webgpu_unlock(webgpu);
    if (buffer == NULL)
        return mia_error_set(error, own.status != MIA_OK ? own.status : MIA_ERROR_NO_MEMORY, "%s",
                             own.message);
    *out = (mia__buffer){.handle = buffer, .bytes = bytes};
    return MIA_OK;
}

void mia__webgpu_release(mia__backend *backend, mia__buffer *buffer) {
    mia__webgpu *webgpu = (mia__webgpu *)backend;
    mia__webgpu_buffer *own = buffer->handle;
    *buffer = (mia__buffer){0};
    if (own == NULL) return;
    mia__webgpu_lock(webgpu);
    if (own->bytes <= MOST_UNUSED / 4) {
        keep_unused(webgpu, MOST_UNUSED - own->bytes);
        own->next = webgpu->unused;
        webgpu->unused = own;
        webgpu->unused_bytes += own->bytes;
    } else {
        free_buffer(webgpu, own);
    }
    mia__webgpu_unlock(webgpu);
}

mia_status mia__webgpu_adopt(mia__backend *backend, const void *memory, size_t bytes, mia__buffer *out,
                             mia_error *error) {
    (void)backend, (void)memory, (void)bytes, (void)out;
    return mia_error_set(error, MIA_ERROR_UNSUPPORTED, "webgpu: host memory must be copied");
}

void mia__webgpu_memory_free(mia__webgpu *webgpu) {
    keep_unused(webgpu, 0);
    if (webgpu->readback != NULL) webgpu->gpu->type->free_buffer(webgpu->gpu, webgpu->readback);
    webgpu->readback = NULL;
    webgpu->readback_bytes = 0;
}

/* --- uploads ---------------------------------------------------------------------------------- */

void mia__webgpu_write(mia__webgpu *webgpu, mia__gpu_buffer *buffer, uint64_t offset, const void *from,
                       size_t bytes) {
    const char *bytes_of = from;
    size_t whole = bytes & ~(size_t)3, done = 0;
    while (done < whole) {
        size_t piece = whole - done < WRITE_PIECE ? whole - done : WRITE_PIECE;
        if (webgpu->unsent_bytes + piece > SENT_BYTES) mia__webgpu_submit(webgpu);
        while (webgpu->unsent_bytes + webgpu->sent_bytes + piece > STAGING_BYTES && mia__webgpu_wait(webgpu))
            continue;
        webgpu->gpu->type->write(webgpu->gpu, buffer, offset + done, bytes_of + done, piece);
        webgpu->unsent_bytes += piece;
        done += piece;
    }
    if (whole == bytes) return;
    uint32_t last = 0; /* buffers end in room that nobody reads */
    memcpy(&last, bytes_of + whole, bytes - whole);
    webgpu->gpu->type->write(webgpu->gpu, buffer, offset + whole, &last, sizeof last);
}

mia_status mia__webgpu_upload(mia__backend *backend, mia__buffer *buffer, size_t offset, const void *from,
                              size_t bytes, mia_error *error) {
    mia__webgpu *webgpu = (mia__webgpu *)backend;
    if (bytes == 0) return MIA_OK;
    if (offset % 4 != 0)
        return mia_error_set(error, MIA_ERROR_INTERNAL, "webgpu: an upload begins inside a word");
    mia__webgpu_lock(webgpu);
    mia_status status = mia__webgpu_check(webgpu, error);
    const mia__webgpu_buffer *own = buffer->handle;
    if (status == MIA_OK) mia__webgpu_write(webgpu, own->gpu, offset, from, bytes);
    mia__webgpu_unlock(webgpu);
    return status;
}

/* --- reading back ----------------------------------------------------------------------------- */

mia__gpu_buffer *mia__webgpu_readback(mia__webgpu *webgpu, uint64_t bytes, mia_error *error) {
    if (webgpu->readback != NULL && webgpu->readback_bytes >= bytes) return webgpu->readback;
    if (webgpu->readback != NULL) webgpu->gpu->type->free_buffer(webgpu->gpu, webgpu->readback);
    uint64_t wanted = mia__align_up(bytes > 65536 ? bytes : 65536, 4096);
    webgpu->readback_bytes = 0;
    webgpu->readback = webgpu->gpu->type->buffer(webgpu->gpu, wanted, MIA__GPU_READBACK, error);
    if (webgpu->readback != NULL) webgpu->readback_bytes = wanted;
    return webgpu->readback;
}
