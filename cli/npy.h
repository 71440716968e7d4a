/* NumPy's .npy files, read into and written from Mia's tensors: NumPy's last axis is Mia's first mode, so shapes
 * are reversed and bytes stay as they are. */
#ifndef MIA_CLI_NPY_H
#define MIA_CLI_NPY_H

#include <mia/mia.h>

/* Reads a file (little-endian; versions 1 to 3; bool, 8 and 32 bit integers, f2, f4, f8, and i8, whose numbers have
 * to fit 32 bits) into a tensor of the device: an owned handle in *out. Fails with NOT_FOUND, IO, FORMAT,
 * UNSUPPORTED (another type), NO_MEMORY; the message names the file. */
mia_status mia__cli_npy_read(mia_device *device, const char *path, mia_tensor *out, mia_error *error);

/* Evaluates t, which it consumes, and writes it. Fails as mia_tensor_read does, with UNSUPPORTED (a type that
 * NumPy does not have), IO. */
mia_status mia__cli_npy_write(mia_tensor t, const char *path, mia_error *error);

#endif
