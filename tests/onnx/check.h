/* A node test's numbers against the file's. */
#ifndef MIA_TEST_ONNX_CHECK_H
#define MIA_TEST_ONNX_CHECK_H

#include "onnx/tensors.h"

/* The largest relative difference of f32 and f64 that a test allows. */
double onnx_bound_of(const char *test);

/* Type and shape are to be alike; integers and bools exact, reals within a bound, NaN and infinities where
 * they are expected. Both values have host numbers. False, and the first difference as text. */
bool onnx_check(const onnx_value *expected, const onnx_value *got, double bound, char *message, size_t size);

/* Type and shape alone. */
bool onnx_check_form(const onnx_value *expected, const onnx_value *got, char *message, size_t size);

#endif
