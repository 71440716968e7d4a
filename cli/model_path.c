/* Finds the bundled model. An installed program looks relative to itself, so that an installed tree can be
 * moved; a program that lies in a build folder falls back to the models of the tree it was built from.
 *
 * The build defines two paths: MIA_INSTALLED_MODELS_DIR leads from the program's folder to the models, such as
 * "../share/mia/models"; MIA_SOURCE_MODELS_DIR is the source tree's folder of models. */
#include "model_path.h"

#include <stdio.h>
#include <string.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#include <stdint.h>
#endif
#include <unistd.h>

#define BUNDLED_MODEL "mia-tales-9m-q8_0.gguf"

/* The folder that the running program lies in, without a slash at its end. False when the system does not
 * tell, or it does not fit. */
static bool program_folder(char *folder, size_t capacity) {
#ifdef __APPLE__
    uint32_t size = (uint32_t)capacity;
    if (_NSGetExecutablePath(folder, &size) != 0) return false;
#else
    ssize_t length = readlink("/proc/self/exe", folder, capacity);
    if (length <= 0 || (size_t)length >= capacity)
        return false; /* readlink cuts silently, and adds no zero */
    folder[length] = '\0';
#endif
    char *slash = strrchr(folder, '/');
    if (slash == NULL) return false;
    *slash = '\0';
    return true;
}

/* Joins the parts with slashes; true when that names a readable file. */
static bool readable_file(const char *folder, const char *within, const char *name, char *path,
                          size_t capacity) {
    int length = snprintf(path, capacity, "%s%s%s/%s", folder, within[0] != '\0' ? "/" : "", within, name);
    return length > 0 && (size_t)length < capacity && access(path, R_OK) == 0;
}

bool mia__cli_bundled_model(char *path, size_t capacity) {
    if (capacity == 0) return false;
    char folder[4096];
    if (program_folder(folder, sizeof folder) &&
        readable_file(folder, MIA_INSTALLED_MODELS_DIR, BUNDLED_MODEL, path, capacity))
        return true;
    if (readable_file(MIA_SOURCE_MODELS_DIR, "", BUNDLED_MODEL, path, capacity)) return true;
    path[0] = '\0';
    return false;
}
