/* Sources of bytes (include/mia/weights.h): a file, mapped where the system can and else read with pread, and
 * memory. What is in the bytes is src/weights' business. */
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif

#include "base/size.h"

#include <errno.h>
#include <fcntl.h>
#include <mia/weights.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Linux reads at most this much at a time anyway. */
#define LARGEST_READ ((size_t)1 << 30)

typedef struct file_source {
    mia_allocator allocator;
    size_t bytes; /* of this struct with the name */
    int descriptor;
    uint64_t size;
    void *mapped;
    size_t mapped_bytes;
    char name[];
} file_source;

static mia_status file_read(void *user, uint64_t offset, void *into, size_t bytes, mia_error *error) {
    const file_source *file = user;
    uint64_t end;
    if (!mia__u64_add(offset, bytes, &end) || end > file->size)
        return mia_error_set(error, MIA_ERROR_IO,
                             "%s: reading %zu bytes at %llu runs past the end of the file (%llu bytes)",
                             file->name, bytes, (unsigned long long)offset, (unsigned long long)file->size);
    unsigned char *at = into;
    while (bytes > 0) {
        ssize_t got = pread(file->descriptor, at, bytes < LARGEST_READ ? bytes : LARGEST_READ, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return mia_error_set(error, MIA_ERROR_IO, "%s: cannot read: %s", file->name, strerror(errno));
        if (got == 0)
            return mia_error_set(error, MIA_ERROR_IO, "%s: the file became shorter while it was read",
                                 file->name);
        at += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return MIA_OK;
}

static void file_close(void *user) {
    file_source *file = user;
    if (file->mapped != NULL) (void)munmap(file->mapped, file->mapped_bytes);
    (void)close(file->descriptor);
    mia_allocator allocator = file->allocator;
    mia_release(&allocator, file, file->bytes);
}

/* Opens the path for reading and gives its size; -1 with a message when that is not possible. */
static int open_regular(const char *path, uint64_t *size, mia_error *error) {
    int descriptor;
    do
        descriptor =
            open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer must not block */
    while (descriptor < 0 && errno == EINTR);
    struct stat facts;
    if (descriptor < 0 || fstat(descriptor, &facts) != 0) {
        mia_status status = errno == ENOENT ? MIA_ERROR_NOT_FOUND : MIA_ERROR_IO;
        (void)mia_error_set(error, status, "%s: cannot open: %s", path, strerror(errno));
        if (descriptor >= 0) (void)close(descriptor);
        return -(int)status;
    }
    if (!S_ISREG(facts.st_mode)) {
        (void)mia_error_set(error, MIA_ERROR_IO, "%s: cannot open: %s", path,
                            S_ISDIR(facts.st_mode) ? "it is a directory" : "it is not a regular file");
        (void)close(descriptor);
        return -(int)MIA_ERROR_IO;
    }
    *size = (uint64_t)facts.st_size;
    return descriptor;
}

mia_status mia_source_open_file(const char *path, const mia_allocator *allocator, mia_source *out,
                                mia_error *error) {
    *out = (mia_source){0};
    uint64_t size = 0;
    int descriptor = open_regular(path, &size, error);
    if (descriptor < 0) return (mia_status)-descriptor;

    size_t name_bytes = strlen(path) + 1;
    size_t bytes;
    file_source *file = NULL;
    if (mia__size_add(sizeof *file, name_bytes, &bytes)) file = mia_allocate_zeroed(allocator, 1, bytes);
    if (file == NULL) {
        (void)close(descriptor);
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "%s: no memory to open the file", path);
    }
    if (allocator != NULL) file->allocator = *allocator;
    file->bytes = bytes;
    file->descriptor = descriptor;
    file->size = size;
    memcpy(file->name, path, name_bytes);
    if (size > 0 && size <= SIZE_MAX) {
        void *mapped = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, descriptor, 0);
        if (mapped != MAP_FAILED) {
            file->mapped = mapped;
            file->mapped_bytes = (size_t)size;
        }
    }
    *out = (mia_source){file->name, size, file->mapped, file_read, file_close, file};
    return MIA_OK;
}

/* A memory source whose `mapped` was taken away has no other way to its bytes than `user`; its size is
 * unknown here, and callers of `read` check ranges against mia_source.size. */
static mia_status memory_read(void *user, uint64_t offset, void *into, size_t bytes, mia_error *error) {
    (void)error;
    if (bytes > 0) memcpy(into, (const unsigned char *)user + offset, bytes);
    return MIA_OK;
}

mia_source mia_source_of_memory(const char *name, const void *bytes, size_t size) {
    /* `read` takes a plain void *; the bytes are never written. */
    union {
        const void *given;
        void *user;
    } alias = {bytes};
    return (mia_source){name, size, bytes, memory_read, NULL, alias.user};
}

void mia_source_close(mia_source *source) {
    if (source == NULL) return;
    if (source->close != NULL) source->close(source->user);
    *source = (mia_source){0};
}
